"""Operation `catalogue`: reads an archive, reports what can be recovered, and prunes or verifies where asked to."""

from __future__ import annotations

from pgwarden.api.quantities import human_bytes
from pgwarden.catalogue.contract import CatalogueReport, CatalogueTask, ExpiryReport, Line, What
from pgwarden.catalogue.pins import Wish, write_pin
from pgwarden.catalogue.summary import moment, named
from pgwarden.catalogue.work import Outcome, listing, pointed, shown, work
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.archive import adopt_archives, archive_folders, check_archive
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.store import Store, open_store

__all__ = ["CatalogueTask", "run"]


def run(payload: CatalogueTask, context: AgentContext) -> Done:
    """Carries the task out. Raises TaskError; a check that failed is one, with the whole report."""

    def progress(step: str, done: int, total: int) -> None:
        context.check_stop()
        context.progress(step, done, total, unit="objects" if step == "deleting" else "bytes")

    store = open_store(payload.store)
    if payload.what is What.ADOPT:
        return adopt(payload, store)
    key = catalogue_key_of(payload.store)
    hmac = key.hmac if key is not None else None
    if payload.what in (What.PIN, What.UNPIN):
        return pin(payload, store, hmac)
    outcome = work(payload, store, progress, key=hmac)
    if payload.what in (What.LIST, What.PRUNE):
        for line in listing(outcome, context.task.nonce):
            context.log(line.model_dump_json(by_alias=True, exclude_none=True))
    if payload.what is What.POINTS:
        for line in pointed(payload, outcome, context.task.nonce):
            context.log(line.model_dump_json(by_alias=True, exclude_none=True))
    if payload.what is What.SHOW:
        for record in shown(outcome, store, payload.backups):
            context.log(Line(nonce=context.task.nonce, record=record).model_dump_json(by_alias=True, exclude_none=True))
        for line in listing(outcome, context.task.nonce):
            if line.backup is not None and line.backup.backup_id in payload.backups:
                context.log(line.model_dump_json(by_alias=True, exclude_none=True))
    failed = [check for check in outcome.checks if not check.passed]
    if failed:
        first = failed[0].damaged[0]
        raise TaskError(
            "CheckFailed",
            f"{named([check.backup_id for check in failed])} cannot be relied on: {first.trouble}",
            remedy="Older backups are kept until a new one succeeds: take a full backup now, and find out what changed "
            "the object. The check's record lies beside the backup, in checks/.",
            report=outcome.report.model_dump(mode="json", by_alias=True, exclude_none=True),
        )
    return Done(*told(payload, outcome), report=outcome.report)


def adopt(payload: CatalogueTask, store: Store) -> Done:
    """Has the archives belong to the task's DatabaseCluster. Raises TaskError."""
    mine = payload.archive
    new = adopt_archives(store, mine, payload.adopt_from, payload.now, payload.asked_by)
    folder = layout.cluster_folder(mine.namespace, mine.cluster)
    message = f"every archive in {folder} belongs to the DatabaseCluster with UID {mine.cluster_uid}"
    return Done("Adopted" if new else "AdoptedBefore", message, CatalogueReport())


def pin(payload: CatalogueTask, store: Store, key: bytes | None) -> Done:
    """Pins a backup, or takes its pin away. Raises TaskError."""
    mine = payload.archive
    places = archive_folders(store, mine.namespace, mine.cluster) or [
        layout.archive_folder(mine.namespace, mine.cluster)
    ]
    if mine.cluster_uid:  # a person's shell at a bucket knows none
        for place in places:
            check_archive(store, mine, place)
    (backup_id,) = payload.backups
    wish = Wish(pinned=payload.what is What.PIN, time=payload.now, asked_by=payload.asked_by)
    new = write_pin(store, places, backup_id, wish, key)
    text = "is pinned: it never expires" if wish.pinned else "is not pinned: retention lets it go in its time"
    before = "" if new else ", as it was before"
    return Done("Pinned" if wish.pinned else "Unpinned", f"backup {backup_id} {text}{before}", CatalogueReport())


def told(payload: CatalogueTask, outcome: Outcome) -> tuple[str, str]:
    """Reason and message of what went well."""
    report = outcome.report
    if payload.what is What.VERIFY:
        size = human_bytes(sum(check.bytes for check in outcome.checks))
        return (
            "Verified",
            f"{named([check.backup_id for check in outcome.checks]) or 'no backup'}: {size} read and intact",
        )
    if report.expiry is not None:
        return expired_text(report.expiry)
    if report.prune is not None:
        done = report.prune
        what = f"{done.backups} backups, {done.wal_objects} WAL objects and {done.other_objects} others"
        size = human_bytes(done.bytes)
        text = f"{what} would be deleted ({size})" if done.dry_run else f"{what} deleted ({size})"
        if done.held:
            text += f"; {done.held}"
        if done.refused:
            return "DeletionRefused", f"{text}; the store refused {done.refused} deletions: {done.refusal}"
        return ("PrunePlanned" if done.dry_run else "Pruned"), text
    return "Summarized", recoverable_text(report)


def expired_text(done: ExpiryReport) -> tuple[str, str]:
    """Reason and message after backups were to be deleted."""
    verb = "would be deleted" if done.dry_run else "deleted"
    text = f"{named(done.backup_ids, done.backups - len(done.backup_ids)) or 'nothing'} {verb}"
    text += f" ({human_bytes(done.bytes)})"
    if done.refused:
        return "ExpiryRefused", f"{text}; {done.refused[0].message}"
    return ("ExpiryPlanned" if done.dry_run else "Expired"), text


def recoverable_text(report: CatalogueReport) -> str:
    """What can be had back, in a sentence."""
    held = f"{report.fulls} full, {report.incrementals} incremental and {report.logicals} logical backups"
    if report.earliest is None or report.latest is None:
        return f"{held}; nothing can be recovered"
    gaps = f", with {report.gap_count} gaps" if report.gap_count else ""
    return f"{held}; recoverable from {moment(report.earliest.time)} to {moment(report.latest.time)}{gaps}"
