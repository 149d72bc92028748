"""Files that are still there after a power cut: written beside, synced, renamed in, the folder synced."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Writes or replaces a file in one step: whoever reads it finds the old or the new content, whole."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Has a file, or the names in a folder, written to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_at_once(path: Path, content: str) -> None:
    """Writes or replaces a file in one step without syncing: for the other processes of this pod."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.replace(path)
