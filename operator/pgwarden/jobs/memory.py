"""Keeps a process's memory flat: large blocks go back to the system as soon as they are freed."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""malloc.h of glibc."""
KEPT_BYTES = 32 << 20
"""Free memory at the end of a heap that is kept: to give back and fault in again what each batch takes costs a sixth of
a backup's processor time."""
LARGE_BYTES = 4 << 20
"""Of an agent: parts of uploads and the compressor's buffers are larger, the batches between threads smaller."""


def return_large_blocks(at_least: int = LARGE_BYTES) -> None:
    """Has glibc map each block of so many bytes by itself (mallopt(3)); another C library is left as it is.

    By itself glibc stops doing so once a large block was freed, and then each thread keeps the blocks it has had.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, at_least)
