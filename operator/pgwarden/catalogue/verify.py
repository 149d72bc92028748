"""Reads a backup's objects again, and writes down beside it what came out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import Field

from pgwarden.backups.record import RecordModel, StoredObject
from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Catalogue, StoredBackup
from pgwarden.catalogue.folders import BackupFolder
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.objects import verify_object
from pgwarden.storage.store import ObjectExists, Store

CHECKSUMS = "checksums"
READERS = 4
DAMAGE = {"ObjectMissing", "ObjectDamaged"}
"""What tells of the object; anything else tells of the store, and says nothing about the backup."""
NEVER = datetime.min.replace(tzinfo=UTC)


class DamagedObject(RecordModel):
    """An object that is not what was written."""

    path: str
    trouble: str


class CheckRecord(RecordModel):
    """`checks/<time>-checksums-<passed|failed>.json`."""

    schema_version: int = 1
    backup_id: str
    time: datetime
    what: str = CHECKSUMS
    """checksums: every stored byte was read and hashed."""
    passed: bool
    objects: int
    bytes: int
    seconds: float
    damaged: list[DamagedObject] = Field(default_factory=list)


@dataclass
class Pace:
    """Holds several readers together back to `rate` bytes a second; 0 is unlimited."""

    rate: int
    progress: Callable[[int], None]
    """Called with the bytes read so far; raises to stop."""
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def passed(self, size: int) -> None:
        with self._lock:
            self.done += size
            done = self.done
            self.progress(done)
        if self.rate:
            time.sleep(max(0.0, done / self.rate - (time.monotonic() - self.began)))


def verify(
    store: Store, location: str, backup_id: str, objects: Sequence[StoredObject], pace: Pace, now: datetime
) -> CheckRecord:
    """Reads every object of a backup and compares it with its record; writes the outcome beside it.

    A damaged object does not end it: all of them are named. It is read twice before it is called so: retention deletes
    WAL that only a damaged backup would have needed, and a network may cut an answer. Raises what `Store` raises when
    the store fails.
    """
    began, before = time.monotonic(), pace.done

    def look(stored: StoredObject) -> DamagedObject | None:
        return read(stored) and read(stored)

    def read(stored: StoredObject) -> DamagedObject | None:
        try:
            verify_object(store, layout.join(location, stored.path), stored, pace.passed)
        except TaskError as error:
            if error.reason not in DAMAGE:
                raise
            return DamagedObject(path=stored.path, trouble=error.message)
        return None

    with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as pool:
        damaged = [found for found in pool.map(look, objects) if found is not None]
    record = CheckRecord(
        backup_id=backup_id,
        time=now,
        passed=not damaged,
        objects=len(objects),
        bytes=pace.done - before,
        seconds=round(time.monotonic() - began, 1),
        damaged=damaged,
    )
    write_check(store, location, record)
    return record


def write_check(store: Store, location: str, record: CheckRecord) -> None:
    """Writes what came out; a second check of the same second says the same, and its record is not needed."""
    path = layout.check_object(location, record.time, record.what, passed=record.passed)
    try:
        store.put(path, record.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
    except ObjectExists:
        return


def to_verify(
    catalogue: Catalogue, folders: dict[str, BackupFolder], wanted: Sequence[str], at_most: int
) -> list[StoredBackup]:
    """The backups to read again: those that are named; else so many of the restorable and logical ones, those first
    that nobody has read for the longest time, the newest before older ones.

    Raises TaskError with reason BackupNotFound.
    """
    known = {backup.backup_id: backup for backup in catalogue.backups}
    missing = [each for each in wanted if each not in known]
    if missing:
        raise TaskError(
            "BackupNotFound",
            f"there is no backup {', '.join(missing)} in {catalogue.archive}",
            remedy="pgwarden backup list names those that are there.",
        )
    if wanted:
        return [known[each] for each in wanted]

    def last(backup: StoredBackup) -> datetime:
        check = folders[backup.location].last_check
        return check.time if check is not None else NEVER

    logical = [backup for backup in catalogue.backups if not backup.physical and backup.flaw is None]
    waiting = sorted([*restorable(catalogue.backups), *logical], key=lambda backup: backup.stop_time, reverse=True)
    return sorted(waiting, key=last)[:at_most]
