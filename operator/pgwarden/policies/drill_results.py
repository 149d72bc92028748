"""What came of a policy's drills: status and conditions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pgwarden.api.conditions import Judgment, judge
from pgwarden.api.quantities import human_seconds
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.task import shorten
from pgwarden.policies.drill_resource import MOST_KEPT, DrillResult, DrillStatus
from pgwarden.policies.drills import DrillRun, Drills, under_way
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.schedule_resource import ScheduleStatus

LAST_DRILL_SUCCEEDED = "LastDrillSucceeded"
DRILLS_POSSIBLE = "DrillsPossible"
STEADY_PERCENT = 10
"""So much more or less is called about as long."""


def drill_status(
    policy: BackupPolicy, made: Sequence[DrillRun], planned: Drills, schedule: ScheduleStatus | None
) -> DrillStatus | None:
    """The status; None where no drill is wanted and none was made."""
    before = policy.status.drill or DrillStatus()
    keep = policy.spec.drill.keep_last if policy.spec.drill is not None else MOST_KEPT
    found = {each.name: each for each in before.history} | {run.name: result_of(run) for run in made if run.counts}
    ordered = sorted(found.values(), key=lambda each: (each.time, each.name))
    history = ordered[-keep:]
    running = under_way(made)
    status = DrillStatus(
        next_run_time=schedule.next_run_time if schedule is not None else None,
        running=planned.start.name if planned.start is not None else running.name if running is not None else "",
        waiting=shorten(planned.waiting, 1024),
        last=ordered[-1] if ordered else before.last,
        last_success=next((each for each in reversed(ordered) if each.succeeded), before.last_success),
        history=history,
    )
    percent, words = trend(history)
    status = status.model_copy(update={"trend_percent": percent, "trend": words})
    return None if policy.spec.drill is None and status == DrillStatus() else status


def result_of(run: DrillRun) -> DrillResult:
    """What is kept of a drill that ended."""
    seconds = run.recovery_seconds
    return DrillResult(
        name=run.name,
        time=(run.ended or run.made).replace(microsecond=0),
        succeeded=run.succeeded,
        reason=run.reason,
        message=shorten(run.message, 512),
        target=shorten(run.target, 256),
        backup_id=run.backup_id,
        recovery_seconds=seconds,
        recovery=human_seconds(seconds) if seconds is not None else "",
        data_loss_seconds=run.data_loss_seconds,
    )


def trend(history: Sequence[DrillResult]) -> tuple[int | None, str]:
    """By how many percent the last success took longer than the median of those before it, and the same for people."""
    taken = [each.recovery_seconds for each in history if each.succeeded and each.recovery_seconds is not None]
    if len(taken) < 2:
        return None, ""
    usual = median(taken[:-1])
    percent = round(100 * (taken[-1] - usual) / usual) if usual else 0
    than = f"the median of the {len(taken) - 1} before ({human_seconds(usual)})"
    if abs(percent) <= STEADY_PERCENT:
        return percent, f"{human_seconds(taken[-1])}, about as long as {than}"
    return percent, f"{human_seconds(taken[-1])}, {abs(percent)}% {'longer' if percent > 0 else 'less'} than {than}"


def drill_judgments(policy: BackupPolicy, status: DrillStatus | None, impossible: Obstacle | None) -> list[Judgment]:
    """The conditions LastDrillSucceeded and DrillsPossible."""
    return [last_drill(policy, status or DrillStatus()), possible(impossible)]


def last_drill(policy: BackupPolicy, status: DrillStatus) -> Judgment:
    """The condition LastDrillSucceeded: about the last drill that ended."""
    last = status.last
    behind = f". Now {status.waiting}" if status.waiting else ""
    if last is not None and last.succeeded:
        return judge(LAST_DRILL_SUCCEEDED, True, "Succeeded", f"{last.name}: {last.message}{behind}")
    if last is not None:
        message = f"{last.name} failed ({last.reason}): {last.message}{behind}"
        return judge(LAST_DRILL_SUCCEEDED, False, last.reason or "Failed", message)
    if policy.spec.drill is None:
        message = "no drills are made (spec.drill): nobody knows whether a restore would succeed, and how long it takes"
        return judge(LAST_DRILL_SUCCEEDED, None, "NotScheduled", message)
    return judge(LAST_DRILL_SUCCEEDED, None, "NoneEnded", status.waiting or "no drill has ended yet")


def possible(impossible: Obstacle | None) -> Judgment:
    """The condition DrillsPossible."""
    if impossible is not None:
        return judge(DRILLS_POSSIBLE, False, impossible.reason, impossible.message)
    return judge(DRILLS_POSSIBLE, True, "Possible", "nothing that a drill needs is known to be missing")
