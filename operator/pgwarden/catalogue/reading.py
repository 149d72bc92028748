"""Reads one archive, for the catalogue and for restores: every record, what lies beside it, WAL, moments."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pgwarden.api.wal import USUAL_SEGMENT_BYTES
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.catalogue.contents import Catalogue, Flaw, StoredBackup, Trouble, logical_backup, physical_backup
from pgwarden.catalogue.continuity import ArchivedWAL, read_wal
from pgwarden.catalogue.folders import BackupFolder, folders_of
from pgwarden.catalogue.moments import Choice, IndexObject, believed, ends_of_timelines, list_index, read_moments
from pgwarden.catalogue.named import list_named
from pgwarden.catalogue.pins import is_pinned
from pgwarden.jobs.errors import TaskError
from pgwarden.logical.record import LogicalRecord, read_logical_record
from pgwarden.storage import layout
from pgwarden.storage.archived_system import SystemFile, archived_system
from pgwarden.storage.authenticity import key_id, refuse_forged
from pgwarden.storage.store import Store

READERS = 16

Record = BackupRecord | LogicalRecord


@dataclass
class Archive:
    """Everything that was found."""

    catalogue: Catalogue
    wal: ArchivedWAL
    index: list[IndexObject] = field(default_factory=list)
    """Every object of the index of moments."""
    folders: dict[str, BackupFolder] = field(default_factory=dict)
    """By location."""
    leftovers: dict[str, list[str]] = field(default_factory=dict)
    """By location: paths inside it that no record names. Not of backups whose record could not be read."""


def read_archive(
    store: Store,
    archive: str,
    now: datetime,
    *,
    key: bytes | None = None,
    all_of_it: bool = False,
    choice: Choice = ends_of_timelines,
) -> Archive:
    """Reads an archive; an object that cannot be read or believed becomes a trouble and hides no other.

    With the store's catalogue `key` forged records and moments are found out. With `all_of_it` all WAL is listed,
    whatever a checkpoint tells. `choice` says which objects of the index of moments are read in full. Raises what
    `Store` raises.
    """
    found = Archive(Catalogue(archive), ArchivedWAL())
    backups: list[StoredBackup] = []
    troubles: list[Trouble] = []
    segments = {USUAL_SEGMENT_BYTES: datetime.min.replace(tzinfo=UTC)}
    for folder, record in records(store, archive, key, found.folders):
        if isinstance(record, TaskError):
            troubles.append(Trouble(layout.record_file(folder.location), record.reason, record.message))
            continue
        if record is None:
            found.leftovers[folder.location] = list(folder.objects)
            continue
        named = {stored.path for stored in record.objects}
        left = [path for path in folder.objects if path not in named]
        if left:
            found.leftovers[folder.location] = left
        pinned = is_pinned(store, folder, key, troubles)
        backups.append(replace(judged(store, record, folder), proven=is_proven(record, key), pinned=pinned))
        if isinstance(record, BackupRecord):
            segments[record.server.wal_segment_bytes] = record.stop_time
    system = wal_system(store, archive, troubles)
    segment_bytes = system.segment_bytes if system is not None else max(segments, key=lambda size: segments[size])
    found.wal = read_wal(store, archive, segment_bytes, now, all_of_it=all_of_it)
    found.index = list_index(store, archive, key)
    moments = read_moments(store, believed(found.index, troubles), choice, troubles, key)
    found.catalogue = Catalogue(
        archive=archive,
        backups=tuple(sorted(backups, key=lambda backup: (backup.start_time, backup.backup_id))),
        timelines=found.wal.timelines,
        moments=moments,
        named=list_named(store, archive, key),
        troubles=(*troubles, *found.wal.troubles),
        wal_system=system.system_identifier if system is not None else "",
    )
    return found


def wal_system(store: Store, archive: str, troubles: list[Trouble]) -> SystemFile | None:
    """Whose WAL the archiver said it writes; None where no archiver ever wrote. Raises what `Store` raises."""
    try:
        return archived_system(store, archive)
    except TaskError as error:
        if error.reason != "ObjectDamaged":
            raise
        troubles.append(Trouble(layout.system_object(archive), error.reason, error.message, error.remedy))
        return None


def records(
    store: Store, archive: str, key: bytes | None, folders: dict[str, BackupFolder]
) -> Iterator[tuple[BackupFolder, Record | TaskError | None]]:
    """Every folder of a backup with its record, why that is not to be had, or None where there is none."""

    def read(folder: BackupFolder) -> Record | TaskError | None:
        if folder.record is None:
            return None
        try:
            return read_one(store, folder, key)
        except TaskError as error:
            if error.retryable:
                raise
            return error

    for parent in (layout.BACKUPS_FOLDER, layout.LOGICAL_FOLDER):
        place = layout.join(archive, parent)
        listed = folders_of(store.list(place), place)
        folders.update({folder.location: folder for folder in listed.values()})
        with ThreadPoolExecutor(READERS, thread_name_prefix="records") as pool:
            yield from zip(listed.values(), pool.map(read, listed.values()), strict=True)


def read_one(store: Store, folder: BackupFolder, key: bytes | None) -> Record:
    """The record in a folder. Raises TaskError: RecordForged, RecordTooNew, ObjectDamaged, RecordMisplaced."""
    path = layout.record_file(folder.location)
    content = store.read_small(path)
    if key is not None:
        refuse_forged(content, path, key)
    logical = folder.location.split("/")[-2] == layout.LOGICAL_FOLDER
    record = read_logical_record(content, path) if logical else read_record(content, path)
    if record.backup_id != folder.backup_id:
        raise TaskError(
            "RecordMisplaced",
            f"{path} tells of backup {record.backup_id}, not of {folder.backup_id}",
            remedy="Somebody copied or renamed it: look at who else writes into the store.",
        )
    return record


def is_proven(record: Record, key: bytes | None) -> bool:
    """Whether a record that is not forged was written by a holder of `key`; also without a key to ask."""
    return key is None or (record.authentication is not None and record.authentication.key_id == key_id(key))


def judged(store: Store, record: Record, folder: BackupFolder) -> StoredBackup:
    """The backup of a record, with what a look at its folder adds: missing and cut objects, and failed checks.

    A backup may have been committed while its folder was being listed, so what the listing lacks is asked for by name.
    """
    backup = (
        physical_backup(record, folder.location)
        if isinstance(record, BackupRecord)
        else logical_backup(record, folder.location)
    )
    if backup.flaw is not None:
        return backup
    for stored in record.objects:
        listed = folder.objects.get(stored.path) or store.head(f"{folder.location}/{stored.path}")
        if listed is None:
            return replace(backup, flaw=Flaw.INCOMPLETE, flaw_detail=f"{stored.path} is not in the store")
        if listed.size != stored.stored_bytes:
            detail = f"{stored.path} has {listed.size} bytes, recorded are {stored.stored_bytes}"
            return replace(backup, flaw=Flaw.INCOMPLETE, flaw_detail=detail)
    check = folder.last_check
    if check is not None and not check.passed:
        detail = f"reading it again on {check.time:%Y-%m-%d} gave other bytes than were written"
        return replace(backup, flaw=Flaw.CHECK_FAILED, flaw_detail=detail)
    return backup
