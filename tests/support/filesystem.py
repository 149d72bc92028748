"""File systems of a certain size or mode, for what happens when a disk is full or read-only."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .postgres import new_folder, owned_folder


@contextmanager
def small_filesystem(megabytes: int) -> Iterator[Path]:
    """An ext4 file system of that size, mounted through a loop device for the length of the block. Needs root."""
    with tempfile.TemporaryDirectory(prefix="pgw-disk-") as folder:
        image, mount = Path(folder, "image"), Path(folder, "mount")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        mount.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", mount], check=True)


@contextmanager
def memory_filesystem(options: str) -> Iterator[Path]:
    """A folder of the server's user on a file system with limits, mounted for the length of the block. Needs root."""
    folder = new_folder()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield owned_folder(folder / "data")
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def fill(mount: Path, *, free: int = 0) -> None:
    """Takes the last byte of a file system, or leaves so many."""
    with (mount / "ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while ballast.write(bytes(size)):
                    pass
        ballast.truncate(ballast.tell() - free)


def remount(mount: Path, mode: str) -> None:
    """Makes a mounted file system read-only ("ro") or writable ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{mode}", mount], check=True)
