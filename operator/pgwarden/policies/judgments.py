"""What is said about a BackupPolicy: its conditions and Events. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgwarden.api.conditions import READY, Judgment, Truth, find, in_progress, judge, ready, stalled
from pgwarden.api.quantities import human_seconds
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.plan import Notice, told
from pgwarden.jobs.state import ABSENT, JobState
from pgwarden.jobs.task import shorten
from pgwarden.policies.drill_results import DRILLS_POSSIBLE, LAST_DRILL_SUCCEEDED
from pgwarden.policies.drills import DrillRun
from pgwarden.policies.looks import ARCHIVE_SOUND
from pgwarden.policies.recoverable import OBJECTIVES_MET, RECOVERABLE, Measured
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import BACKING_UP, NOTHING_NEW, Run
from pgwarden.policies.turns import Turn
from pgwarden.policies.wal import WAL_ARCHIVING, Archiver, wal_archiving

LAST_BACKUP_SUCCEEDED = "LastBackupSucceeded"
STUCK_SECONDS = 3600.0
"""A Job whose pod runs and that has not moved for so long is ended, unless the operator's configuration says else."""
TOLD = (
    LAST_BACKUP_SUCCEEDED,
    WAL_ARCHIVING,
    OBJECTIVES_MET,
    RECOVERABLE,
    ARCHIVE_SOUND,
    LAST_DRILL_SUCCEEDED,
    DRILLS_POSSIBLE,
)
"""Conditions whose turns are told as Events."""


@dataclass(frozen=True)
class ObservedPolicy:
    """What is known about a BackupPolicy beside its own object."""

    runs: Sequence[Run] = ()
    """The DatabaseBackups it has made."""
    unmoved: Mapping[str, float] = field(default_factory=dict)
    """Name of a run -> seconds since its progress last moved, by a clock that does not jump."""
    stuck_after: float = STUCK_SECONDS
    """Seconds without any movement after which a run that is at work is ended."""
    obstacle: Obstacle | None = None
    """Why the policy cannot be in force now."""
    twin: str = ""
    """An older BackupPolicy of the same cluster and store."""
    in_use: Collection[str] = ()
    """DatabaseBackups that a restore names that has not ended."""
    archiver: Archiver = field(default_factory=Archiver)
    measured: Measured | None = None
    """The newest restore or drill of the cluster."""
    measured_loss: Measured | None = None
    """The newest drill of it that told how much would have been lost."""
    restored_timeline: int = 0
    """The newest timeline that a restore in place has begun on the cluster as it is now; 0 where none has."""
    drills: Sequence[DrillRun] = ()
    """The drills it has made, and those that a person has made in its name."""
    no_drill: Obstacle | None = None
    """Why drills are not possible."""
    job: JobState = ABSENT
    """Of the look into the archive that is under way or due."""
    look_obstacle: str = ""
    """Why no look into the archive can begin now."""


def acceptance(policy: BackupPolicy, observed: ObservedPolicy) -> list[Judgment]:
    """Ready, Reconciling, Stalled: whether the policy is accepted and in force, whatever came of its runs."""
    if observed.twin:
        message = (
            f"BackupPolicy {observed.twin} is older and has the same cluster and store: what one keeps the other would"
            " delete. Put both into one policy, or give this one another BackupStore"
        )
        return stalled("PolicyDuplicate", message)
    if observed.obstacle is not None:
        return in_progress(observed.obstacle.reason, observed.obstacle.message)
    if policy.spec.suspend:
        return ready("Suspended", "no new backup is taken and nothing is deleted (spec.suspend)")
    return ready("InForce", "the schedules are in force")


def first_of_all(judgments: Sequence[Judgment]) -> str:
    """The sentence that a person wants to read first: why the policy is not in force, or whether its backups are good

    enough.
    """
    said = {judgment.type: judgment for judgment in judgments}
    accepted = said[READY]
    chosen = accepted if accepted.status != Truth.TRUE else said.get(OBJECTIVES_MET, accepted)
    return shorten(chosen.message, 1024)


def archiving(policy: BackupPolicy, observed: ObservedPolicy, full: Run | None, now: datetime) -> Judgment:
    """The condition WALArchiving."""
    wal = policy.status.wal
    if not policy.spec.wal.enabled or wal is None:
        message = "wal.enabled is false: only the ends of backups can be recovered"
        return judge(WAL_ARCHIVING, None, "Disabled", message)
    return wal_archiving(observed.archiver, wal, full, now)


def last_backup(runs: Sequence[Run], waiting: str) -> Judgment:
    """The condition LastBackupSucceeded: about the newest run that ended."""
    done = [run for run in runs if run.finished and not run.expired]
    last = max(done, key=lambda run: (run.made, run.name), default=None)
    behind = f". Now {waiting}" if waiting else ""
    if last is None:
        open_ = next((run for run in runs if not run.finished), None)
        told_ = f"{open_.name} has not ended ({open_.reason}): {open_.message}" if open_ else "no backup was taken yet"
        return judge(LAST_BACKUP_SUCCEEDED, None, "NoneEnded", told_)
    if last.failed:
        message = f"{last.name} failed ({last.reason}): {last.message}{behind}"
        return judge(LAST_BACKUP_SUCCEEDED, False, last.reason or "Failed", message)
    message = f"{last.name}: {last.message}{behind}"
    return judge(LAST_BACKUP_SUCCEEDED, True, NOTHING_NEW if last.skipped else "Succeeded", message)


def seconds_to_stuck(run: Run, observed: ObservedPolicy) -> float | None:
    """For how much longer a run may stand still; None where its pod is not at work: it waits for something."""
    at_work = not run.finished and run.job and run.reason == BACKING_UP
    return observed.stuck_after - observed.unmoved.get(run.name, 0.0) if at_work else None


def is_stuck(run: Run, observed: ObservedPolicy) -> bool:
    """Whether a run's pod is at work without getting on."""
    left = seconds_to_stuck(run, observed)
    return left is not None and left < 0


def ended(stuck: Sequence[Run], observed: ObservedPolicy) -> list[Notice]:
    """An Event for each run that is ended because it does not get on."""
    return [
        Notice(
            "BackupStuck",
            f"{run.name} has not got on for {human_seconds(observed.stuck_after)}:"
            f" its Job {run.job} is ended, and another attempt follows. Look at the server's log, and at the store",
            warning=True,
        )
        for run in stuck
    ]


def unusual(start: Sequence[Turn]) -> list[Notice]:
    """An Event for each backup that is not what a schedule says."""
    return [Notice("FullTaken", f"{turn.name} is a full backup: {turn.why}") for turn in start if turn.why]


def notices(policy: BackupPolicy, judgments: list[Judgment]) -> list[Notice]:
    """An Event for each turn of Ready and of the outcomes."""
    return [
        *told(judgments, policy.status),
        *(notice for type_ in TOLD for notice in told_of(policy, judgments, type_)),
    ]


def told_of(policy: BackupPolicy, judgments: list[Judgment], type_: str) -> list[Notice]:
    """The Event of one outcome; none that nothing is known yet, or any more, nor that drills were always possible."""
    new = next((judgment for judgment in judgments if judgment.type == type_), None)
    if new is None or new.status == Truth.UNKNOWN:
        return []
    always = type_ == DRILLS_POSSIBLE and new.status == Truth.TRUE and find(policy.status.conditions, type_) is None
    return [] if always else told(judgments, policy.status, type_)
