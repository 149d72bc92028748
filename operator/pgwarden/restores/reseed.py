"""Makes standbys anew: each gets a copy of the restored data directory, beside its own old one.

What was restored has been shut down cleanly, so a copy of it is whole, and begins where the last checkpoint is. With
standby.signal, and the configuration that the member had itself, it follows the restored primary as it followed the
old one. Nothing has changed its name by then, so all of it can be put back.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgwarden.api.quantities import human_bytes
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.durable import write_durably
from pgwarden.restores.in_place_volume import InPlaceVolume, is_carried
from pgwarden.restores.paths import InPlacePaths
from pgwarden.restores.space import REMEDY_IN_PLACE, SPARE_FILES, Room, check_room, free_room
from pgwarden.restores.standby_volume import STANDBY_SIGNAL, StandbyVolume
from pgwarden.restores.volume import Marker, State

STEP = "Reseed"
LEFT_OUT = frozenset({"postmaster.pid", "postmaster.opts"})
EMPTIED = frozenset({"pg_replslot", "pg_stat_tmp"})
"""Folders whose content is the primary's own, as in a base backup (PostgreSQL, src/backend/backup/basebackup.c,
excludeDirContents)."""


def reseed(source: InPlaceVolume, marker: Marker, standbys: Sequence[StandbyVolume], context: AgentContext) -> str:
    """Copies what was restored to every standby that has no whole copy yet; returns what was done. `marker` is that of
    `source`.

    Raises TaskError: VolumeTooSmall, ReseedFailed (retryable), Stopped.
    """
    waiting = [each for each in standbys if not each.seeded]
    size, files = measured(source.paths)
    copied = Copied(context, total=size * len(waiting))
    backup_id = marker.resolved.backup_id if marker.resolved is not None else ""
    for each in waiting:
        # What a killed attempt has copied goes first.
        each.tidy(tablespaces=True)
        claim = f"claim {each.member.claim}"
        check_room(backup_id, Room(size, files), free_room(each.paths.work), REMEDY_IN_PLACE, claim)
        with each.named():
            make_standby(source.paths, each, copied)
        each.write(Marker(request_uid=marker.request_uid, location=marker.location, state=State.CHECKED))
    return f"{human_bytes(size)} each on {', '.join(each.member.claim for each in standbys)}"


def make_standby(source: InPlacePaths, standby: StandbyVolume, copied: Copied) -> None:
    """One copy, on disk when this returns. Raises TaskError: ReseedFailed (retryable), Stopped."""
    paths = standby.paths
    try:
        for root, copy in roots(source, paths):
            copy.mkdir(mode=0o700, parents=True)
            for entry in entries(root):
                copied.put(entry, copy / Path(entry.path).relative_to(root))
        standby.take_over_configuration()
        write_durably(paths.data / STANDBY_SIGNAL, b"")
        sync_file_system(paths.work)
    except OSError as error:
        raise TaskError(
            "ReseedFailed",
            f"the restored data directory could not be copied: {error}",
            remedy="Look at the volume, and at the node's log.",
            retryable=True,
        ) from error


def roots(source: InPlacePaths, copy: InPlacePaths) -> list[tuple[Path, Path]]:
    """Which folders are copied, and where to."""
    pairs = [(source.data, copy.data), (source.tablespaces, copy.tablespaces)]
    return [(root, target) for root, target in pairs if root.exists()]


def measured(source: InPlacePaths) -> tuple[int, int]:
    """Bytes and files that a copy takes. Raises OSError."""
    size, files = 0, SPARE_FILES
    for root, _ in roots(source, source):
        for entry in entries(root):
            size += entry.stat().st_size if entry.is_file(follow_symlinks=False) else 0
            files += 1
    return size, files


def entries(root: Path) -> Iterator[os.DirEntry[str]]:
    """What below a folder is copied, folders before what is in them. The configuration is each member's own."""
    for entry in os.scandir(root):
        if entry.name not in LEFT_OUT and not is_carried(entry.name):
            yield entry
            if entry.is_dir(follow_symlinks=False) and entry.name not in EMPTIED:
                yield from everything(entry.path)


def everything(folder: str) -> Iterator[os.DirEntry[str]]:
    for entry in os.scandir(folder):
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from everything(entry.path)


@dataclass
class Copied:
    """How much of all copies is done, in bytes."""

    context: AgentContext
    total: int
    done: int = 0

    def put(self, entry: os.DirEntry[str], target: Path) -> None:
        """Copies a file or link, or makes the folder. Raises OSError, Stopped."""
        self.context.check_stop()
        if entry.is_symlink():
            # To a tablespace: the standby has it at the same place, on its own volume.
            target.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            target.mkdir(mode=0o700)
        else:
            shutil.copyfile(entry.path, target)
            target.chmod(0o600)
            self.done += target.stat().st_size
            self.context.progress(STEP, self.done, self.total)


def sync_file_system(folder: Path) -> None:
    """Has everything on a folder's file system written to disk (syncfs(2); Linux 2.6.39). Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
