"""When a policy has its archive looked after (pruned, read again), and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgwarden.api.conditions import Judgment, judge
from pgwarden.api.durations import parse_duration
from pgwarden.api.quantities import human_bytes, rounded
from pgwarden.api.status import Attempt
from pgwarden.catalogue.contract import CatalogueReport, PointReport, What
from pgwarden.jobs.attempts import Decision, Verdict, decide
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import report_of
from pgwarden.jobs.state import JobState
from pgwarden.jobs.task import shorten
from pgwarden.policies.lost import without_lost
from pgwarden.policies.resource import BackupPolicy, CatalogueStatus, RecoverablePoint, Retention
from pgwarden.policies.runs import Run, RunType

ARCHIVE_SOUND = "ArchiveSound"
EVERY = timedelta(hours=1)
SHORTLY = timedelta(minutes=1)
"""After a backup; several that end together are looked at once."""
OVERDUE = timedelta(hours=6)
CHECK_FAILED = "CheckFailed"
KEPT_ATTEMPTS = 4


@dataclass(frozen=True)
class Look:
    """What became of looking after the archive."""

    status: CatalogueStatus
    attempts: list[Attempt]
    report: CatalogueReport | None = None
    """Of a look that has just ended."""
    start: What | None = None
    """What to begin now."""
    sound: Judgment | None = None
    """The condition ArchiveSound, when there is something new to say."""


def in_words(retention: Retention) -> str:
    """What is kept, for people."""
    named = ("daily", "weekly", "monthly", "yearly")
    more = [f"{getattr(retention, name)} {name}" for name in named if getattr(retention, name)]
    fulls = f"at least {retention.minimum_fulls} full backup{'s' if retention.minimum_fulls > 1 else ''}"
    moments = [f"every moment of {retention.window}"] if parse_duration(retention.window) else []
    return ", ".join([*moments, fulls, *more])


def look_job(policy: BackupPolicy) -> str:
    """Name of the Job of the look that is due or under way: it changes when one has ended, and with the store."""
    before = policy.status.catalogue or CatalogueStatus()
    moment = before.time.isoformat() if before.time else "first"
    metadata = policy.metadata
    looked = (policy.spec.store_ref.name, moment, str(before.failures))
    return job_name(f"{metadata.name}-catalogue", "BackupPolicy", metadata.uid, *looked)


def open_attempts(policy: BackupPolicy) -> list[Attempt]:
    """The record of the look that is under way."""
    name = look_job(policy)
    return [each for each in policy.status.attempts if each.job == name and each.completion_time is None]


def look_after(
    policy: BackupPolicy, runs: Sequence[Run], job: JobState, now: datetime, *, verification_due: bool, held_up: str
) -> Look:
    """Takes what a look has told, or begins one that is due. `held_up` says why none can begin now."""
    before = policy.status.catalogue or CatalogueStatus()
    earlier = [each for each in policy.status.attempts if each.job != look_job(policy)]
    decision = decide(open_attempts(policy), job, now=now, limit=1)
    attempts = [*earlier, *decision.attempts][-KEPT_ATTEMPTS:]
    if decision.verdict is Verdict.SUCCEEDED:
        report = report_of(CatalogueReport, decision.result)
        status = seen(before, report, now, decision.attempts[-1].start_time)
        lost = [run.name for run in without_lost(runs, status) if run.lost and run.type is RunType.FULL]
        return Look(status, attempts, report, sound=soundness(report, lost))
    if decision.verdict is Verdict.FAILED:
        return failed(before, attempts, decision, now)
    if decision.verdict is Verdict.WAIT or held_up or not due(before, runs, now, verification_due=verification_due):
        status = before.model_copy(update={"next_time": next_time(before, runs)})
        return Look(status, attempts, sound=overdue(before, held_up, now))
    repeated = bool(before.failures) and before.what == What.VERIFY.value
    what = What.VERIFY if verification_due or repeated else What.PRUNE
    status = before.model_copy(update={"job": look_job(policy), "what": what.value, "next_time": None})
    return Look(status, attempts, start=what)


def due(before: CatalogueStatus, runs: Sequence[Run], now: datetime, *, verification_due: bool) -> bool:
    """Whether the archive wants to be looked after: never before it holds anything."""
    when = next_time(before, runs)
    return when is not None and (when <= now or verification_due)


def next_time(before: CatalogueStatus, runs: Sequence[Run]) -> datetime | None:
    """When the next look is due: an hour after the last one, or shortly after a backup."""
    if before.time is None:
        ended = [run.known for run in runs if run.restorable]
        # The first of them, not the last: where one follows the other, the last is always about to come.
        return min(ended) + SHORTLY if ended else None
    if before.failures:
        doubled: int = 2 ** min(before.failures, 10)
        return before.time + min(EVERY, SHORTLY * doubled)
    since = [run.known + SHORTLY for run in runs if run.restorable and run.known > before.time]
    return min([before.time + EVERY, *since])


def failed(before: CatalogueStatus, attempts: list[Attempt], decision: Decision, now: datetime) -> Look:
    """A look that failed: what it has read counts all the same where it found that something has rotted."""
    report = report_of(CatalogueReport, decision.result)
    found = decision.reason == CHECK_FAILED and report is not None
    status = seen(before, report, now, decision.attempts[-1].start_time) if found else before
    # A check that found something has been made, and is not repeated at once.
    failures = 0 if found else before.failures + 1
    # What a check writes down does not fit into a full store either: a prune makes room for it.
    what = What.PRUNE.value if decision.reason == "StoreFull" else status.what
    status = status.model_copy(update={"time": now.replace(microsecond=0), "failures": failures, "what": what})
    sound = judge(ARCHIVE_SOUND, False if found else None, decision.reason, decision.message)
    return Look(status, attempts, report if found else None, sound=sound)


def overdue(before: CatalogueStatus, held_up: str, now: datetime) -> Judgment | None:
    """The condition ArchiveSound where nobody has looked for long: nothing is deleted then, and nothing found out."""
    if not held_up or before.time is None or now - before.time < OVERDUE:
        return None
    message = f"the archive was last looked after on {before.time:%Y-%m-%d %H:%M:%S} UTC, and cannot be now: {held_up}"
    return judge(ARCHIVE_SOUND, None, "LookHeldUp", message)


def seen(before: CatalogueStatus, report: CatalogueReport | None, now: datetime, began: datetime) -> CatalogueStatus:
    """The status after a look that ended well."""
    update: dict[str, object] = {"time": now.replace(microsecond=0), "failures": 0}
    if report is None:
        return before.model_copy(update=update)
    size = rounded(report.backup_bytes + report.wal_bytes)
    update |= {
        "fulls": report.fulls,
        "incrementals": report.incrementals,
        "logicals": report.logicals,
        "restorable": report.restorable,
        "looked_from": began.replace(microsecond=0),
        **{f"newest_{type_}": newest(report, type_) for type_ in ("full", "incremental", "logical")},
        "stored_bytes": size,
        "size": human_bytes(size),
        "gaps": report.gap_count,
        "flawed": [shorten(each, 256) for each in report.flawed[:8]],
        "troubles": [shorten(each, 256) for each in report.troubles[:8]],
    }
    if report.prune is not None:
        update |= {
            "deleted_backups": report.prune.backups,
            "deleted_bytes": report.prune.bytes,
            "held": shorten(report.prune.held or report.prune.refusal, 1024),
        }
    if report.last_check is not None:
        update |= {
            "last_check_time": report.last_check.time.replace(microsecond=0),
            "last_check_backup": report.last_check.backup_id[:63],
            "last_check_passed": report.last_check.passed,
        }
    return before.model_copy(update=update)


def newest(report: CatalogueReport, type_: str) -> datetime | None:
    """When the newest good backup of a type ended, as a status has it."""
    found = report.newest.get(type_)
    return found.time.replace(microsecond=0) if found is not None else None


def soundness(report: CatalogueReport | None, lost: Sequence[str] = ()) -> Judgment:
    """The condition ArchiveSound after a look that ended well; `lost` fulls were there once."""
    if report is None:
        return judge(ARCHIVE_SOUND, None, "ReportUnreadable", "bring operator and agent images to one version")
    if report.flawed_count or report.trouble_count:
        several = "; ".join([*report.flawed, *report.troubles])
        message = f"the archive holds what cannot be relied on: {shorten(several, 800)}"
        return judge(ARCHIVE_SOUND, False, "Flawed", message)
    if lost:
        message = (
            f"{shorten(', '.join(lost), 800)} cannot be restored any more: the archive does not hold what they tell of."
            " Find out who deleted it: a rule of the bucket, or a person"
        )
        return judge(ARCHIVE_SOUND, False, "BackupsMissing", message)
    if report.prune is not None and report.prune.refused:
        message = f"the store did not delete {report.prune.refused} objects that have expired: {report.prune.refusal}"
        return judge(ARCHIVE_SOUND, False, "DeletionRefused", message)
    return judge(ARCHIVE_SOUND, True, "Sound", "every backup and all WAL of the archive are as they should be")


def point(report: PointReport | None) -> RecoverablePoint | None:
    """A point of a report as a status has it."""
    return RecoverablePoint(time=report.time.replace(microsecond=0), lsn=report.lsn) if report is not None else None
