"""When a policy makes a drill, and of what; which it has made, and which have had their time. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pgwarden.api.conditions import READY, STALLED, find, is_true
from pgwarden.jobs.names import NAME_LENGTH, OWNER_UID_LABEL, job_name, label_value
from pgwarden.policies.drill_resource import DrillTarget
from pgwarden.policies.resource import BackupPolicy, RecoverablePoint
from pgwarden.policies.runs import EPOCH, POLICY_LABEL, Run, RunType, newest
from pgwarden.policies.turns import Clock, gap_after, in_another_archive
from pgwarden.restores.resource import RestoreRequest

CANCELLED = "Cancelled"
SECOND = timedelta(seconds=1)
NOTHING_YET = "there is no restorable backup yet"


@dataclass(frozen=True)
class DrillRun:
    """One drill of the policy: a RestoreRequest."""

    name: str
    made: datetime
    by_schedule: bool = True
    """Whether the policy has made it; else a person at a shell."""
    finished: bool = False
    succeeded: bool = False
    reason: str = ""
    message: str = ""
    ended: datetime | None = None
    target: str = ""
    backup_id: str = ""
    recovery_seconds: int | None = None
    data_loss_seconds: int | None = None

    @property
    def counts(self) -> bool:
        """Whether it tells something about the backups: one that a person ended does not."""
        return self.finished and self.reason != CANCELLED


@dataclass(frozen=True)
class DrillTurn:
    """A drill to make now."""

    slot: datetime
    name: str
    source: dict[str, Any]
    """spec.source of its RestoreRequest."""
    why: str = ""
    """The sentence that says why it is of something else than the policy says; empty when it is not."""


@dataclass
class Drills:
    """The drill to make now, if any, and the objects to clear away."""

    start: DrillTurn | None = None
    taken: datetime | None = None
    """The turn that needs no drill any more: it is made now, or was before a crash kept that from being recorded."""
    waiting: str = ""
    """Why one that is due does not begin."""
    forget: tuple[str, ...] = ()


def is_drill_of(policy: BackupPolicy, request: RestoreRequest) -> bool:
    """Whether a RestoreRequest is a drill of the policy's, by schedule or by a person who named the policy."""
    labels, name = request.metadata.labels, policy.metadata.name
    if request.spec.target.drill is None:
        return False
    return is_by_schedule(policy, request) or labels.get(POLICY_LABEL) == label_value(name)


def is_by_schedule(policy: BackupPolicy, request: RestoreRequest) -> bool:
    return request.metadata.labels.get(OWNER_UID_LABEL) == policy.metadata.uid


def drill_run(policy: BackupPolicy, request: RestoreRequest) -> DrillRun:
    """What a plan has to know of a drill."""
    status = request.status
    stuck, ready = find(status.conditions, STALLED), find(status.conditions, READY)
    succeeded = is_true(status.conditions, READY)
    failed = is_true(status.conditions, STALLED)
    return DrillRun(
        name=request.metadata.name,
        made=request.metadata.creation_timestamp or EPOCH,
        by_schedule=is_by_schedule(policy, request),
        finished=succeeded or failed,
        succeeded=succeeded,
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "",
        ended=status.completion_time if succeeded else stuck.last_transition_time if stuck and failed else None,
        target=status.resolved.target if status.resolved is not None else "",
        backup_id=status.backup_id,
        recovery_seconds=status.recovery_seconds if succeeded else None,
        data_loss_seconds=status.data_loss_seconds if succeeded else None,
    )


def drills(
    policy: BackupPolicy,
    clock: Clock | None,
    made: Sequence[DrillRun],
    runs: Sequence[Run],
    latest: RecoverablePoint | None,
    now: datetime,
    *,
    held_up: str,
) -> Drills:
    """What to do now. `clock` is None where no drill is wanted; `held_up` says why none can begin."""
    forget = tuple(run.name for run in outlived(policy, made))
    slot = clock.due(now) if clock is not None else None
    if clock is None or slot is None or policy.spec.suspend:
        return Drills(forget=forget)
    name = drill_name(policy, slot, clock.status.clock_resets)
    if name in {run.name for run in made}:
        return Drills(taken=slot, forget=forget)
    running = under_way(made)
    if running is not None:
        held_up = held_up or f"{running.name} has not ended ({running.reason})"
    source, why = source_of(policy, runs, latest, slot)
    if held_up or source is None:
        return Drills(waiting=f"a drill is due and waits: {held_up or NOTHING_YET}", forget=forget)
    return Drills(start=DrillTurn(slot, name, source, why), taken=slot, forget=forget)


def under_way(made: Sequence[DrillRun]) -> DrillRun | None:
    """The oldest drill that has not ended."""
    return min((run for run in made if not run.finished), key=lambda run: (run.made, run.name), default=None)


def outlived(policy: BackupPolicy, made: Sequence[DrillRun]) -> list[DrillRun]:
    """RestoreRequests to delete, oldest first: of those that the policy has made and that ended, all but the last few.

    A policy that makes no drills any more keeps them.
    """
    ended = sorted((run for run in made if run.finished and run.by_schedule), key=lambda run: (run.made, run.name))
    keep = policy.spec.drill.keep_last if policy.spec.drill is not None else len(ended)
    return ended[: max(0, len(ended) - keep)]


def drill_name(policy: BackupPolicy, slot: datetime, clock_resets: int) -> str:
    """`<policy>-drill-<UTC time of the slot>-<hash>`: the same for every look at the same slot."""
    metadata = policy.metadata
    tail = f"-drill-{slot.astimezone(UTC):%Y%m%d-%H%M}"
    head = metadata.name[: NAME_LENGTH - len(tail)].rstrip("-.")
    return job_name(head + tail, "BackupPolicy", metadata.uid, "Drill", slot.isoformat(), str(clock_resets))


def source_of(
    policy: BackupPolicy, runs: Sequence[Run], latest: RecoverablePoint | None, slot: datetime
) -> tuple[dict[str, Any] | None, str]:
    """(spec.source, why it is not what the policy says); None where nothing can be restored."""
    last = newest(runs, RunType.FULL, RunType.INCREMENTAL)
    if last is None or policy.spec.drill is None:
        return None, ""
    wanted = policy.spec.drill.target
    if wanted is DrillTarget.NEWEST_INCREMENTAL:
        incremental = newest(runs, RunType.INCREMENTAL)
        why = "" if incremental is not None else "there is no restorable incremental backup"
        return {"backupRef": {"name": (incremental or last).name}}, why
    here = {"policyRef": {"name": policy.metadata.name}}
    if wanted is DrillTarget.LATEST:
        return {**here, "target": {"latest": True}}, ""
    if not policy.spec.wal.enabled:
        return {"backupRef": {"name": any_backup(policy, runs, slot).name}}, ""
    moment = any_moment(policy, runs, latest, slot)
    if moment is None:
        return {**here, "target": {"latest": True}}, "the window is too short yet to choose a moment of it"
    return {**here, "target": {"time": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}}, ""


def any_backup(policy: BackupPolicy, runs: Sequence[Run], slot: datetime) -> Run:
    """A restorable physical backup of the policy, another one each time."""
    usable = sorted((run for run in runs if run.restorable and run.type.physical), key=lambda run: (run.when, run.name))
    return usable[chance(policy, slot, len(usable))]


def any_moment(
    policy: BackupPolicy, runs: Sequence[Run], latest: RecoverablePoint | None, slot: datetime
) -> datetime | None:
    """A moment of the window, another one each time; None where there is none.

    It lies after the first full from which WAL goes on without a gap: one before a gap may not be recoverable.
    """
    wal = policy.status.wal
    fulls = [
        run.holds
        for run in runs
        if run.restorable
        and run.type is RunType.FULL
        and run.holds is not None
        and not (wal is not None and (gap_after(wal, run) or in_another_archive(wal, run)))
    ]
    if not fulls or latest is None:
        return None
    first = min(fulls)
    seconds = int((latest.time - first) / SECOND)
    return first + SECOND + chance(policy, slot, seconds - 1) * SECOND if seconds > 1 else None


def chance(policy: BackupPolicy, slot: datetime, count: int) -> int:
    """A number below `count` that follows from policy and turn alone: every look at a turn chooses the same."""
    digest = hashlib.sha256(f"{policy.metadata.uid} {slot.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
