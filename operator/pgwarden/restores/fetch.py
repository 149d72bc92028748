"""Fetches objects of backups and unpacks them onto the volume as they arrive: nothing is staged, memory is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pgwarden.api.wal import is_wal_file
from pgwarden.backups.record import Archive, ArchiveObject, BackupRecord, StoredObject
from pgwarden.jobs.agent import AgentContext
from pgwarden.restores.paths import BackupPlace
from pgwarden.restores.unpack import Placer, Unpacker, volume_full_is_told
from pgwarden.storage.layout import join
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store

PG_WAL = "pg_wal"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Part:
    """One backup of what is restored: the only one, or one of a chain."""

    location: str
    """The backup's folder inside the store."""
    record: BackupRecord
    place: BackupPlace
    wal: Path | None
    """Where its WAL goes; None drops it, because recovery begins with a later backup."""


@dataclass
class Fetch:
    """Everything one fetch needs to know."""

    store: Store
    parts: Sequence[Part]
    identities: Sequence[Any]
    context: AgentContext

    def __post_init__(self) -> None:
        self._given_up = threading.Event()
        self._count_lock = threading.Lock()
        self._done = 0
        self._total = sum(archive.plain_bytes for part in self.parts for archive in part.record.archives)

    def unpack_all(self, parallel: int) -> None:
        """Unpacks all archives of all parts, `parallel` pieces at a time.

        Raises the first error: ObjectDamaged, ObjectMissing, WrongIdentity, IdentityMissing, HostileArchive,
        VolumeFull, what `Store` raises, or Stopped.
        """
        for part in self.parts:
            make_folders(part)
        runs = [
            (part, archive, run)
            for part in self.parts
            for archive in part.record.archives
            for run in archive.independent_runs()
        ]
        with ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="fetch") as pool:
            pending: set[Future[None]] = {pool.submit(self._unpack, *each) for each in runs}
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

    def write_manifests(self) -> None:
        """Puts each backup's manifest where its place says."""
        for part in self.parts:
            part.place.manifest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with volume_full_is_told(part.record.manifest.path), part.place.manifest.open("wb") as file:
                for chunk in self._read(part, part.record.manifest):
                    file.write(chunk)

    def _unpack(self, part: Part, archive: Archive, run: list[ArchiveObject]) -> None:
        unpacker = Unpacker(archive.name, placer(archive, part))
        try:
            for piece in run:
                unpacker.archive = join(part.location, piece.path)
                for chunk in self._read(part, piece):
                    if self._given_up.is_set():
                        return
                    unpacker.feed(chunk)
                    with self._count_lock:
                        self._done += len(chunk)
            unpacker.finish()
        finally:
            unpacker.close()

    def _read(self, part: Part, stored: StoredObject) -> Iterator[bytes]:
        return read_object(self.store, join(part.location, stored.path), stored, self.identities)


def make_folders(part: Part) -> None:
    """The folders that the archives are unpacked into."""
    part.place.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for archive in part.record.archives:
        if archive.tablespace_oid is not None:
            part.place.tablespace(archive.tablespace_oid).mkdir(mode=0o700, parents=True)


def placer(archive: Archive, part: Part) -> Placer:
    """Where the members of an archive belong."""
    if archive.tablespace_oid is not None:
        folder = part.place.tablespace(archive.tablespace_oid)
        return lambda name, _is_folder: folder / name
    return lambda name, is_folder: place_in_base(name, is_folder, part.place.data, part.wal)


def place_in_base(name: PurePosixPath, is_folder: bool, data: Path, wal: Path | None) -> Path | None:
    """Where a member of PGDATA belongs.

    WAL goes aside: restore_command hands it over, so that no file of it can be missing unnoticed. What else lies in
    pg_wal (archive_status: what the original's archiver had still to do) is dropped.
    """
    if name.parts[0] != PG_WAL or is_folder:
        return data / name
    wal_file = len(name.parts) == 2 and is_wal_file(name.name)
    return wal / name.name if wal_file and wal is not None else None
