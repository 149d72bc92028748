"""Reads of an archive what choosing a base for one target needs: records, timelines, and the moments around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from pgwarden.api.model import LSN
from pgwarden.api.wal import USUAL_SEGMENT_BYTES, history_name, parse_lsn
from pgwarden.backups.record import BackupRecord, RecordModel, read_record
from pgwarden.catalogue.contents import Catalogue, Moment, Trouble, physical_backup
from pgwarden.catalogue.timelines import Path, Timeline, parse_history
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import TargetPoint
from pgwarden.storage.authenticity import refuse_forged
from pgwarden.storage.layout import (
    BACKUPS_FOLDER,
    WAL_FOLDER,
    backup_folder,
    history_object,
    join,
    moments_folder,
    record_file,
    timeline_folder,
)
from pgwarden.storage.store import Store
from pgwarden.storage.wal_listing import Range, history_timeline, merged, wal_pieces

READERS = 8
NOT_THERE = "ObjectMissing"
TIMELINE_FOLDER = re.compile(r"[0-9A-F]{8}")
MOMENTS_NAME = re.compile(r"(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<timeline>[0-9A-F]{8})-(?P<position>[0-9A-F]{16})\.json")


class NotedMoment(RecordModel):
    """One entry of the index from server time to position."""

    time: datetime
    timeline: int
    lsn: LSN
    next_xid: str = ""


class Moments(RecordModel):
    """One object of that index."""

    schema_version: int = 1
    moments: list[NotedMoment]


@dataclass(frozen=True)
class ArchiveContents:
    """What was read."""

    catalogue: Catalogue
    records: dict[str, BackupRecord]
    """By id: those of the physical backups."""
    noted: list[NotedMoment]
    """The moments that were read in full, in the order of their times."""


def read_archive(store: Store, archive: str, target: TargetPoint, key: bytes | None = None) -> ArchiveContents:
    """Everything that the choice of a base for `target` depends on; with the catalogue's `key` without forged records.

    Raises what `Store` raises.
    """
    records, troubles = read_records(store, archive, key)
    sizes = {record.server.wal_segment_bytes for record in records.values()} or {USUAL_SEGMENT_BYTES}
    timelines = read_timelines(store, archive, min(sizes))
    named, noted = read_moments(store, archive, target)
    moments = {
        *named,
        *(Moment(each.time.astimezone(UTC), each.timeline, parse_lsn(each.lsn)) for each in noted),
    }
    catalogue = Catalogue(
        archive=archive,
        backups=tuple(
            sorted(
                (physical_backup(record, backup_folder(archive, name)) for name, record in records.items()),
                key=lambda backup: backup.start_time,
            )
        ),
        timelines=timelines,
        moments=tuple(sorted(moments, key=lambda moment: (moment.time, moment.position))),
        troubles=tuple(troubles),
    )
    return ArchiveContents(catalogue, records, noted)


def read_records(store: Store, archive: str, key: bytes | None) -> tuple[dict[str, BackupRecord], list[Trouble]]:
    """The record of every committed physical backup, by id; one that cannot be read hides no other."""
    records: dict[str, BackupRecord] = {}
    troubles: list[Trouble] = []

    def read(name: str) -> BackupRecord | TaskError:
        path = record_file(backup_folder(archive, name))
        try:
            content = store.read_small(path)
            if key is not None:
                refuse_forged(content, path, key)
            return read_record(content, path)
        except TaskError as error:
            if error.retryable:
                raise
            return error

    names = sorted(store.folders(join(archive, BACKUPS_FOLDER)))
    with ThreadPoolExecutor(READERS, thread_name_prefix="records") as pool:
        for name, found in zip(names, pool.map(read, names), strict=True):
            if isinstance(found, BackupRecord):
                records[name] = found
            elif found.reason != NOT_THERE:  # a folder without a record is a backup that was never committed
                troubles.append(Trouble(record_file(backup_folder(archive, name)), found.reason, found.message))
    return records, troubles


def read_timelines(store: Store, archive: str, segment_bytes: int) -> dict[int, Timeline]:
    """What is archived of each timeline, from listings of the WAL's folders."""
    found = {}
    for name in sorted(store.folders(join(archive, WAL_FOLDER))):
        if TIMELINE_FOLDER.fullmatch(name):
            number = int(name, 16)
            found[number] = read_timeline(store, archive, number, segment_bytes)
    return found


def read_timeline(store: Store, archive: str, number: int, segment_bytes: int) -> Timeline:
    """What is archived of one timeline. Raises TaskError with reason HistoryDamaged."""
    has_history = False

    def ranges() -> Iterator[Range]:
        nonlocal has_history
        listing = store.list(timeline_folder(archive, number))
        for listed in listing:
            if history_timeline(listed.path) == number:
                has_history = True
                continue
            for piece in wal_pieces([listed], segment_bytes):
                if piece.timeline == number:
                    yield Range(piece.start, piece.end)

    archived = tuple(merged(ranges()))
    ancestors: Path = ()
    if has_history:
        path = history_object(archive, number)
        try:
            ancestors = parse_history(store.read_small(path).decode("ascii", "replace"))
        except ValueError as error:
            raise TaskError(
                "HistoryDamaged",
                f"{path} in the store ({store.name}) is not the history of a timeline: {error}",
                remedy=f"Copy {history_name(number)} from pg_wal of the server there, or name another timeline.",
            ) from error
    return Timeline(number, ancestors, archived, has_history or number == 1)


def read_moments(store: Store, archive: str, target: TargetPoint) -> tuple[list[Moment], list[NotedMoment]]:
    """The moments that names of objects tell, one a minute, and in full those in the objects around the target.

    An object bears the name of the last moment in it, so what was noted just before a time may stand in the first
    object after it.
    """
    names: list[tuple[Moment, str]] = []
    for listed in store.list(moments_folder(archive)):
        match = MOMENTS_NAME.fullmatch(listed.path.rsplit("/", 1)[-1])
        if match is not None:
            time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            names.append((Moment(time, int(match["timeline"], 16), int(match["position"], 16)), listed.path))
    names.sort(key=lambda each: each[0].time)
    wanted = [path for _, path in around(names, target)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="moments") as pool:
        noted = [moment for piece in pool.map(lambda path: read_noted(store, path), wanted) for moment in piece]
    read = set(wanted)
    # A name is cut to the second: what is read in full is exact.
    return [moment for moment, path in names if path not in read], sorted(noted, key=lambda moment: moment.time)


def around(names: Sequence[tuple[Moment, str]], target: TargetPoint) -> Sequence[tuple[Moment, str]]:
    """The objects of the index that have to be read in full for that target."""
    if target.xid is not None:
        return names
    if target.time is None:
        return names[-1:]
    # A name is cut to the second, so one of the target's own second may be of a moment before or after it; and what was
    # noted just before the target may stand in the object after it.
    second = timedelta(seconds=1)
    first = next((n for n, (moment, _) in enumerate(names) if moment.time > target.time - second), len(names))
    after = next((n for n, (moment, _) in enumerate(names) if moment.time > target.time), len(names))
    return [*names[max(0, first - 1) : after + 2], *names[max(after + 2, len(names) - 1) :]]


def read_noted(store: Store, path: str) -> list[NotedMoment]:
    """The moments in one object. Raises TaskError with reason ObjectDamaged."""
    try:
        return Moments.model_validate_json(store.read_small(path)).moments
    except ValidationError as error:
        raise TaskError(
            "ObjectDamaged",
            f"{path} in the store ({store.name}) does not tell moments: {error.error_count()} errors",
            remedy="Choose the target as a WAL position (lsn), and look at who else writes into the store.",
        ) from error
