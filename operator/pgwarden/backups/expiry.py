"""What to do about a DatabaseBackup that a person wants deleted (spec.expire), and what to say about it. Pure.

The object only asks: an agent reads the archive, judges what would be lost, and deletes. A refusal is no failure of the
backup, so Ready stays as it was; the condition Expired tells of it, and it is asked again every hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pgwarden.api.conditions import Truth, find, is_true, judge, ready
from pgwarden.api.quantities import human_bytes
from pgwarden.api.status import Attempt
from pgwarden.backups.plan import EXPIRED, RESTORABLE, WAIT_SECONDS, BackupPlan, finished
from pgwarden.backups.resource import BackupType, DatabaseBackup, DatabaseBackupStatus
from pgwarden.backups.wishes import ObservedWish, Wish
from pgwarden.catalogue.contract import CatalogueReport, ExpiryReport
from pgwarden.jobs.attempts import Verdict
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import REPORT_UNREADABLE, report_of

KEPT = "Kept"
EXPIRING = "Expiring"
WISH = Wish(EXPIRED)
ASKED_AGAIN = timedelta(hours=1)


def expired(backup: DatabaseBackup) -> bool:
    """Whether its data is gone by a person's wish."""
    return is_true(backup.status.conditions, EXPIRED)


def concerned(backup: DatabaseBackup) -> bool:
    """Whether there is anything to do or to say about its expiry. What is still being taken ends first."""
    if not finished(backup) or expired(backup):
        return False
    said = find(backup.status.conditions, EXPIRED)
    return backup.spec.expire or deleting(backup) or (said is not None and said.reason != KEPT)


def expiry_job(backup: DatabaseBackup, attempt: int) -> str:
    """Name of the Job of one attempt: it changes when an answer has come."""
    judged, metadata = backup.status.expiry_judged, backup.metadata
    moment = judged.isoformat() if judged is not None else "first"
    return job_name(f"{metadata.name[:32]}-expire", "DatabaseBackup", metadata.uid, EXPIRED, moment, str(attempt))


def open_attempts(backup: DatabaseBackup) -> list[Attempt]:
    """The attempts since the last answer."""
    return [each for each in backup.status.attempts if each.job == expiry_job(backup, each.number)]


def deleting(backup: DatabaseBackup) -> bool:
    """Whether a Job may be deleting it now."""
    return bool(open_attempts(backup)) and not expired(backup)


def same_archive(one: DatabaseBackup, other: DatabaseBackup) -> bool:
    return (one.spec.cluster_ref, one.spec.store_ref) == (other.spec.cluster_ref, other.spec.store_ref)


def wanted_gone(backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> list[str]:
    """Ids of all backups of the archive that people want deleted, this one first: a full may go with its incrementals,
    and not before them."""
    more = [
        each.status.backup_id
        for each in others
        if same_archive(backup, each) and each.spec.expire and finished(each) and not expired(each)
    ]
    mine = backup.status.backup_id
    return [mine, *sorted(set(more) - {mine, ""})]


def taken_on_it(backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> str:
    """Why it must not be deleted now, or nothing: an incremental is being taken, or is to be, on it or on nobody knows
    which backup."""
    mine = backup.status.backup_id
    for each in others:
        if finished(each) or each.spec.type is not BackupType.INCREMENTAL or not same_archive(backup, each):
            continue
        begun_on_any = bool(each.status.attempts) and not each.spec.parent
        if begun_on_any or each.spec.parent == mine:
            return f"waits for DatabaseBackup {each.metadata.name} to end: it may be taken on this one"
    return ""


def may_lose_parent(backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> str:
    """Why an incremental must not begin now, or nothing: what it would be taken on may be about to be deleted."""
    names = [each.metadata.name for each in others if same_archive(backup, each) and deleting(each)]
    return f"waits for DatabaseBackup {names[0]} to be deleted (its spec.expire)" if names else ""


def plan_expiry(backup: DatabaseBackup, observed: ObservedWish, now: datetime) -> BackupPlan:
    """The status of a DatabaseBackup that is `concerned`, and whether an attempt to delete it is to be started."""
    status, open_ = backup.status, open_attempts(backup)
    before = find(status.conditions, EXPIRED)
    if not open_ and not backup.spec.expire:
        return WISH.said(backup, status, [judge(EXPIRED, False, KEPT, "the backup is kept (spec.expire)")], None)
    refused = (
        before is not None
        and before.status == Truth.FALSE
        and before.reason != KEPT
        and before.observed_generation == backup.metadata.generation
    )
    if not open_ and refused and status.expiry_judged is not None and now < status.expiry_judged + ASKED_AGAIN:
        rest = (status.expiry_judged + ASKED_AGAIN - now).total_seconds()
        return BackupPlan(status=status, again_after=max(1.0, rest))
    decision, status = WISH.decided(backup, open_, observed, now)
    if decision.verdict is Verdict.START:
        queued = judge(EXPIRED, None, "Queued", observed.busy)
        begun = judge(EXPIRED, None, EXPIRING, "the archive is read, to judge what needs the backup")
        return WISH.start(backup, status, observed, decision.number, queued=queued, begun=begun)
    if decision.verdict in (Verdict.WAIT, Verdict.BACK_OFF):
        message = decision.message or f"Job {observed.job.name} judges what needs it, and deletes it"
        waiting = judge(EXPIRED, None, decision.reason or EXPIRING, message)
        return WISH.said(backup, status, [waiting], decision.seconds or WAIT_SECONDS)
    status = status.model_copy(update={"expiry_judged": now.replace(microsecond=0)})
    if decision.verdict is Verdict.FAILED:
        failed = judge(EXPIRED, False, decision.reason, f"the backup could not be deleted: {decision.message}")
        return WISH.said(backup, status, [failed], ASKED_AGAIN.total_seconds())
    report = report_of(CatalogueReport, decision.result)
    return answered(backup, status, report.expiry if report is not None else None)


def answered(backup: DatabaseBackup, status: DatabaseBackupStatus, report: ExpiryReport | None) -> BackupPlan:
    """The plan for what the agent has told: gone, or why not."""
    mine = next((each for each in report.refused if each.backup_id == status.backup_id), None) if report else None
    if report is None or (mine is None and status.backup_id not in report.backup_ids):
        message = "the agent's report does not tell of it. Bring operator and agent images to one version"
        return WISH.said(
            backup, status, [judge(EXPIRED, False, REPORT_UNREADABLE, message)], ASKED_AGAIN.total_seconds()
        )
    if mine is not None:
        refused = judge(EXPIRED, False, mine.reason, mine.message)
        return WISH.said(backup, status, [refused], ASKED_AGAIN.total_seconds())
    message = f"backup {status.backup_id} was deleted from the store, as spec.expire asks"
    if report.bytes:
        message += f"; {human_bytes(report.bytes)} were freed"
    judgments = [judge(EXPIRED, True, EXPIRED, message)]
    if is_true(status.conditions, RESTORABLE):
        judgments += [*ready(EXPIRED, message), judge(RESTORABLE, False, EXPIRED, message)]
    return WISH.said(backup, status, judgments, None)
