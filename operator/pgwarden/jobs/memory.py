"""Keeps a process's memory flat: large blocks go back to the system as soon as they are freed."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
"""malloc.h of glibc."""
LARGE_BYTES = 4 << 20
"""Of an agent: parts of uploads and the compressor's buffers are larger, the batches between threads smaller."""


def return_large_blocks(at_least: int = LARGE_BYTES) -> None:
    """Has glibc map each block of so many bytes by itself (mallopt(3)); another C library is left as it is.

    By itself glibc stops doing so once a large block was freed, and then each thread keeps the blocks it has had.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, at_least)
