"""The work of operation `catalogue`, for the agent and for a shell: read a cluster's archives, and do what is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from pgwarden.catalogue.contents import StoredBackup
from pgwarden.catalogue.continuity import write_checkpoint
from pgwarden.catalogue.contract import CatalogueReport, CatalogueTask, ExpiryReport, Line, PruneReport, What
from pgwarden.catalogue.expire import expire
from pgwarden.catalogue.moments import IndexObject, around, ends_of_timelines
from pgwarden.catalogue.point_lines import timelines, way
from pgwarden.catalogue.prune import prune
from pgwarden.catalogue.reading import Archive, read_archive, read_one
from pgwarden.catalogue.retention import Retention, plan_all
from pgwarden.catalogue.summary import expired_together, lines, of_archive, pruned_together, summarize, together
from pgwarden.catalogue.sweep import leftovers_to_sweep, unfinished_to_sweep
from pgwarden.catalogue.timelines import Timeline
from pgwarden.catalogue.verify import CheckRecord, Pace, to_verify, verify
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.archive import archive_folders, check_archive, read_archive_file
from pgwarden.storage.store import Store

DELETING = (What.PRUNE, What.EXPIRE)
EXACT = (What.VERIFY, What.POINTS)
"""What lists all WAL, as a restore does: a checkpoint may tell of what somebody has deleted."""
SHOWN_ARCHIVES = 3

Progress = Callable[[str, int, int], None]
"""Told the step, what is done and of how much (0 where nobody knows); raises to stop."""


@dataclass
class Part:
    """What was found in one archive."""

    archive: Archive
    retention: Retention


@dataclass
class Outcome:
    """What was found and done."""

    parts: list[Part]
    """One for each archive of the cluster, the oldest first."""
    report: CatalogueReport
    checks: list[CheckRecord]


def work(task: CatalogueTask, store: Store, progress: Progress, *, key: bytes | None = None) -> Outcome:
    """Does what the task asks. A checkpoint only saves time: a store that lets nobody write can be read all the same.

    Raises TaskError: ArchiveBelongsToAnother, BackupNotFound, and what `Store` raises.
    """
    namespace, cluster = task.archive.namespace, task.archive.cluster
    places = archive_folders(store, namespace, cluster) or [layout.archive_folder(namespace, cluster)]
    if task.what in DELETING and not task.dry_run:
        for place in places:
            check_archive(store, task.archive, place)
    progress("reading the catalogue", 0, 0)
    archives = [
        read_archive(
            store, each, task.now, key=key, all_of_it=task.what in EXACT, choice=lambda index: telling(index, task.at)
        )
        for each in places
    ]
    if task.what is not What.PRUNE:
        with suppress(TaskError):
            for archive in archives:
                if archive.wal.checkpoint is not None:
                    write_checkpoint(store, archive.catalogue.archive, archive.wal.checkpoint)
    checks = verified(task, store, archives, progress, key) if task.what is What.VERIFY else []
    begun = [read_archive_file(store, layout.archive_file(place)).created for place in places[1:]]
    for archive, succeeded in zip(archives, begun, strict=False):
        archive.catalogue = replace(archive.catalogue, succeeded=succeeded)
    plans = plan_all(
        [archive.catalogue for archive in archives],
        task.retention,
        task.now,
        pinned=set(task.pinned),
        in_use=set(task.in_use),
    )
    parts = [Part(archive, retention) for archive, retention in zip(archives, plans, strict=True)]
    expired = [expired_part(task, store, *each, progress) for each in divided(task, parts)]
    pruned = [pruned_part(task, store, part, progress) for part in parts] if task.what is What.PRUNE else []
    report = reported(parts, begun)
    report.prune = pruned_together(pruned) if pruned else None
    report.expiry = expired_together(expired) if expired else None
    return Outcome(parts, report, checks)


def telling(index: Sequence[IndexObject], at: datetime | None) -> list[IndexObject]:
    """The objects of the index of moments that are read in full: those at ends, and those around a moment."""
    wanted = {*ends_of_timelines(index), *(around(index, at) if at is not None else ())}
    return [each for each in index if each in wanted]


def divided(task: CatalogueTask, parts: list[Part]) -> list[tuple[Part, list[str]]]:
    """The backups that are to expire, by the archive they lie in; what lies nowhere is told of by the newest."""
    if task.what is not What.EXPIRE:
        return []
    places = [{folder.backup_id for folder in part.archive.folders.values()} for part in parts]
    nowhere = [each for each in task.backups if not any(each in place for place in places)]
    own = [[each for each in task.backups if each in place] for place in places]
    own[-1] += nowhere
    return [(part, wanted) for part, wanted in zip(parts, own, strict=True) if wanted]


def expired_part(task: CatalogueTask, store: Store, part: Part, wanted: list[str], progress: Progress) -> ExpiryReport:
    """Deletes backups of one archive that people want gone, or tells which would be."""
    archive = part.archive
    mine = task.model_copy(update={"backups": wanted})
    expired = expire(store, archive, mine, lambda deleted: progress("deleting", deleted, 0))
    if not task.dry_run:
        part.archive = without(archive, expired.gone, archive.catalogue.timelines)
    return expired.report


def pruned_part(task: CatalogueTask, store: Store, part: Part, progress: Progress) -> PruneReport:
    """Deletes from one archive what has expired, or tells what would be."""
    archive, retention = part.archive, part.retention
    pruned = prune(
        store,
        archive,
        retention,
        leftovers_to_sweep(archive.leftovers, archive.folders, set(task.live), task.now),
        unfinished_to_sweep(store.unfinished(archive.catalogue.archive), set(task.live), task.now),
        dry_run=task.dry_run,
        progress=lambda deleted: progress("deleting", deleted, 0),
    )
    if not task.dry_run:
        part.archive = without(archive, pruned.gone, kept_timelines(archive.catalogue.timelines, retention))
        part.archive.wal.objects -= pruned.report.wal_objects
        part.archive.wal.bytes -= pruned.wal_bytes
    return pruned.report


def reported(parts: list[Part], begun: list[datetime]) -> CatalogueReport:
    """The report of all archives; `begun` tells when each but the first took the place of the one before it."""
    each_one = [
        summarize(
            part.archive.catalogue,
            part.archive.folders,
            wal_objects=part.archive.wal.objects,
            wal_bytes=part.archive.wal.bytes,
        )
        for part in parts
    ]
    report = together(each_one)
    if len(parts) > 1:
        told = list(zip(each_one, parts, [None, *begun], strict=True))[-SHOWN_ARCHIVES:]
        report.archives = [of_archive(one, part.archive.catalogue, since) for one, part, since in told]
    report.window_start = parts[-1].retention.window_start
    return report


def verified(
    task: CatalogueTask, store: Store, archives: list[Archive], progress: Progress, key: bytes | None
) -> list[CheckRecord]:
    """Reads the wanted backups again; what fails counts as damaged from now on."""
    folders = {location: folder for archive in archives for location, folder in archive.folders.items()}
    everything = tuple(backup for archive in archives for backup in archive.catalogue.backups)
    all_of_them = replace(archives[-1].catalogue, backups=everything)
    chosen = to_verify(all_of_them, folders, task.backups, task.verify.at_most)
    total = sum(backup.stored_bytes for backup in chosen)
    pace = Pace(task.verify.max_rate_kib << 10, lambda done: progress("verifying", done, total))
    checks = []
    for backup in chosen:
        record = read_one(store, folders[backup.location], key)
        checks.append(verify(store, backup.location, backup.backup_id, record.objects, pace, task.now))
    if checks:
        for archive in archives:
            again = read_archive(store, archive.catalogue.archive, task.now, key=key)
            archive.catalogue, archive.folders = again.catalogue, again.folders
    return checks


def kept_timelines(timelines: Mapping[int, Timeline], retention: Retention) -> dict[int, Timeline]:
    """The WAL that a prune leaves."""
    return {
        number: replace(
            timeline,
            ranges=tuple(part for each in timeline.ranges for part in retention.wal.parts_of(number, each)),
        )
        for number, timeline in timelines.items()
    }


def without(archive: Archive, gone: list[StoredBackup], timelines: Mapping[int, Timeline]) -> Archive:
    """The archive with these backups and other WAL gone, as far as a report tells of it."""
    ids = {backup.backup_id for backup in gone}
    catalogue = replace(
        archive.catalogue,
        backups=tuple(each for each in archive.catalogue.backups if each.backup_id not in ids),
        timelines=timelines,
    )
    folders = {name: each for name, each in archive.folders.items() if each.backup_id not in ids}
    return replace(archive, catalogue=catalogue, folders=folders)


def listing(outcome: Outcome, nonce: str) -> Iterator[Line]:
    """Every backup, every trouble, and last the report."""
    for part in outcome.parts:
        for each in lines(part.archive.catalogue, part.archive.folders, part.retention):
            yield Line(nonce=nonce, backup=each)
        for trouble in part.archive.catalogue.troubles:
            yield Line(nonce=nonce, trouble=f"{trouble.reason}: {trouble.message}")
    yield Line(nonce=nonce, report=outcome.report)


def pointed(task: CatalogueTask, outcome: Outcome, nonce: str) -> Iterator[Line]:
    """Every timeline of every archive, every trouble, how the moment asked about can be recovered, the report."""
    catalogues = [part.archive.catalogue for part in outcome.parts]
    for catalogue in catalogues:
        yield from (Line(nonce=nonce, timeline=each) for each in timelines(catalogue))
        for trouble in catalogue.troubles:
            yield Line(nonce=nonce, trouble=f"{trouble.reason}: {trouble.message}")
    if task.at is not None:
        yield Line(nonce=nonce, way=way(catalogues, task.at, task.timeline))
    yield Line(nonce=nonce, report=outcome.report)


def shown(outcome: Outcome, store: Store, wanted: list[str]) -> Iterator[dict[str, object]]:
    """The records of these backups as they stand in the store. Raises TaskError with reason BackupNotFound."""
    known = {backup.backup_id: backup for part in outcome.parts for backup in part.archive.catalogue.backups}
    for name in wanted:
        backup = known.get(name)
        if backup is None:
            raise TaskError(
                "BackupNotFound",
                f"there is no backup {name} in {outcome.parts[-1].archive.catalogue.archive}",
                remedy="pgwarden backup list names those that are there.",
            )
        yield json.loads(store.read_small(layout.record_file(backup.location)))
