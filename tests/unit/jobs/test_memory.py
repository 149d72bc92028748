"""What an agent does about its memory, asked of glibc in a process of its own."""

from __future__ import annotations

import subprocess
import sys

MAPPED = """\
import ctypes
from pgwarden.jobs.memory import LARGE_BYTES, return_large_blocks

class MallInfo(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = MallInfo
{first}
freed = bytes(2 * LARGE_BYTES)
del freed
before = libc.mallinfo2().hblks
held = bytes(2 * LARGE_BYTES)
print(libc.mallinfo2().hblks - before)
"""


def mapped_blocks(first: str) -> int:
    """How many blocks glibc maps for a large one, after another large one was freed."""
    done = subprocess.run(
        [sys.executable, "-c", MAPPED.format(first=first)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_large_blocks_go_back_to_the_system_also_after_the_first() -> None:
    assert mapped_blocks("return_large_blocks()") == 1
    assert mapped_blocks("") == 0
