"""What to do about a DatabaseBackup, and what to say about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pgwarden.api.conditions import Judgment, find, in_progress, judge, ready, stalled
from pgwarden.api.quantities import human_bytes, human_seconds
from pgwarden.backups.contract import BackupReport
from pgwarden.backups.resource import BackupType, DatabaseBackup, DatabaseBackupStatus
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import Decision, Verdict, decide
from pgwarden.jobs.names import job_name, short_hash
from pgwarden.jobs.plan import REPORT_UNREADABLE, Plan, report_of, told, with_progress
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Operation, Progress, shorten
from pgwarden.logical.contract import LogicalBackupReport
from pgwarden.logical.plan import completed

RESTORABLE = "Restorable"
USABLE_AS_PARENT = "UsableAsParent"
EXPIRED = "Expired"
PINNED = "Pinned"
NOTHING_NEW = "NothingNew"
TYPE_IN_ID = {BackupType.FULL: "full", BackupType.INCREMENTAL: "incr", BackupType.LOGICAL: "logical"}
WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class ObservedBackup:
    """What is known about a DatabaseBackup beside its own object."""

    job: JobState
    obstacle: Obstacle | None = None
    """Why work cannot begin now."""
    busy: str = ""
    """Why a Job cannot begin now although cluster and store are fine."""
    progress: Progress | None = None


@dataclass
class BackupPlan(Plan):
    """A Plan, and the number of the attempt to start."""

    attempt: int | None = None


def backup_id(backup: DatabaseBackup) -> str:
    """Name of the backup's folder: when it was asked for, the type, and a hash of the UID; sorts by time."""
    made = backup.metadata.creation_timestamp or datetime.fromtimestamp(0, UTC)
    return f"{made.astimezone(UTC):%Y%m%dT%H%M%SZ}-{TYPE_IN_ID[backup.spec.type]}-{short_hash(backup.metadata.uid)}"


def operation(backup: DatabaseBackup) -> Operation:
    """What its Jobs do."""
    return Operation.LOGICAL_BACKUP if backup.spec.type == BackupType.LOGICAL else Operation.BACKUP


def backup_job(backup: DatabaseBackup, attempt: int) -> str:
    """Name of the Job of one attempt."""
    return job_name(backup.metadata.name, "DatabaseBackup", backup.metadata.uid, str(attempt))


def finished(backup: DatabaseBackup) -> bool:
    """Whether nothing more is to be done about it."""
    restorable = find(backup.status.conditions, RESTORABLE)
    stuck = find(backup.status.conditions, "Stalled")
    return bool((restorable and restorable.status != "Unknown") or (stuck and stuck.status == "True"))


def plan(backup: DatabaseBackup, observed: ObservedBackup, now: datetime) -> BackupPlan:
    """The status of a DatabaseBackup, and whether an attempt is to be started or ended."""
    if finished(backup):
        return BackupPlan(status=backup.status)
    decision = decide(backup.status.attempts, observed.job, now=now)
    status = backup.status.model_copy(update={"attempts": decision.attempts, "backup_id": backup_id(backup)})
    if backup.spec.cancel and decision.verdict not in (Verdict.SUCCEEDED, Verdict.FAILED):
        return cancelled(backup, status, observed)
    if decision.verdict == Verdict.START:
        return start(backup, status, decision, observed)
    if decision.verdict == Verdict.WAIT:
        running = with_progress(status, observed.progress, now)
        reason = "BackingUp" if observed.job.phase == JobPhase.RUNNING else decision.reason
        message = decision.message or f"Job {observed.job.name} backs the cluster up"
        return said(backup, running, in_progress(reason, message), WAIT_SECONDS)
    status = status.model_copy(update={"progress": None})
    if decision.verdict == Verdict.BACK_OFF:
        return said(backup, status, in_progress(decision.reason, decision.message), decision.seconds)
    if decision.verdict == Verdict.SUCCEEDED and decision.reason == NOTHING_NEW:
        return nothing_new(backup, status, decision)
    if decision.verdict == Verdict.SUCCEEDED and backup.spec.type == BackupType.LOGICAL:
        dumped = report_of(LogicalBackupReport, decision.result)
        return logical_succeeded(backup, status, dumped) if dumped is not None else unreadable(backup, status)
    if decision.verdict == Verdict.SUCCEEDED:
        report = report_of(BackupReport, decision.result)
        return succeeded(backup, status, report) if report is not None else unreadable(backup, status)
    judgments = [*stalled(decision.reason, decision.message), judge(RESTORABLE, False, decision.reason)]
    return said(backup, status, judgments, None)


def nothing_new(backup: DatabaseBackup, status: DatabaseBackupStatus, decision: Decision) -> BackupPlan:
    """The plan for an incremental that was skipped: its parent holds everything, so nothing is wrong."""
    message = f"skipped: {decision.message}"
    return said(backup, status, [*ready(NOTHING_NEW, message), judge(RESTORABLE, False, NOTHING_NEW, message)], None)


def unreadable(backup: DatabaseBackup, status: DatabaseBackupStatus) -> BackupPlan:
    """The plan for a backup that was made, by an agent whose report says other things than this operator knows."""
    message = (
        f"backup {status.backup_id} was made, but its agent's report cannot be read, so it does not count (backup.json"
        " in the store tells about it). Bring operator and agent images to one version and make a new DatabaseBackup"
    )
    judgments = [*stalled(REPORT_UNREADABLE, message), judge(RESTORABLE, False, REPORT_UNREADABLE, message)]
    return said(backup, status, judgments, None)


def start(
    backup: DatabaseBackup, status: DatabaseBackupStatus, decision: Decision, observed: ObservedBackup
) -> BackupPlan:
    """The plan that starts an attempt, or says what it waits for."""
    if backup.spec.expire and decision.number == 1:
        message = "spec.expire was set before the backup was taken, so it is not; make a new DatabaseBackup instead"
        judgments = [judge(type_, type_ == EXPIRED, EXPIRED, message) for type_ in (RESTORABLE, EXPIRED)]
        return said(backup, status, [*ready(EXPIRED, message), *judgments], None)
    waiting: list[Judgment] | None = None
    if backup.spec.suspend:
        waiting = in_progress("Suspended", "the backup is held back (spec.suspend)")
    elif observed.obstacle is not None:
        waiting = in_progress(observed.obstacle.reason, observed.obstacle.message)
    elif observed.busy:
        waiting = in_progress("Queued", observed.busy)
    if waiting is not None:
        return said(backup, status, [*waiting, judge(RESTORABLE, None, waiting[0].reason)], WAIT_SECONDS)
    message = f"attempt {decision.number} begins as backup {status.backup_id}"
    judgments = [*in_progress("Starting", message), judge(RESTORABLE, None, "Starting")]
    begun = said(backup, status, judgments, WAIT_SECONDS)
    begun.attempt = decision.number
    return begun


def cancelled(backup: DatabaseBackup, status: DatabaseBackupStatus, observed: ObservedBackup) -> BackupPlan:
    """The plan that ends a backup: what it had written is not listed, because backup.json comes last."""
    message = "the backup was cancelled (spec.cancel); nothing of it is listed in the store"
    judgments = [*stalled("Cancelled", message), judge(RESTORABLE, False, "Cancelled", message)]
    plan = said(backup, status.model_copy(update={"progress": None}), judgments, None)
    if observed.job.phase in (JobPhase.QUEUED, JobPhase.RUNNING):
        plan.delete_job = observed.job.name
    return plan


def succeeded(backup: DatabaseBackup, status: DatabaseBackupStatus, report: BackupReport) -> BackupPlan:
    """The plan for a backup that is in the store."""
    seconds = max(0.0, (report.stop_time - report.start_time).total_seconds())
    status = status.model_copy(
        update={
            "backup_id": report.backup_id,
            "location": report.location,
            "start_time": report.start_time.replace(microsecond=0),
            "completion_time": report.stop_time.replace(microsecond=0),
            "start_lsn": report.start_lsn,
            "stop_lsn": report.stop_lsn,
            "timeline": report.timeline,
            "postgres_version": report.postgres_version,
            "system_identifier": report.system_identifier,
            "plain_bytes": report.plain_bytes,
            "stored_bytes": report.stored_bytes,
            "size": human_bytes(report.stored_bytes),
            "duration_seconds": round(seconds, 1),
            "objects": report.objects,
            "tablespaces": report.tablespaces,
            "superuser": report.superuser[:63],
            "encrypted": report.encrypted,
            "parent": report.parent_id,
            "chain_length": report.chain,
            "note": shorten(report.note, 1024),
        }
    )
    parent = judge(USABLE_AS_PARENT, True, "Completed")
    if report.no_parent:
        parent = judge(USABLE_AS_PARENT, False, "NoIncrementals", report.no_parent)
    if report.damaged:
        message = (
            "the server found data pages with wrong checksums while it sent them: the backup is kept, but never"
            " counted as restorable. Find the damaged relations in the server's log"
        )
        judgments = [*stalled("Damaged", message), judge(RESTORABLE, False, "Damaged", message), parent]
        return said(backup, status, judgments, None)
    if report.untrusted:
        message = f"the backup is kept, but never counted as restorable: {report.untrusted}. Take a new full backup"
        judgments = [*stalled("Untrusted", message), judge(RESTORABLE, False, "Untrusted", message), parent]
        return said(backup, status, judgments, None)
    message = (
        f"{human_bytes(report.plain_bytes)} stored as {human_bytes(report.stored_bytes)} in {human_seconds(seconds)};"
        f" restorable up to {report.stop_lsn}"
    )
    judgments = [*ready("Completed", message), judge(RESTORABLE, True, "Completed", message), parent]
    return said(backup, status, judgments, None)


def logical_succeeded(backup: DatabaseBackup, status: DatabaseBackupStatus, report: LogicalBackupReport) -> BackupPlan:
    """The plan for a logical backup that is in the store."""
    status, message = completed(status, report)
    return said(backup, status, [*ready("Completed", message), judge(RESTORABLE, True, "Completed", message)], None)


def said(
    backup: DatabaseBackup, status: DatabaseBackupStatus, judgments: list[Judgment], again_after: float | None
) -> BackupPlan:
    """A plan with an Event where Ready turned."""
    notices = told(judgments, backup.status)
    return BackupPlan(status=status, judgments=judgments, notices=notices, again_after=again_after)
