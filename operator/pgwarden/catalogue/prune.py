"""Deletes from an archive what has expired, in an order that a killed prune may stop at anywhere.

First the checkpoint is rewritten without what goes, then the records of expired backups are deleted (nobody lists them
any more), then their objects, then WAL from the oldest on, and what attempts left behind. What a killed prune leaves is
leftovers of backups without a record, which the next one sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from pgwarden.api.wal import SEGMENT_NAME, format_lsn, parse_lsn, segment_start, timeline_of
from pgwarden.catalogue.contents import StoredBackup
from pgwarden.catalogue.continuity import Checkpoint, checkpoint_numbers, write_checkpoint
from pgwarden.catalogue.contract import PruneReport
from pgwarden.catalogue.reading import Archive
from pgwarden.catalogue.retention import KeptWAL, Retention
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectInfo, Store
from pgwarden.storage.wal_listing import Range, wal_piece

DELETES_AT_ONCE = 16
BATCH = 1000
MOST_REFUSALS = 50
"""A store that refused so many deletions refuses the others too."""
KEPT_IN_A_ROW = 2000
"""Listings of WAL come about in order: after so many kept segments nothing expired follows."""
CHECKPOINTS = 2
NAMED = 10

Progress = Callable[[int], None]


@dataclass
class Deletion:
    """What is deleted, and what the store would not delete."""

    store: Store
    dry_run: bool
    progress: Progress
    """Called with the number of deleted objects; raises to stop."""
    objects: int = 0
    bytes: int = 0
    refused: int = 0
    refusal: str = ""

    def delete(self, listed: Iterable[ObjectInfo]) -> int:
        """Deletes objects, several at a time; returns how many of them are gone. Raises what `Store` raises and may
        be tried again."""
        return self._remove(listed, self.store.delete)

    def discard(self, unfinished: Iterable[ObjectInfo]) -> int:
        """As `delete`, for objects that were never written to their end."""
        return self._remove(unfinished, self.store.discard)

    def _remove(self, listed: Iterable[ObjectInfo], remove: Callable[[str], None]) -> int:
        rest = iter(listed)
        gone = 0
        with ThreadPoolExecutor(DELETES_AT_ONCE, thread_name_prefix="delete") as pool:
            while batch := list(islice(rest, BATCH)):
                for each, done in zip(batch, pool.map(lambda one: self._removed(one, remove), batch), strict=True):
                    gone += done
                    self.objects += done
                    self.bytes += each.size if done else 0
                self.progress(self.objects)
        return gone

    def _removed(self, listed: ObjectInfo, remove: Callable[[str], None]) -> bool:
        if self.dry_run:
            return True
        if self.refused >= MOST_REFUSALS:
            return False
        try:
            remove(listed.path)
        except TaskError as error:
            if error.retryable:
                raise
            self.refused += 1
            self.refusal = self.refusal or refusal(error)
            return False
        return True


@dataclass
class Pruned:
    """What a prune did, and what it would not do."""

    report: PruneReport
    gone: list[StoredBackup] = field(default_factory=list)
    """Backups whose record is deleted."""
    wal_bytes: int = 0


def refusal(error: TaskError) -> str:
    """Why a deletion was refused, for people."""
    return (
        f"{error.message}. Where object lock or a retention rule of the bucket holds objects, this is as it should be: "
        "they are deleted by the first prune after it has run out. Otherwise allow the store's credentials to delete"
    )


def prune(
    store: Store,
    archive: Archive,
    retention: Retention,
    leftovers: list[ObjectInfo],
    unfinished: list[ObjectInfo],
    *,
    dry_run: bool,
    progress: Progress,
) -> Pruned:
    """Deletes what `retention` says, `leftovers`, and `unfinished` objects. Raises what `Store` raises and may be tried
    again."""
    folder = archive.catalogue.archive
    deletion = Deletion(store, dry_run, progress)
    result = Pruned(PruneReport(dry_run=dry_run, held=retention.held))
    segment_bytes = archive.wal.segment_bytes
    if not dry_run and archive.wal.checkpoint is not None:
        announce(deletion, folder, archive.wal.checkpoint, reduced(archive.wal.checkpoint, retention.wal))
    result.gone = delete_backups(deletion, archive, retention.expired)
    before = deletion.bytes
    result.report.wal_objects = sum(
        deletion.delete(expired_wal(store, folder, number, segment_bytes, retention.wal))
        for number in archive.catalogue.timelines
    )
    result.wal_bytes = deletion.bytes - before
    before = deletion.objects
    for number in archive.catalogue.timelines:
        deletion.delete(expired_checksums(store, folder, number, segment_bytes, retention.wal))
    deletion.delete(expired_moments(archive, retention.wal))
    deletion.delete(expired_points(archive, retention.wal))
    deletion.delete(old_checkpoints(store, folder))
    deletion.delete(leftovers)
    deletion.discard(unfinished)
    if not dry_run:
        left = (each.path.partition("/attempt-") for each in (*leftovers, *unfinished))
        for location in {before for before, attempt, _ in left if attempt}:
            store.remove_empty(location)
    report = result.report
    report.other_objects = deletion.objects - before
    report.backups, report.bytes = len(result.gone), deletion.bytes
    report.backup_ids = [backup.backup_id for backup in result.gone[:NAMED]]
    report.refused, report.refusal = deletion.refused, deletion.refusal
    return result


def announce(deletion: Deletion, folder: str, before: Checkpoint, after: Checkpoint) -> None:
    """Has the newest checkpoint tell of no more than there will be. Raises what `Store` raises.

    A full store takes no new one; then all of them go, and the next look lists everything once.
    """
    store = deletion.store
    try:
        write_checkpoint(store, folder, after, replace=after != before)
    except TaskError as error:
        if error.reason != "StoreFull":
            raise
        numbers = checkpoint_numbers(store.list(layout.join(folder, layout.CATALOGUE_FOLDER)))
        listed = [ObjectInfo(layout.checkpoint_object(folder, number), 0) for number in numbers]
        if deletion.delete(listed) < len(listed):
            raise


def delete_backups(deletion: Deletion, archive: Archive, going: Iterable[StoredBackup]) -> list[StoredBackup]:
    """Deletes backups in this order, the records of all of them first; those whose record is gone.

    What is still listed keeps its objects: half a backup that is listed is worse than one that cannot be deleted.
    """
    gone = []
    for backup in going:
        record = archive.folders[backup.location].record
        if record is not None and deletion.delete([record]):
            gone.append(backup)
    for backup in gone:
        delete_objects(deletion, archive, backup.location)
    return gone


def delete_objects(deletion: Deletion, archive: Archive, location: str) -> None:
    """Deletes what lies in a backup's folder beside its record."""
    deletion.delete(archive.folders[location].everything)
    if not deletion.dry_run:
        deletion.store.remove_empty(location)


def expired_wal(store: Store, archive: str, timeline: int, segment_bytes: int, kept: KeptWAL) -> Iterator[ObjectInfo]:
    """Objects of a timeline's WAL that nothing needs any more. History files stay: they are small, and a server that
    cannot see them takes a number twice."""

    def held(listed: ObjectInfo) -> Range | None:
        piece = wal_piece(listed, segment_bytes)
        return Range(piece.start, piece.end) if piece is not None and piece.timeline == timeline else None

    return expired(store.list(layout.timeline_folder(archive, timeline)), held, timeline, kept)


def expired_checksums(
    store: Store, archive: str, timeline: int, segment_bytes: int, kept: KeptWAL
) -> Iterator[ObjectInfo]:
    """The checksums of segments that nothing needs any more."""

    def told(listed: ObjectInfo) -> Range | None:
        segment = listed.path.rsplit("/", 1)[-1].removesuffix(".sha256")
        if not SEGMENT_NAME.fullmatch(segment) or timeline_of(segment) != timeline:
            return None
        start = segment_start(segment, segment_bytes)
        return Range(start, start + segment_bytes)

    return expired(store.list(layout.checksums_folder(archive, timeline)), told, timeline, kept)


def expired(
    listing: Iterable[ObjectInfo], positions: Callable[[ObjectInfo], Range | None], timeline: int, kept: KeptWAL
) -> Iterator[ObjectInfo]:
    """The objects of a listing that hold or tell of nothing that is kept."""
    open_start = kept.open_from(timeline)
    in_a_row = 0
    for listed in listing:
        held = positions(listed)
        if held is None:
            continue
        if not kept.wants(timeline, held.start, held.end):
            in_a_row = 0
            yield listed
        elif open_start is not None and held.start >= open_start:
            in_a_row += 1
            if in_a_row >= KEPT_IN_A_ROW:
                return


def expired_moments(archive: Archive, kept: KeptWAL) -> Iterator[ObjectInfo]:
    """Objects of the index whose last moment lies in WAL that goes."""
    for each in archive.index:
        if not kept.wants(each.last.timeline, each.last.position, each.last.position + 1):
            yield ObjectInfo(each.path, 0)


def expired_points(archive: Archive, kept: KeptWAL) -> Iterator[ObjectInfo]:
    """What tells of restore points in WAL that goes."""
    for each in archive.catalogue.named:
        if not kept.wants(each.timeline, each.position, each.position + 1):
            yield ObjectInfo(each.path, 0)


def old_checkpoints(store: Store, archive: str) -> Iterator[ObjectInfo]:
    """All checkpoints but the last ones."""
    numbers = checkpoint_numbers(store.list(layout.join(archive, layout.CATALOGUE_FOLDER)))
    for number in numbers[:-CHECKPOINTS]:
        yield ObjectInfo(layout.checkpoint_object(archive, number), 0)


def reduced(checkpoint: Checkpoint, kept: KeptWAL) -> Checkpoint:
    """The checkpoint without what is about to be deleted; written before, so that it never tells of what is gone."""
    timelines = []
    for each in checkpoint.timelines:
        ranges = [Range(parse_lsn(start), parse_lsn(end)) for start, end in each.ranges]
        left = [part for whole in ranges for part in kept.parts_of(each.timeline, whole)]
        before = sum(whole.end - whole.start for whole in ranges)
        share = sum(part.end - part.start for part in left) / before if before else 1.0
        timelines.append(
            each.model_copy(
                update={
                    "ranges": [(format_lsn(part.start), format_lsn(part.end)) for part in left],
                    "objects": round(each.objects * share),
                    "bytes": round(each.bytes * share),
                }
            )
        )
    return checkpoint.model_copy(update={"timelines": timelines})
