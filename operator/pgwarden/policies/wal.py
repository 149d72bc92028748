"""What the archiver of a policy says, as status and condition. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgwarden.api.conditions import Judgment, judge
from pgwarden.api.quantities import rounded
from pgwarden.archiving.contract import ArchiverReport, ArchiverState
from pgwarden.jobs.attempts import sentence
from pgwarden.jobs.plan import Notice
from pgwarden.jobs.task import shorten
from pgwarden.policies.recoverable import roughly, shown
from pgwarden.policies.resource import RecoverablePoint, WALStatus
from pgwarden.policies.runs import Run
from pgwarden.policies.turns import NEW_ARCHIVE, gap_after, in_another_archive

WAL_ARCHIVING = "WALArchiving"
STORE_FULL = "StoreFull"
"""Told by its own name: a store that is reached and has no room is mended otherwise than one that is not."""
LAG_SECONDS = 300
"""An archiver that is further behind is a matter for people."""
STALE = timedelta(seconds=60)
STARTING = frozenset({ArchiverState.STARTING, ArchiverState.STOPPING, ArchiverState.RETIRED})


@dataclass(frozen=True)
class Archiver:
    """What is known about a policy's archiver."""

    report: ArchiverReport | None = None
    """Its last document, made with the present settings."""
    problem: str = ""
    """Why there is none, or none that is new."""


def wal_status(before: WALStatus | None, archiver: Archiver) -> WALStatus:
    """The status out of the archiver's document; what moves all the time is taken over once a minute."""
    report = archiver.report
    if report is None:
        return before or WALStatus()
    gap = report.gaps[-1] if report.gaps else None
    status = WALStatus(
        state=report.state.value,
        since=report.since.replace(microsecond=0),
        message=shorten(sentence(report.message, report.remedy), 1024),
        **told_archive(before, report),
        server=report.server[:260],
        timeline=report.timeline or None,
        archived_timeline=report.archived_timeline or None,
        acknowledged=report.acknowledged_lsn or None,
        lag=roughly(timedelta(seconds=report.lag_seconds)) if report.lag_seconds is not None else "",
        lag_seconds=round(report.lag_seconds) if report.lag_seconds is not None else None,
        lag_bytes=rounded(report.lag_bytes) if report.lag_bytes is not None else None,
        spool_bytes=rounded(report.spool_bytes),
        slot=report.slot.name[:63] if report.slot is not None else "",
        slot_state=report.slot.wal_status[:63] if report.slot is not None else "",
        gaps=report.gaps_total,
        last_gap=shorten(f"{gap.start} to {gap.end} on timeline {gap.timeline}: {gap.message}", 1024) if gap else "",
        last_gap_end=gap.end if gap else None,
        last_gap_timeline=gap.timeline if gap else None,
        warnings=[shorten(warning, 1024) for warning in report.warnings[:8]],
    )
    return calm(before, status)


def told_archive(before: WALStatus | None, report: ArchiverReport) -> dict[str, Any]:
    """The archive that is written to, as fields of the status: an archiver that has just begun does not know it yet,

    and goes on in the one that was known.
    """
    if not report.archive:
        return before.model_dump(include={"archive", "archive_since", "archive_reason"}) if before is not None else {}
    since = report.archive_since
    return {
        "archive": report.archive[:63],
        "archive_since": since.replace(microsecond=0) if since is not None else None,
        "archive_reason": shorten(report.archive_reason, 1024),
    }


MOVING = ("acknowledged", "lag_seconds", "lag_bytes", "spool_bytes")


def calm(before: WALStatus | None, after: WALStatus) -> WALStatus:
    """`after`, but for what moves all the time while nothing else has changed; `refreshed` takes that over."""
    if before is None:
        return after
    moving = {name: getattr(before, name) for name in MOVING}
    same = after.model_copy(update=moving)
    return same if same == before else after


def refreshed(status: WALStatus, archiver: Archiver) -> WALStatus:
    """`status` with the numbers that move all the time as they are now."""
    fresh = wal_status(None, archiver)
    return status.model_copy(update={name: getattr(fresh, name) for name in MOVING}) if archiver.report else status


def archive_succeeded(before: WALStatus | None, after: WALStatus | None) -> list[Notice]:
    """An Event when another archive has taken the place of the one that was written to; the first one of a store, or of

    a DatabaseCluster that was made anew, takes nothing's place.
    """
    if before is None or after is None or not before.archive or before.archive == after.archive:
        return []
    if after.archive_since is None:
        return []
    message = (
        f"WAL goes on in archive {after.archive} in place of {before.archive}: {after.archive_reason}. A full backup is"
        " taken by itself; what was archived before can be recovered as before"
    )
    return [Notice("ArchiveSucceeded", message, warning=True)]


def archived_point(archiver: Archiver, wal: WALStatus | None, full: Run | None) -> RecoverablePoint | None:
    """The newest moment of the archived WAL, if recovery can get there from a full without crossing a gap.

    A server whose clock is ahead tells moments that are still to come: none is later than the document that tells it.
    """
    report = archiver.report
    if report is None or report.recovery_point_time is None or full is None:
        return None
    if wal is not None and (gap_after(wal, full) or in_another_archive(wal, full)):
        return None
    told = min(report.recovery_point_time, report.time).replace(microsecond=0)
    return RecoverablePoint(time=told, lsn=report.acknowledged_lsn or None)


def wal_archiving(archiver: Archiver, wal: WALStatus, full: Run | None, now: datetime) -> Judgment:
    """The condition WALArchiving of a policy that wants it."""
    report = archiver.report
    if report is None:
        problem = archiver.problem or "the archiver has not answered yet"
        return judge(WAL_ARCHIVING, None, "ArchiverNotRunning", problem)
    if now - report.time > STALE and archiver.problem:
        message = f"nothing was heard of the archiver since {shown(report.time)}: {archiver.problem}"
        return judge(WAL_ARCHIVING, None, "ArchiverNotRunning", message)
    if report.state in STARTING:
        return judge(WAL_ARCHIVING, None, report.state.value, "the archiver is on its way")
    if report.state is not ArchiverState.STREAMING:
        told = sentence(report.message, report.remedy)
        reason = report.reason if report.reason == STORE_FULL else report.state.value
        return judge(WAL_ARCHIVING, False, reason, f"{told} ({report.reason})")
    if full is not None and in_another_archive(wal, full):
        message = (
            f"WAL goes on in archive {wal.archive}: {wal.archive_reason}. Nothing since then can be recovered before"
            " the next full backup, which is taken by itself. What was archived before can be recovered as before"
        )
        return judge(WAL_ARCHIVING, False, NEW_ARCHIVE, message)
    if full is not None and gap_after(wal, full):
        message = (
            f"WAL is missing from the archive: {wal.last_gap}. Nothing between it and the next full backup can be"
            " recovered but the ends of backups; that full is taken by itself"
        )
        return judge(WAL_ARCHIVING, False, "WALGap", message)
    if report.lag_seconds is not None and report.lag_seconds > LAG_SECONDS:
        message = (
            "the store takes WAL more slowly than the server writes it; the server keeps what is missing. Look at the"
            " network and the store, and at wal.uploads"
        )
        return judge(WAL_ARCHIVING, False, "LaggingBehind", message)
    return judge(WAL_ARCHIVING, True, "Streaming", f"WAL is taken from {report.server} on timeline {report.timeline}")
