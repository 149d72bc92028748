"""From when to when the data can be brought back, and whether that is good enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgwarden.api.conditions import Judgment, find, judge
from pgwarden.api.durations import parse_duration
from pgwarden.api.quantities import human_seconds
from pgwarden.policies.recovery_point import WantedPoint, held_until, wanted_point
from pgwarden.policies.resource import BackupPolicy, ObjectivesStatus, RecoverablePoint
from pgwarden.policies.runs import Run

OBJECTIVES_MET = "ObjectivesMet"
RECOVERABLE = "Recoverable"
WINDOW_LOST = "WindowLost"
CALM = timedelta(minutes=1)
"""The newest recoverable moment moves all the time while WAL is archived: it is written no more often than this."""


@dataclass(frozen=True)
class Measured:
    """A restore or a drill of the cluster that was done."""

    name: str
    seconds: float
    time: datetime


def newer(one: Measured | None, other: Measured | None) -> Measured | None:
    """The later of two: that of an object, and what is remembered of one that may be gone."""
    return max((each for each in (one, other) if each is not None), key=lambda each: each.time, default=None)


def latest_point(
    runs: Sequence[Run], archived: RecoverablePoint | None, catalogue: RecoverablePoint | None
) -> RecoverablePoint | None:
    """The newest recoverable moment: of a backup, of WAL that goes on from one, or as the archive was last read."""
    found = [point for point in (archived, catalogue) if point is not None]
    found += [
        RecoverablePoint(time=run.holds, lsn=run.stop_lsn or None)
        for run in runs
        if run.restorable and run.holds is not None
    ]
    return max(found, key=lambda point: point.time, default=None)


def earliest_point(runs: Sequence[Run], catalogue: RecoverablePoint | None) -> RecoverablePoint | None:
    """The oldest recoverable moment: as the archive was last read, or else of the oldest backup that is known."""
    if catalogue is not None:
        return catalogue
    held = [(run.holds, run.stop_lsn) for run in runs if run.restorable and run.holds is not None]
    first = min(held, default=None)
    return RecoverablePoint(time=first[0], lsn=first[1] or None) if first is not None else None


def calmed(before: RecoverablePoint | None, after: RecoverablePoint | None) -> RecoverablePoint | None:
    """`after`, or `before` where it has moved by less than a minute."""
    if before is None or after is None or abs(after.time - before.time) >= CALM:
        return after
    return before


def recoverable(
    policy: BackupPolicy, earliest: RecoverablePoint | None, latest: RecoverablePoint | None, *, moments: bool
) -> Judgment:
    """The condition Recoverable; `moments` tells that WAL makes every moment between the two recoverable.

    That the window was open once, and from when to when, stands in it until there is another one.
    """
    before, told = policy.status, find(policy.status.conditions, RECOVERABLE)
    if earliest is None or latest is None:
        if told is not None and told.reason == WINDOW_LOST:
            return judge(RECOVERABLE, False, WINDOW_LOST, told.message)
        if before.earliest_recoverable is None or before.latest_recoverable is None:
            return judge(
                RECOVERABLE,
                False,
                "NothingYet",
                f"there is no restorable backup in BackupStore {policy.spec.store_ref.name} yet",
            )
        message = (
            f"nothing can be brought back any more: before, moments from {shown(before.earliest_recoverable.time)}"
            f" to {shown(before.latest_recoverable.time)} could be. ArchiveSound tells what became of the backups"
        )
        return judge(RECOVERABLE, False, WINDOW_LOST, message)
    between = "any moment" if moments else "the end of any backup"
    message = f"the data can be brought back to {between} since {shown(earliest.time)}"
    return judge(RECOVERABLE, True, "WindowOpen", message)


def objectives(
    policy: BackupPolicy,
    runs: Sequence[Run],
    latest: RecoverablePoint | None,
    measured: Measured | None,
    now: datetime,
    *,
    pending: bool,
    lost: Measured | None = None,
) -> tuple[ObjectivesStatus, Judgment]:
    """The numbers and the condition ObjectivesMet. `pending` tells that the first backup may still be under way; `lost`
    is the drill that last told how much would have been lost, in seconds."""
    point = wanted_point(policy, runs)
    duration = parse_duration(policy.spec.objectives.recovery_time)
    held = held_until(latest, runs)
    age = max(timedelta(), now - held) if held is not None else None
    status = ObjectivesStatus(
        recovery_point_seconds=int(point.most.total_seconds()),
        recovery_time_seconds=int(duration.total_seconds()),
        measured_recovery_seconds=round(measured.seconds) if measured is not None else None,
        measured_time=measured.time if measured is not None else None,
        measured_by=measured.name if measured is not None else "",
        measured_loss_seconds=round(lost.seconds) if lost is not None else None,
        measured_loss_time=lost.time if lost is not None else None,
        measured_loss_by=lost.name if lost is not None else "",
    )
    return status, objectives_met(policy, point, latest, age, measured, lost, pending=pending)


def objectives_met(
    policy: BackupPolicy,
    point: WantedPoint,
    latest: RecoverablePoint | None,
    age: timedelta | None,
    measured: Measured | None,
    lost: Measured | None,
    *,
    pending: bool,
) -> Judgment:
    """The condition ObjectivesMet. Its sentence names moments, not ages: it stays the same while nothing happens."""
    wanted = policy.spec.objectives
    if latest is None or age is None:
        if pending:
            return judge(OBJECTIVES_MET, None, "FirstBackupPending", "the first backup has not ended yet")
        message = "nothing can be recovered: no backup has succeeded. LastBackupSucceeded says what keeps them"
        return judge(OBJECTIVES_MET, False, "NothingRecoverable", message)
    if age > point.most:
        why = point.too_tight or "LastBackupSucceeded and WALArchiving say why"
        message = f"the newest recoverable moment is {shown(latest.time)}, longer ago than {point.words}. {why}"
        return judge(OBJECTIVES_MET, False, "RecoveryPointMissed", message)
    # Without WAL the age of the last backup tells the same, and knows of those that were not needed.
    if policy.spec.wal.enabled and lost is not None and lost.seconds > point.most.total_seconds():
        message = (
            f"the drill {lost.name} came back {human_seconds(lost.seconds)} of data short on {shown(lost.time)}, more"
            f" than {point.words}. The next drill judges again"
        )
        return judge(OBJECTIVES_MET, False, "DrillLostTooMuch", message)
    if measured is None:
        message = (
            f"what could be lost is less than {point.words}; how long a restore takes is not known: none of this"
            " cluster was done yet. Have drills made (spec.drill), or restore it into a new instance once"
        )
        return judge(OBJECTIVES_MET, None, "RecoveryTimeUnknown", message)
    took = f"the restore {measured.name} took {human_seconds(measured.seconds)} on {shown(measured.time)}"
    if measured.seconds > parse_duration(wanted.recovery_time).total_seconds():
        message = f"{took}, and recoveryTime is {wanted.recovery_time}"
        return judge(OBJECTIVES_MET, False, "RecoveryTimeMissed", message)
    came = f"; the drill {lost.name} would have lost {human_seconds(lost.seconds)}" if lost is not None else ""
    message = (
        f"what could be lost is less than {point.words}{came}; {took}, less than recoveryTime ({wanted.recovery_time})"
    )
    return judge(OBJECTIVES_MET, True, "Met", message)


def shown(moment: datetime) -> str:
    """A moment for people."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def roughly(age: timedelta) -> str:
    """An age that seldom changes: what is below ten seconds, a minute, five minutes is called so."""
    for bound in (10, 60, 300):
        if age.total_seconds() < bound:
            return f"under {human_seconds(bound)}"
    return human_seconds(age.total_seconds() // 300 * 300)
