"""What to do about a BackupPolicy, and what to say about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgwarden.api.conditions import Judgment, stalled
from pgwarden.api.durations import parse_duration
from pgwarden.api.schedule import ScheduleError
from pgwarden.catalogue.contract import What
from pgwarden.jobs.plan import Plan, told
from pgwarden.policies.drill_results import drill_judgments, drill_status
from pgwarden.policies.drills import Drills, DrillTurn, drills
from pgwarden.policies.history import outlived
from pgwarden.policies.judgments import (
    ObservedPolicy,
    acceptance,
    archiving,
    ended,
    first_of_all,
    is_stuck,
    last_backup,
    notices,
    seconds_to_stuck,
    unusual,
)
from pgwarden.policies.looks import Look, in_words, look_after, point
from pgwarden.policies.lost import without_lost
from pgwarden.policies.recoverable import (
    Measured,
    calmed,
    earliest_point,
    latest_point,
    newer,
    objectives,
    recoverable,
)
from pgwarden.policies.recovery_point import held_until, wanted_point
from pgwarden.policies.resource import BackupPolicy, LastBackup, RecoverablePoint
from pgwarden.policies.runs import Run, RunType, newest
from pgwarden.policies.schedule_resource import ScheduleStatus
from pgwarden.policies.turns import DRILL, NO_BACKUPS, VERIFICATION, Clock, Turn, Turns, clocks, next_run, turns
from pgwarden.policies.wal import archive_succeeded, archived_point, refreshed, wal_status

LOOK_AGAIN_SECONDS = 60.0
FIRST_BACKUP = timedelta(hours=1)
"""How long the first one may take before it is said that nothing can be recovered, where no objective says it."""


@dataclass
class PolicyPlan(Plan):
    """A Plan, and what is to be done with DatabaseBackups and the archive."""

    backups: list[Turn] = field(default_factory=list)
    """DatabaseBackups to make."""
    end: list[str] = field(default_factory=list)
    """Jobs of backups that do not get on."""
    forget: list[str] = field(default_factory=list)
    """DatabaseBackup objects to delete."""
    look: What | None = None
    """How to look after the archive now."""
    drill: DrillTurn | None = None
    """The drill to make."""
    forget_drills: tuple[str, ...] = ()
    """RestoreRequests to delete."""


def plan(policy: BackupPolicy, observed: ObservedPolicy, now: datetime) -> PolicyPlan:
    """The status of a BackupPolicy, the backups to begin, and the objects to clear away."""
    try:
        found = clocks(policy, now)
    except ScheduleError as error:
        return refused(policy, stalled("InvalidSchedule", str(error)))
    accepted = acceptance(policy, observed)
    held_back = bool(observed.twin) or observed.obstacle is not None
    in_force = not held_back and not policy.spec.suspend
    before = policy.status.wal
    status = policy.status.model_copy(update={"wal": wal_of(policy, observed)})
    policy = policy.model_copy(update={"status": status})
    observed = replace(observed, runs=without_lost(observed.runs, status.catalogue))
    planned = turns(policy, found, observed.runs, now, restored=observed.restored_timeline)
    if held_back:
        planned.start = []
        planned.schedules = [each.status for each in found.values()]
    verification = found.get(VERIFICATION)
    check_slot = verification.due(now) if verification is not None and in_force else None
    look = look_after(
        policy,
        observed.runs,
        observed.job,
        now,
        verification_due=check_slot is not None,
        held_up=observed.look_obstacle if in_force else accepted[0].message,
    )
    schedules = checked(planned.schedules, look, check_slot)
    result = concluded(policy, observed, planned, schedules, found.get(DRILL), look, accepted, now)
    result.notices += archive_succeeded(before, policy.status.wal)
    return result


def concluded(
    policy: BackupPolicy,
    observed: ObservedPolicy,
    planned: Turns,
    schedules: list[ScheduleStatus],
    drill_clock: Clock | None,
    look: Look,
    accepted: list[Judgment],
    now: datetime,
) -> PolicyPlan:
    """The plan with everything that is to be said."""
    before, runs = policy.status, without_lost(observed.runs, look.status)
    full = newest(runs, RunType.FULL)
    wal = before.wal
    archived = archived_point(observed.archiver, wal, full) if policy.spec.wal.enabled else None
    seen = look.report
    catalogue_latest = point(seen.latest) if seen is not None else None
    earliest = earliest_point(runs, point(seen.earliest) if seen is not None else known_earliest(policy, runs))
    known_latest = remembered(before.latest_recoverable, now) if seen is None else catalogue_latest
    latest = not_to_come(latest_point(runs, archived, known_latest), now)
    written = calmed(before.latest_recoverable, latest)
    if wal is not None and written != before.latest_recoverable:
        wal = refreshed(wal, observed.archiver)
    drill = drills(policy, drill_clock, observed.drills, runs, latest, now, held_up=held_up(observed))
    if drill_clock is not None and drill.taken is not None:
        drill_clock = drill_clock.ran(drill.taken)
    of_drill = next_run(policy, drill_clock, now).status if drill_clock is not None else None
    schedules = [of_drill if of_drill is not None and each.name == DRILL else each for each in schedules]
    drilling = drill_status(policy, observed.drills, drill, of_drill)
    measured = newer(observed.measured, measured_before(policy))
    lost = newer(observed.measured_loss, loss_before(policy))
    numbers, met = objectives(policy, runs, latest, measured, now, pending=first_pending(policy, runs, now), lost=lost)
    stuck = [run for run in runs if is_stuck(run, observed)]
    judgments = [
        *accepted,
        last_backup(runs, planned.waiting),
        met,
        recoverable(policy, earliest, latest, moments=archived is not None),
        archiving(policy, observed, full, now),
        *([look.sound] if look.sound is not None else []),
        *drill_judgments(policy, drilling, observed.no_drill),
    ]
    status = before.model_copy(
        update={
            "schedules": schedules,
            "next_run": next_in_words(schedules),
            "running": [run.name for run in runs if not run.finished][:8],
            "last_full": last_of(runs, RunType.FULL) or before.last_full,
            "last_incremental": last_of(runs, RunType.INCREMENTAL) or before.last_incremental,
            "last_logical": last_of(runs, RunType.LOGICAL) or before.last_logical,
            "earliest_recoverable": earliest,
            "latest_recoverable": written,
            "wal": wal,
            "drill": drilling,
            "objectives": numbers,
            "catalogue": look.status,
            "attempts": look.attempts,
            "retention": in_words(policy.spec.retention),
            "message": first_of_all(judgments),
        }
    )
    return PolicyPlan(
        status=status,
        judgments=judgments,
        notices=[*notices(policy, judgments), *unusual(planned.start), *ended(stuck, observed)],
        again_after=again_after(policy, observed, planned, drill, latest, look, now),
        backups=planned.start,
        end=[run.job for run in stuck],
        forget=[run.name for run in outlived(policy, runs, observed.in_use, now)],
        look=look.start,
        drill=drill.start,
        forget_drills=drill.forget,
    )


def held_up(observed: ObservedPolicy) -> str:
    """Why no drill can begin now; empty when one can."""
    if observed.twin:
        return f"BackupPolicy {observed.twin} makes the drills of this archive"
    obstacle = observed.obstacle or observed.no_drill
    return obstacle.message if obstacle is not None else ""


def refused(policy: BackupPolicy, judgments: list[Judgment]) -> PolicyPlan:
    """The plan for a policy that only a person can mend: nothing new begins, what runs goes on."""
    status = policy.status.model_copy(update={"message": first_of_all(judgments)})
    return PolicyPlan(status=status, judgments=judgments, notices=told(judgments, policy.status))


def wal_of(policy: BackupPolicy, observed: ObservedPolicy) -> object:
    """The status of WAL archiving, absent where it is not wanted."""
    return wal_status(policy.status.wal, observed.archiver) if policy.spec.wal.enabled else None


def last_of(runs: Sequence[Run], type_: RunType) -> LastBackup | None:
    run = newest(runs, type_)
    if run is None or run.ended is None:
        return None
    return LastBackup(
        name=run.name, backup_id=run.backup_id, time=run.ended, stored_bytes=run.stored_bytes, size=run.size
    )


def known_earliest(policy: BackupPolicy, runs: Sequence[Run]) -> RecoverablePoint | None:
    """The earliest moment that the last look found; without any look the backups tell."""
    looked = policy.status.catalogue is not None and policy.status.catalogue.time is not None
    return policy.status.earliest_recoverable if looked else None


def remembered(latest: RecoverablePoint | None, now: datetime) -> RecoverablePoint | None:
    """The newest moment that was recoverable before: it still is, unless a clock that was ahead had told it."""
    return latest if latest is not None and latest.time <= now else None


def not_to_come(latest: RecoverablePoint | None, now: datetime) -> RecoverablePoint | None:
    """The newest recoverable moment; now where a clock that is ahead told a later one: until then it would not age."""
    ahead = latest is not None and latest.time > now
    return latest.model_copy(update={"time": now.replace(microsecond=0)}) if latest is not None and ahead else latest


def measured_before(policy: BackupPolicy) -> Measured | None:
    """The restore that was last measured: its object may be gone."""
    known = policy.status.objectives
    if known is None or known.measured_recovery_seconds is None or known.measured_time is None:
        return None
    return Measured(known.measured_by, known.measured_recovery_seconds, known.measured_time)


def loss_before(policy: BackupPolicy) -> Measured | None:
    """The drill that last told how much would have been lost: its object may be gone."""
    known = policy.status.objectives
    if known is None or known.measured_loss_seconds is None or known.measured_loss_time is None:
        return None
    return Measured(known.measured_loss_by, known.measured_loss_seconds, known.measured_loss_time)


def first_pending(policy: BackupPolicy, runs: Sequence[Run], now: datetime) -> bool:
    """Whether it is too early to say that nothing can be recovered."""
    made = policy.metadata.creation_timestamp
    asked = policy.spec.objectives.recovery_point
    young = made is not None and now - made < (parse_duration(asked) if asked is not None else FIRST_BACKUP)
    return young and not any(run.finished for run in runs)


def checked(schedules: list[ScheduleStatus], look: Look, slot: datetime | None) -> list[ScheduleStatus]:
    """The schedules, that of the verification with its slot taken once a check has begun."""
    if slot is None or look.start is not What.VERIFY:
        return schedules
    return [
        each.model_copy(update={"last_schedule_time": slot}) if each.name == VERIFICATION else each
        for each in schedules
    ]


def next_in_words(schedules: Sequence[ScheduleStatus]) -> str:
    """The next backup for people: `Full 2026-11-24T01:32:10Z`."""
    backups = [each for each in schedules if each.name not in NO_BACKUPS]
    coming = [(each.next_run_time, each.name) for each in backups if each.next_run_time]
    if not coming:
        return ""
    moment, type_ = min(coming)
    return f"{type_} {moment:%Y-%m-%dT%H:%M:%SZ}"


def again_after(
    policy: BackupPolicy,
    observed: ObservedPolicy,
    planned: Turns,
    drill: Drills,
    latest: RecoverablePoint | None,
    look: Look,
    now: datetime,
) -> float | None:
    """When to look again: at the next turn, the next look into the archive, when an objective will be missed, or when

    a backup that does not move from now on will count as stuck.
    """
    seconds = [planned.seconds] if planned.seconds is not None else []
    still = [seconds_to_stuck(run, observed) for run in observed.runs]
    seconds += [left + 1.0 for left in still if left is not None]
    held = held_until(latest, observed.runs)
    if held is not None:
        missed = held + wanted_point(policy, observed.runs).most - now
        seconds.append(missed.total_seconds() + 1.0)
    if look.status.next_time is not None:
        seconds.append((look.status.next_time - now).total_seconds())
    # A Secret that is missing is not watched for.
    if planned.waiting or drill.waiting or policy.spec.wal.enabled or observed.obstacle is not None:
        seconds.append(LOOK_AGAIN_SECONDS)
    coming = [each for each in seconds if each > 0]
    return max(1.0, min(coming)) if coming else None
