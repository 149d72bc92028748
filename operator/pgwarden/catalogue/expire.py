"""Deletes from an archive the backups that people want gone, as far as nothing needs them.

Their records go first and their objects afterwards, as in a prune, so that a killed one leaves leftovers and nothing
that is listed. WAL stays: whether anything else needs it is for retention to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pgwarden.catalogue.contents import StoredBackup
from pgwarden.catalogue.contract import CatalogueTask, ExpiryReport, RefusalReport
from pgwarden.catalogue.expiry import Refusal, judge
from pgwarden.catalogue.prune import Deletion, Progress, delete_backups, delete_objects
from pgwarden.catalogue.reading import Archive
from pgwarden.storage.store import Store

NAMED = 5
REFUSALS = 2
SHOWN_TEXT = 600


@dataclass
class Expired:
    """What was deleted, and what was not."""

    report: ExpiryReport
    gone: list[StoredBackup] = field(default_factory=list)
    """Backups whose record is deleted."""


def expire(store: Store, archive: Archive, task: CatalogueTask, progress: Progress) -> Expired:
    """Deletes the task's backups. One that is not there counts as gone, with what its attempts left: whoever asks again
    after a lost answer is told so. Raises what `Store` raises and may be tried again."""
    deletion = Deletion(store, task.dry_run, progress)
    settings = task.retention if task.promised else None
    judged = judge(
        archive.catalogue, task.backups, settings, task.now, pinned=set(task.pinned), in_use=set(task.in_use)
    )
    gone = delete_backups(deletion, archive, judged.going)
    listed = {each.backup_id for each in archive.catalogue.backups}
    refused = [*judged.refused, *unreadable(archive, set(task.backups) - listed)]
    for folder in archive.folders.values():
        if folder.backup_id in task.backups and folder.record is None:
            delete_objects(deletion, archive, folder.location)
    left = {each.backup_id for each in judged.going} - {each.backup_id for each in gone}
    refused += [Refusal(each, "DeletionRefused", f"backup {each} stays: {deletion.refusal}") for each in sorted(left)]
    stay = {each.backup_id: each for each in refused}
    away = [each for each in task.backups if each not in stay]
    return Expired(
        ExpiryReport(
            dry_run=task.dry_run,
            backups=len(away),
            bytes=deletion.bytes,
            backup_ids=away[:NAMED],
            refused=[told(stay[each]) for each in task.backups if each in stay][:REFUSALS],
            refused_count=len(stay),
        ),
        gone,
    )


def unreadable(archive: Archive, unlisted: set[str]) -> list[Refusal]:
    """Backups that have a record which cannot be understood or believed: nobody knows what would be deleted."""
    return [
        Refusal(
            folder.backup_id,
            "RecordUnreadable",
            f"backup {folder.backup_id} stays: its record cannot be read, so nobody can say what needs it. "
            "`pgwarden backup list` tells why; where it is of no use, remove its folder by hand",
        )
        for folder in archive.folders.values()
        if folder.backup_id in unlisted and folder.record is not None
    ]


def told(refusal: Refusal) -> RefusalReport:
    """A refusal as a report has it; a termination message has no room for more."""
    return RefusalReport(backup_id=refusal.backup_id, reason=refusal.reason, message=refusal.message[:SHOWN_TEXT])
