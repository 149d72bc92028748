"""Fetches a backup's objects and unpacks them onto the volume as they arrive: nothing is staged, memory is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pgwarden.api.wal import is_wal_file, room_to_recover, segments_between
from pgwarden.backups.record import Archive, ArchiveObject, BackupRecord, StoredObject
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.unpack import Placer, Unpacker, volume_full_is_told
from pgwarden.restores.volume import free_bytes
from pgwarden.storage.layout import join
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store

PG_WAL = "pg_wal"
POLL_SECONDS = 0.5


@dataclass
class Fetch:
    """Everything one fetch needs to know."""

    store: Store
    location: str
    """The backup's folder inside the store."""
    record: BackupRecord
    identities: Sequence[Any]
    paths: RestorePaths
    context: AgentContext

    def __post_init__(self) -> None:
        self._given_up = threading.Event()
        self._count_lock = threading.Lock()
        self._done = 0
        self._total = sum(archive.plain_bytes for archive in self.record.archives)

    def unpack_all(self, parallel: int) -> None:
        """Unpacks all archives, `parallel` pieces at a time.

        Raises the first error: ObjectDamaged, ObjectMissing, WrongIdentity, IdentityMissing, HostileArchive,
        VolumeFull, what `Store` raises, or Stopped.
        """
        for archive in self.record.archives:
            if archive.tablespace_oid is not None:
                self.paths.tablespace(archive.tablespace_oid).mkdir(mode=0o700, parents=True)
        runs = [(archive, run) for archive in self.record.archives for run in archive.independent_runs()]
        with ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="fetch") as pool:
            pending: set[Future[None]] = {pool.submit(self._unpack, archive, run) for archive, run in runs}
            try:
                while pending:
                    finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
                    for future in finished:
                        future.result()
                    self.context.check_stop()
                    self.context.progress("Fetch", self._done, self._total)
            except BaseException:
                self._given_up.set()
                pool.shutdown(cancel_futures=True)
                raise
        self.context.progress("Fetch", self._total, self._total)

    def write_manifest(self) -> None:
        """Puts backup_manifest beside the data directory."""
        with volume_full_is_told(self.record.manifest.path), self.paths.manifest.open("wb") as file:
            for chunk in self._read(self.record.manifest):
                file.write(chunk)

    def _unpack(self, archive: Archive, run: list[ArchiveObject]) -> None:
        unpacker = Unpacker(archive.name, placer(archive, self.paths))
        try:
            for piece in run:
                unpacker.archive = join(self.location, piece.path)
                for chunk in self._read(piece):
                    if self._given_up.is_set():
                        return
                    unpacker.feed(chunk)
                    with self._count_lock:
                        self._done += len(chunk)
            unpacker.finish()
        finally:
            unpacker.close()

    def _read(self, stored: StoredObject) -> Iterator[bytes]:
        return read_object(self.store, join(self.location, stored.path), stored, self.identities)


def placer(archive: Archive, paths: RestorePaths) -> Placer:
    """Where the members of an archive belong."""
    if archive.tablespace_oid is not None:
        folder = paths.tablespace(archive.tablespace_oid)
        return lambda name, _is_folder: folder / name
    return lambda name, is_folder: place_in_base(name, is_folder, paths)


def place_in_base(name: PurePosixPath, is_folder: bool, paths: RestorePaths) -> Path | None:
    """Where a member of PGDATA belongs.

    WAL goes aside: restore_command hands it over, so that no file of it can be missing unnoticed. What else lies in
    pg_wal (archive_status: what the original's archiver had still to do) is dropped.
    """
    if name.parts[0] != PG_WAL or is_folder:
        return paths.data / name
    wal_file = len(name.parts) == 2 and is_wal_file(name.name)
    return paths.wal / name.name if wal_file else None


def needed_bytes(record: BackupRecord) -> int:
    """What the volume must have free: all files, and WAL twice, because recovery copies it."""
    segment_bytes = record.server.wal_segment_bytes
    segments = segments_between(record.timeline, record.start_lsn, record.stop_lsn, segment_bytes)
    return room_to_recover(record.plain_bytes, len(segments), segment_bytes)


def check_space(record: BackupRecord, paths: RestorePaths) -> None:
    """Raises TaskError with reason VolumeTooSmall when the backup cannot fit."""
    free, needed = free_bytes(paths.work), needed_bytes(record)
    if free < needed:
        raise TaskError(
            "VolumeTooSmall",
            f"backup {record.backup_id} needs {needed >> 20} MiB on the data volume, which has {free >> 20} MiB free",
            remedy="Give the new instance a larger claim (spec.target.newInstance.storage.size), with room to grow, "
            "in a new RestoreRequest.",
        )
