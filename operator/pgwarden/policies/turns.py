"""Which backup a policy takes now: schedules, one by one, and a full where incrementals or WAL need one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pgwarden.api.schedule import Schedule, schedule_for
from pgwarden.api.wal import parse_lsn
from pgwarden.policies.resource import BackupPolicy, IncrementalChain, WALStatus
from pgwarden.policies.runs import Run, RunType, newest, run_name, unfinished
from pgwarden.policies.schedule_resource import ScheduleSpec, ScheduleStatus

VERIFICATION = "Verification"
DRILL = "Drill"
NO_BACKUPS = frozenset({VERIFICATION, DRILL})
"""Schedules by which no backup is taken."""
SELF_MADE_EVERY = timedelta(hours=1)
"""A full that no schedule asked for is taken at most so often for one cause."""
NEW_FULL_REASONS = frozenset(
    {
        "NoParent",
        "ParentNotAuthentic",
        "ManifestNotReadable",
        "ParentDamaged",
        "ParentUntrusted",
        "ParentOfAnotherCluster",
        "ParentBelowFloor",
        "ParentOnAnotherTimeline",
        "WALSummariesMissing",
    }
)
"""Refusals of incrementals that a new full mends (pgwarden.backups.incremental)."""
NEW_ARCHIVE = "NewArchive"
RESTORED = "Restored"


@dataclass(frozen=True)
class Turn:
    """A backup to take now."""

    type: RunType
    slot: datetime
    name: str
    why: str = ""
    """The sentence that says why it is not what the schedule says; empty when it is."""
    parent: str = ""


@dataclass
class Turns:
    """What to take now, and the schedules as they stand after that."""

    schedules: list[ScheduleStatus]
    start: list[Turn] = field(default_factory=list)
    waiting: str = ""
    """Why something that is due does not begin."""
    seconds: float | None = None
    """When to look again."""


@dataclass(frozen=True)
class Clock:
    """One schedule of the spec, and what has come of it."""

    type: str
    spec: ScheduleSpec
    schedule: Schedule
    status: ScheduleStatus

    def due(self, now: datetime) -> datetime | None:
        if self.spec.suspend:
            return None
        last = max(self.status.since, self.status.last_schedule_time or self.status.since)
        return self.schedule.due(now, last=last)

    def ran(self, slot: datetime) -> Clock:
        return self.with_status(last_schedule_time=slot)

    def with_status(self, **update: object) -> Clock:
        return Clock(self.type, self.spec, self.schedule, self.status.model_copy(update=update))


def specs(policy: BackupPolicy) -> dict[str, ScheduleSpec]:
    """The schedules of a policy, by type."""
    wanted = policy.spec.schedules
    found = {
        RunType.FULL.value: wanted.full,
        RunType.INCREMENTAL.value: wanted.incremental,
        RunType.LOGICAL.value: wanted.logical,
        VERIFICATION: policy.spec.verification.schedule,
        DRILL: policy.spec.drill,
    }
    return {type_: spec for type_, spec in found.items() if spec is not None}


def clocks(policy: BackupPolicy, now: datetime) -> dict[str, Clock]:
    """The schedules with their status carried on. Raises ScheduleError for one that cannot be understood."""
    before = {each.name: each for each in policy.status.schedules}
    return {type_: clock(policy, type_, spec, before.get(type_), now) for type_, spec in specs(policy).items()}


def clock(policy: BackupPolicy, type_: str, spec: ScheduleSpec, before: ScheduleStatus | None, now: datetime) -> Clock:
    """One schedule: begun now where it is new or was changed, mended where the clock had been ahead."""
    schedule = schedule_for(
        spec.schedule,
        spec.time_zone,
        policy.metadata.uid,
        type_,
        jitter_seconds=spec.jitter_seconds,
        deadline_seconds=spec.starting_deadline_seconds,
    )
    if before is None or (before.schedule, before.time_zone) != (spec.schedule, spec.time_zone):
        resets = before.clock_resets if before is not None else 0
        before = ScheduleStatus(
            name=type_,
            schedule=spec.schedule,
            time_zone=spec.time_zone,
            since=now.replace(microsecond=0),
            clock_resets=resets,
        )
    known = max(before.since, before.last_schedule_time or before.since)
    if schedule.believed(known, now) is None:
        reset = {
            "since": now.replace(microsecond=0),
            "last_schedule_time": schedule.newest_slot(now),
            "clock_resets": before.clock_resets + 1,
        }
        before = before.model_copy(update=reset)
    status = before.model_copy(update={"jitter_seconds": round(schedule.jitter.total_seconds())})
    return Clock(type_, spec, schedule, status)


def turns(
    policy: BackupPolicy, found: dict[str, Clock], runs: Sequence[Run], now: datetime, *, restored: int = 0
) -> Turns:
    """What to take now; `restored` is the newest timeline that a restore in place has begun, 0 for none."""
    found = {type_: without_what_ran(policy, each, runs, now) for type_, each in found.items()}
    start: list[Turn] = []
    waiting: list[str] = []
    for physical in (True, False):
        under_way = unfinished(runs, physical=physical)
        turn = physical_turn(policy, found, runs, now, restored) if physical else logical_turn(policy, found, now)
        if turn is None or policy.spec.suspend:
            continue
        if under_way:
            first = under_way[0]
            waiting.append(f"a backup of type {turn.type} is due and waits for {first.name} ({first.reason}) to end")
            continue
        start.append(turn)
        found = taken(found, turn, now)
    return Turns(
        schedules=[next_run(policy, each, now).status for each in found.values()],
        start=start,
        waiting="; ".join(waiting),
        seconds=seconds_to_next(policy, found, runs, now, restored),
    )


def without_what_ran(policy: BackupPolicy, each: Clock, runs: Sequence[Run], now: datetime) -> Clock:
    """The clock with a slot taken off whose DatabaseBackup is there: a crash kept it from being recorded."""
    slot = each.due(now)
    if slot is None or each.type in NO_BACKUPS:
        return each
    names = {run.name for run in runs}
    return each.ran(slot) if names & set(names_for(policy, each, slot)) else each


def names_for(policy: BackupPolicy, each: Clock, slot: datetime) -> list[str]:
    """What the DatabaseBackup of a slot may be called: an incremental may have become a full."""
    type_ = RunType(each.type)
    types = {type_, RunType.FULL} if type_ is RunType.INCREMENTAL else {type_}
    return [scheduled_name(policy, each, possible, slot) for possible in sorted(types)]


def scheduled_name(policy: BackupPolicy, each: Clock, type_: RunType, slot: datetime) -> str:
    metadata = policy.metadata
    return run_name(metadata.name, metadata.uid, type_, slot, each.type, str(each.status.clock_resets))


def physical_turn(
    policy: BackupPolicy, found: dict[str, Clock], runs: Sequence[Run], now: datetime, restored: int
) -> Turn | None:
    """The full or incremental that is due, fulls first. While fulls are held back, none is taken for another reason
    either; incrementals go on where there is one to stand on."""
    full, incremental = found.get(RunType.FULL.value), found.get(RunType.INCREMENTAL.value)
    if full is None:
        return None
    held = full.spec.suspend
    slot = full.due(now)
    if slot is not None:
        return Turn(RunType.FULL, slot, scheduled_name(policy, full, RunType.FULL, slot))
    cause, why = full_needed(policy, runs, restored)
    if cause and not held and wait_for_self_made(policy, runs, cause, now) <= timedelta():
        hour = hour_of(now)
        return Turn(RunType.FULL, hour, self_made_name(policy, cause, hour), why)
    slot = incremental.due(now) if incremental is not None else None
    if incremental is None or slot is None:
        return None
    if newest(runs, RunType.FULL) is None:
        if held:
            return None
        why = "an incremental was due, and there is no restorable full backup that it could stand on"
        return Turn(RunType.FULL, slot, scheduled_name(policy, incremental, RunType.FULL, slot), why)
    name = scheduled_name(policy, incremental, RunType.INCREMENTAL, slot)
    return Turn(RunType.INCREMENTAL, slot, name, parent=parent_of(policy, runs))


def logical_turn(policy: BackupPolicy, found: dict[str, Clock], now: datetime) -> Turn | None:
    logical = found.get(RunType.LOGICAL.value)
    slot = logical.due(now) if logical is not None else None
    if logical is None or slot is None:
        return None
    return Turn(RunType.LOGICAL, slot, scheduled_name(policy, logical, RunType.LOGICAL, slot))


def taken(found: dict[str, Clock], turn: Turn, now: datetime) -> dict[str, Clock]:
    """The clocks once a turn was taken: a full also holds what an incremental that is due would have."""
    types = {turn.type.value}
    if turn.type is RunType.FULL:
        types.add(RunType.INCREMENTAL.value)
    result = {}
    for type_, each in found.items():
        slot = each.due(now) if type_ in types else None
        result[type_] = each.ran(slot) if slot is not None else each
    return result


def parent_of(policy: BackupPolicy, runs: Sequence[Run]) -> str:
    """Id of the backup an incremental is taken on; empty where the agent takes the newest full."""
    options = policy.spec.incremental
    last = newest(runs, RunType.FULL, RunType.INCREMENTAL)
    if options.chain == IncrementalChain.FULL or last is None or last.type is RunType.FULL:
        return ""
    return last.backup_id if last.chain_length <= options.max_chain else ""


def full_needed(policy: BackupPolicy, runs: Sequence[Run], restored: int) -> tuple[str, str]:
    """(cause, sentence) when a full is needed that no schedule asks for; both empty when none is."""
    full = newest(runs, RunType.FULL)
    lost = max((run for run in runs if run.lost and run.type is RunType.FULL), key=lambda run: run.when, default=None)
    if lost is not None and (full is None or full.when < lost.when):
        return "FullLost", f"{lost.name} cannot be restored any more: the archive does not hold it, or not intact"
    if full is None:
        return "FirstFull", "there is no restorable full backup yet"
    if policy.spec.wal.enabled and policy.status.wal is not None and in_another_archive(policy.status.wal, full):
        return NEW_ARCHIVE, f"WAL goes on in archive {policy.status.wal.archive}: {policy.status.wal.archive_reason}"
    if policy.spec.wal.enabled and policy.status.wal is not None and gap_after(policy.status.wal, full):
        return "WALGap", f"archived WAL has a gap after {full.name}: {policy.status.wal.last_gap}"
    if full.timeline < restored:
        # Each timeline is a cause of its own: a second restore within the hour gets its full as well.
        return f"{RESTORED}{restored}", f"the cluster was restored in place and is on timeline {restored} since then"
    tried = [run for run in runs if run.finished and run.type is RunType.INCREMENTAL]
    last = max(tried, key=lambda run: (run.made, run.name), default=None)
    later = last is not None and any(run.type is RunType.FULL and run.made >= last.made for run in runs)
    if last is not None and not last.restorable and last.reason in NEW_FULL_REASONS and not later:
        return last.reason, f"the incremental {last.name} was refused ({last.reason}), which a new full mends"
    return "", ""


def in_another_archive(wal: WALStatus, full: Run) -> bool:
    """Whether WAL goes into another archive than that in which the full lies: recovery cannot go from one to the
    other."""
    return bool(wal.archive and full.archive) and wal.archive != full.archive


def gap_after(wal: WALStatus, full: Run) -> bool:
    """Whether WAL that is missing lies behind the beginning of that full."""
    if wal.last_gap_end is None or not full.start_lsn:
        return False
    timeline = wal.last_gap_timeline or 0
    later = parse_lsn(wal.last_gap_end) > parse_lsn(full.start_lsn)
    return timeline > full.timeline or (timeline == full.timeline and later)


def wait_for_self_made(policy: BackupPolicy, runs: Sequence[Run], cause: str, now: datetime) -> timedelta:
    """How long to wait until a full may be taken for that cause; nothing where none was tried for it lately.

    One that ended well and was taken for something else is no reason to wait: what it did not mend came later. Nor is
    one that failed before another has succeeded.
    """
    hours = (hour_of(now), hour_of(now - SELF_MADE_EVERY))
    for_it = {self_made_name(policy, cause, hour) for hour in hours}
    fulls = [run for run in runs if run.type is RunType.FULL]
    good = max((run.made for run in fulls if run.restorable), default=None)
    failed = [run for run in fulls if run.failed and (good is None or run.made >= good)]
    ages = [now - run.made for run in fulls if run in failed or run.name in for_it]
    # One that was made far in the future was made by a clock that was ahead.
    recent = [age for age in ages if abs(age) < SELF_MADE_EVERY]
    return max((SELF_MADE_EVERY - max(age, timedelta()) for age in recent), default=timedelta())


def self_made_name(policy: BackupPolicy, cause: str, hour: datetime) -> str:
    """What the DatabaseBackup is called that is taken for that cause in that hour."""
    return run_name(policy.metadata.name, policy.metadata.uid, RunType.FULL, hour, cause)


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def next_run(policy: BackupPolicy, each: Clock, now: datetime) -> Clock:
    """The clock with the time of its next turn: one that is due and waits shows when it should have been."""
    if policy.spec.suspend or each.spec.suspend:
        return each.with_status(next_run_time=None)
    slot = each.due(now)
    turn = slot + each.schedule.jitter if slot is not None else each.schedule.next_turn(now)
    return each.with_status(next_run_time=turn)


def seconds_to_next(
    policy: BackupPolicy, found: dict[str, Clock], runs: Sequence[Run], now: datetime, restored: int
) -> float | None:
    """When the next schedule has its turn, or a full may be taken that no schedule asks for."""
    if policy.spec.suspend:
        return None
    times = [each.schedule.next_turn(now) - now for each in found.values() if not each.spec.suspend]
    cause, _ = full_needed(policy, runs, restored)
    held = wait_for_self_made(policy, runs, cause, now) if cause else timedelta()
    if held > timedelta():
        times.append(held)
    return max(1.0, min(times).total_seconds()) if times else None
