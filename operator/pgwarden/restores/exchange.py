"""Two names of one file system change places in one step: at no moment is either of them missing.

renameat2 with RENAME_EXCHANGE (renameat2(2); Linux 3.15, glibc 2.28). ext4, XFS, Btrfs and tmpfs know it; NFS and some
other network file systems do not.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.durable import sync_path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


def exchange(one: Path, other: Path) -> None:
    """Each gets the other's name, for good once this returns. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))
    for folder in {one.parent, other.parent}:
        sync_path(folder)


def refuse_unless_exchangeable(folder: Path) -> None:
    """Tries it on two empty folders in `folder`. Raises TaskError with reason VolumeCannotExchange."""
    pair = [folder / "exchange-1", folder / "exchange-2"]
    for each in pair:
        each.mkdir(mode=0o700, exist_ok=True)
    try:
        exchange(*pair)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        raise TaskError(
            "VolumeCannotExchange",
            f"the file system of {folder} cannot let two directories change places in one step, so the data directory"
            " would be missing for a moment",
            remedy="Nothing was changed. Restore into a new instance instead (spec.target.newInstance).",
        ) from error
    finally:
        for each in pair:
            each.rmdir()
