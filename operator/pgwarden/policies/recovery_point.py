"""How much may be lost: what a policy asks for, or else what its schedules can keep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgwarden.api.durations import parse_duration
from pgwarden.api.quantities import human_seconds
from pgwarden.api.schedule import longest_spacing
from pgwarden.policies.resource import BackupPolicy, RecoverablePoint
from pgwarden.policies.runs import Run, RunType, newest

DEFAULT = timedelta(hours=1)
"""Asked of a policy that archives WAL, or takes no backups, and names no objective."""


@dataclass(frozen=True)
class WantedPoint:
    """The objective in force."""

    most: timedelta
    """The newest recoverable moment may be so old."""
    words: str
    """The same in a sentence."""
    too_tight: str = ""
    """Why backups alone cannot keep it, and what can; empty where they may."""


def wanted_point(policy: BackupPolicy, runs: Sequence[Run]) -> WantedPoint:
    """The objective that a policy is judged by. `runs` tell how long its backups take."""
    asked = policy.spec.objectives.recovery_point
    apart = None if policy.spec.wal.enabled else time_apart(policy)
    if asked is None:
        most = apart + max(apart / 2, longest_taken(policy, runs)) if apart is not None else DEFAULT
        kept = human_seconds(most.total_seconds())
        return WantedPoint(most, f"{kept} (what it can keep, as no recoveryPoint is set)")
    most, too_tight = parse_duration(asked), ""
    if apart is not None and most <= apart:
        too_tight = (
            f"Backups alone cannot keep that: up to {human_seconds(apart.total_seconds())} lie between two of them."
            " Archive WAL (wal.enabled), take them more often, or raise recoveryPoint. LastBackupSucceeded tells of one"
            " that failed"
        )
    return WantedPoint(most, f"recoveryPoint ({asked})", too_tight)


def time_apart(policy: BackupPolicy) -> timedelta | None:
    """The longest time between two backups by the schedule that is run most often; None where nothing is scheduled."""
    return min(spacings(policy).values(), default=None)


def spacings(policy: BackupPolicy) -> dict[RunType, timedelta]:
    """The longest time between two turns of each schedule."""
    wanted = policy.spec.schedules
    specs = {RunType.FULL: wanted.full, RunType.INCREMENTAL: wanted.incremental, RunType.LOGICAL: wanted.logical}
    return {type_: longest_spacing(each.schedule, each.time_zone) for type_, each in specs.items() if each is not None}


def longest_taken(policy: BackupPolicy, runs: Sequence[Run]) -> timedelta:
    """How long the newest backups of the scheduled types took: others wait for a full, and a dump holds its beginning.

    Not longer than to their next turn: one that took more has waited for something.
    """
    found = [(newest(runs, type_), apart) for type_, apart in spacings(policy).items()]
    return max((min(run.when - run.made, apart) for run, apart in found if run is not None), default=timedelta())


def held_until(latest: RecoverablePoint | None, runs: Sequence[Run]) -> datetime | None:
    """Up to when nothing would be lost: the newest recoverable moment, or the beginning of a later incremental that was

    skipped because nothing had been written since the full that it would have stood on.
    """
    if latest is None:
        return None
    full = newest(runs, RunType.FULL)
    stands = full is not None and not any(run.lost and run.when > full.when for run in runs)
    skipped = [run.made for run in runs if run.skipped and stands and full is not None and run.made > full.when]
    return max([latest.time, *skipped])
