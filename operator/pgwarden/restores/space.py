"""Whether a restore fits onto its volume: bytes, and files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgwarden.api.quantities import human_bytes
from pgwarden.api.wal import room_to_recover, segments_between
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.errors import TaskError

SPARE_FILES = 200
"""Folders, WAL, and what the server makes at its start."""
REMEDY = (
    "Give the new instance a larger claim with room to grow (spec.target.newInstance.storage.size), or the drill a"
    " larger volume (spec.target.drill.storage.size), in a new RestoreRequest."
)

REMEDY_IN_PLACE = (
    "The old data are kept beside the restored ones. Enlarge the claim, or delete what an earlier restore kept (kubectl"
    " pgwarden restore discard-old); or restore into a new instance."
)


@dataclass(frozen=True)
class Room:
    """What a volume has free, or must have free."""

    bytes: int
    files: int


def needed_room(chain: Sequence[BackupRecord], *, shared: bool = False) -> Room:
    """What the volume must have free for a chain, the full first: all files, and WAL twice, because recovery copies it.

    While a chain is combined there are the backups and what becomes of them; `shared` when unchanged files are linked.
    What becomes of them is at most as large as all of them together, because nothing says how they overlap. Pure.
    """
    last = chain[-1]
    segment_bytes = last.server.wal_segment_bytes
    segments = segments_between(last.timeline, last.start_lsn, last.stop_lsn, segment_bytes)
    plain = sum(record.plain_bytes for record in chain)
    files = sum(record.manifest_files for record in chain)
    if len(chain) > 1:
        plain += plain - chain[0].plain_bytes if shared else plain
        files += last.manifest_files
    return Room(room_to_recover(plain, len(segments), segment_bytes), files + SPARE_FILES)


def free_room(folder: Path) -> Room:
    """What this process may still put onto the folder's file system; file systems without a table of files have room
    for any number."""
    numbers = os.statvfs(folder)
    return Room(numbers.f_bavail * numbers.f_frsize, numbers.f_favail if numbers.f_files else 1 << 62)


def check_room(backup_id: str, needed: Room, free: Room, remedy: str = REMEDY, where: str = "the data volume") -> None:
    """Raises TaskError with reason VolumeTooSmall when the backup cannot fit. Pure."""
    if free.bytes < needed.bytes:
        raise TaskError(
            "VolumeTooSmall",
            f"backup {backup_id} needs {human_bytes(needed.bytes)} on {where}, which has"
            f" {human_bytes(free.bytes)} free",
            remedy=remedy,
        )
    if free.files < needed.files:
        raise TaskError(
            "VolumeTooSmall",
            f"backup {backup_id} has {needed.files} files, and the file system of {where} has inodes for "
            f"{free.files} more",
            remedy=f"{remedy} File systems with a fixed number of inodes get more of them with more bytes.",
        )
