"""The work of operation `catalogue`, for the agent and for a shell: read an archive, and do there what is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from pgwarden.catalogue.contents import StoredBackup
from pgwarden.catalogue.continuity import write_checkpoint
from pgwarden.catalogue.contract import CatalogueReport, CatalogueTask, Line, What
from pgwarden.catalogue.expire import expire
from pgwarden.catalogue.prune import prune
from pgwarden.catalogue.reading import Archive, read_archive, read_one
from pgwarden.catalogue.retention import Retention, plan
from pgwarden.catalogue.summary import lines, summarize
from pgwarden.catalogue.sweep import leftovers_to_sweep
from pgwarden.catalogue.timelines import Timeline
from pgwarden.catalogue.verify import CheckRecord, Pace, to_verify, verify
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.archive import check_archive
from pgwarden.storage.store import Store

DELETING = (What.PRUNE, What.EXPIRE)

Progress = Callable[[str, int, int], None]
"""Told the step, what is done and of how much (0 where nobody knows); raises to stop."""


@dataclass
class Outcome:
    """What was found and done."""

    archive: Archive
    retention: Retention
    report: CatalogueReport
    checks: list[CheckRecord]


def work(task: CatalogueTask, store: Store, progress: Progress, *, key: bytes | None = None) -> Outcome:
    """Does what the task asks. A checkpoint only saves time: a store that lets nobody write can be read all the same.

    Raises TaskError: ArchiveBelongsToAnother, BackupNotFound, and what `Store` raises.
    """
    folder = layout.archive_folder(task.archive.namespace, task.archive.cluster)
    if task.what in DELETING and not task.dry_run:
        check_archive(store, task.archive)
    progress("reading the catalogue", 0, 0)
    archive = read_archive(store, folder, task.now, key=key, all_of_it=task.what is What.VERIFY)
    if task.what is not What.PRUNE and archive.wal.checkpoint is not None:
        with suppress(TaskError):
            write_checkpoint(store, folder, archive.wal.checkpoint)
    checks = verified(task, store, archive, progress, key) if task.what is What.VERIFY else []
    retention = plan(archive.catalogue, task.retention, task.now, pinned=set(task.pinned), in_use=set(task.in_use))
    pruned, expired = None, None

    def deleting(deleted: int) -> None:
        progress("deleting", deleted, 0)

    if task.what is What.EXPIRE:
        expired = expire(store, archive, task, deleting)
        if not task.dry_run:
            archive = without(archive, expired.gone, archive.catalogue.timelines)
    if task.what is What.PRUNE:
        pruned = prune(
            store,
            archive,
            retention,
            leftovers_to_sweep(archive.leftovers, archive.folders, set(task.live), task.now),
            dry_run=task.dry_run,
            progress=deleting,
        )
        if not task.dry_run:
            kept = kept_timelines(archive.catalogue.timelines, retention)
            archive = without(archive, pruned.gone, kept)
            archive.wal.objects -= pruned.report.wal_objects
            archive.wal.bytes -= pruned.wal_bytes
    report = summarize(archive.catalogue, archive.folders, wal_objects=archive.wal.objects, wal_bytes=archive.wal.bytes)
    report.window_start = retention.window_start
    report.prune = pruned.report if pruned is not None else None
    report.expiry = expired.report if expired is not None else None
    return Outcome(archive, retention, report, checks)


def verified(
    task: CatalogueTask, store: Store, archive: Archive, progress: Progress, key: bytes | None
) -> list[CheckRecord]:
    """Reads the wanted backups again; what fails counts as damaged from now on."""
    chosen = to_verify(archive.catalogue, archive.folders, task.backups, task.verify.at_most)
    total = sum(backup.stored_bytes for backup in chosen)
    pace = Pace(task.verify.max_rate_kib << 10, lambda done: progress("verifying", done, total))
    checks = []
    for backup in chosen:
        record = read_one(store, archive.folders[backup.location], key)
        checks.append(verify(store, backup.location, backup.backup_id, record.objects, pace, task.now))
    if checks:
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
    for each in lines(outcome.archive.catalogue, outcome.archive.folders, outcome.retention):
        yield Line(nonce=nonce, backup=each)
    for trouble in outcome.archive.catalogue.troubles:
        yield Line(nonce=nonce, trouble=f"{trouble.reason}: {trouble.message}")
    yield Line(nonce=nonce, report=outcome.report)


def shown(outcome: Outcome, store: Store, wanted: list[str]) -> Iterator[dict[str, object]]:
    """The records of these backups as they stand in the store. Raises TaskError with reason BackupNotFound."""
    known = {backup.backup_id: backup for backup in outcome.archive.catalogue.backups}
    for name in wanted:
        backup = known.get(name)
        if backup is None:
            raise TaskError(
                "BackupNotFound",
                f"there is no backup {name} in {outcome.archive.catalogue.archive}",
                remedy="pgwarden backup list names those that are there.",
            )
        yield json.loads(store.read_small(layout.record_file(backup.location)))
