"""Which backup a restore to a given point begins with, and which WAL it needs after it. Pure.

A point in time is between two noted moments: WAL up to the one before it must be replayed, and WAL up to the one after
it holds everything that was committed until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pgwarden.api.wal import format_lsn
from pgwarden.catalogue.chains import by_id, chain_of, flaw_of
from pgwarden.catalogue.contents import Catalogue, StoredBackup
from pgwarden.catalogue.reachable import beside_position, beside_time, last_second, reachable_times, shown
from pgwarden.catalogue.timelines import Path, coverage, lies_on, path_of
from pgwarden.catalogue.window import candidates, moments_of, newest_timeline, reach, recoverable_on
from pgwarden.jobs.errors import TaskError

SECOND = timedelta(seconds=1)
NOT_HERE = frozenset({"NoRestorableBackup", "TargetBeforeFirstBackup", "TargetBeyondArchive", "TimelineUnknown"})
"""Reasons for which a target is looked for in the archive before, where a cluster has several."""
LISTED = "To see what can be recovered: pgwarden restore points."


@dataclass(frozen=True)
class Target:
    """Where recovery shall end: at most one of the first four; none is the end of the archive."""

    time: datetime | None = None
    lsn: int | None = None
    immediate: bool = False
    """As soon as the backup is consistent."""
    unknown: bool = False
    """A transaction or a restore point, whose position only the WAL tells."""
    not_after: int | None = None
    """With `unknown`: the target is known to lie after this position."""
    until: int | None = None
    """With `unknown`: WAL must be there up to this position."""
    called: str = ""
    """With `unknown`: what it is, for people."""
    timeline: int | None = None
    """None is the newest; with `immediate` that of the backup."""

    def __str__(self) -> str:
        if self.time is not None:
            return shown(self.time)
        if self.lsn is not None:
            return f"position {format_lsn(self.lsn)}"
        return self.called or "the end of the archive"


@dataclass(frozen=True)
class Base:
    """Where a restore begins, and which way it goes."""

    chain: tuple[StoredBackup, ...]
    """The full first; recovery begins with the last."""
    timeline: int
    path: Path
    end: int
    """Recovery must come at least here, or it lost something."""
    end_time: datetime | None
    """When the server was at `end`; None where that is not known."""
    reasons: tuple[str, ...]
    """Why newer backups were passed over, for people."""

    @property
    def backup(self) -> StoredBackup:
        return self.chain[-1]


@dataclass(frozen=True)
class Wanted:
    """A target as positions of its path."""

    before: int | None
    """The base must have stopped at or before this position; None where any will do."""
    before_time: datetime | None
    """... and at or before this time."""
    until: int | None
    """WAL must be there up to this position; None where it ends is not known, or does not matter."""
    end: int | None
    """Recovery must come at least here; None where the base alone decides."""
    end_time: datetime | None = None


def choose_base(catalogue: Catalogue, target: Target) -> Base:
    """The newest backup that leads to the target, without a gap in the WAL between them.

    Raises TaskError: TimelineUnknown, NoRestorableBackup, TargetBeforeFirstBackup, TargetBeyondArchive, WALGap.
    """
    timeline = wanted_timeline(catalogue, target)
    path = path_of(catalogue.timelines, timeline)
    usable = candidates(catalogue, path)
    passed_over = flaws(catalogue, path)
    if not usable:
        raise TaskError(
            "NoRestorableBackup",
            f"no backup in {catalogue.archive} can be restored along timeline {timeline}"
            + (f": {'; '.join(passed_over[:3])}" if passed_over else ""),
            remedy="Take a full backup. To see what is there: pgwarden backup list.",
        )
    wanted = positions(catalogue, target, path, timeline)
    early = [each for each in usable if precedes(each, wanted)]
    if not early:
        raise too_early(catalogue, target, timeline, usable[0])
    covered = coverage(catalogue.timelines, path)
    for backup in reversed(early):
        reached = reach(backup, covered, path)
        if wanted.until is None or reached >= wanted.until:
            chain = chain_of(backup, by_id(catalogue.backups))
            end = max(backup.stop, reached if wanted.end is None and not target.immediate else wanted.end or 0)
            return Base(chain, timeline, path, end, wanted.end_time, tuple(passed_over))
        passed_over.append(f"from {backup.backup_id} WAL reaches to {format_lsn(reached)} only")
    last = early[-1]
    raise TaskError(
        "WALGap",
        f"WAL is missing between {format_lsn(reach(last, covered, path))}, where it ends after backup "
        f"{last.backup_id}, and {target} ({format_lsn(wanted.until or 0)}) on timeline {timeline}"
        + beside(catalogue, target, timeline),
        remedy=f"Choose a target before the gap, or one after the next backup. {LISTED}",
    )


def beside(catalogue: Catalogue, target: Target, timeline: int) -> str:
    """What can be recovered next to a target that cannot, as the end of a message."""
    told = ""
    if target.time is not None:
        told = beside_time(catalogue, timeline, target.time)
    elif target.lsn is not None or target.until is not None:
        told = beside_position(catalogue, timeline, target.lsn or target.until or 0)
    return f"; {told}" if told else ""


def ended_then(catalogue: Catalogue, time: datetime, timeline: int | None) -> StoredBackup | None:
    """The backup that ended in the very second of a time, where no WAL is known to lead further.

    Statuses tell its end without fractions of a second. PostgreSQL is not asked to stop at that time: cut so, it may
    lie before the position where the backup is consistent, and no commit that late is known of.
    """
    timeline = timeline or newest_timeline(catalogue)
    if timeline is None:
        return None
    path = path_of(catalogue.timelines, timeline)
    if any(each.time >= time for each in moments_of(catalogue, path)):
        return None
    # Where WAL is archived, what was committed between that end and a time of the same second is there, too.
    apart = timedelta() if coverage(catalogue.timelines, path) else SECOND
    found = [
        each
        for each in candidates(catalogue, path)
        if abs(each.stop_time - time) < apart or time in (each.stop_time, each.stop_time.replace(microsecond=0))
    ]
    return found[-1] if found else None


def wanted_timeline(catalogue: Catalogue, target: Target) -> int:
    """Raises TaskError: TimelineUnknown, NoRestorableBackup."""
    newest = newest_timeline(catalogue)
    if newest is None:
        raise TaskError(
            "NoRestorableBackup", f"there is neither a backup nor WAL in {catalogue.archive}", remedy="Take a backup."
        )
    if target.timeline is None:
        return newest
    known = {*catalogue.timelines, *(backup.timeline for backup in catalogue.physical)}
    if target.timeline not in known:
        raise TaskError(
            "TimelineUnknown",
            f"nothing of timeline {target.timeline} is in {catalogue.archive}; there is something of "
            + ", ".join(map(str, sorted(known))),
            remedy="Name one of these, or none for the newest.",
        )
    return target.timeline


def positions(catalogue: Catalogue, target: Target, path: Path, timeline: int) -> Wanted:
    """The target as positions. Raises TaskError: TargetBeforeFirstBackup, TargetBeyondArchive."""
    if target.unknown:
        return Wanted(before=target.not_after, before_time=None, until=target.until, end=None)
    if target.lsn is not None:
        if target.lsn > furthest(catalogue, timeline):
            raise beyond(catalogue, target, timeline)
        return Wanted(before=target.lsn, before_time=None, until=target.lsn, end=target.lsn)
    if target.time is None:
        # The end of the archive: from any base, as far as it goes without a gap; the newest comes furthest.
        return Wanted(before=None, before_time=None, until=None, end=None)
    index = moments_of(catalogue, path)
    after = next((each for each in index if each.time >= target.time), None)
    if after is None:
        exact = any(each.stop_time == target.time for each in candidates(catalogue, path))
        if not exact:
            first = candidates(catalogue, path)[0]
            early = target.time < first.stop_time
            raise too_early(catalogue, target, timeline, first) if early else beyond(catalogue, target, timeline)
        return Wanted(before=None, before_time=target.time, until=None, end=0)
    until = [each for each in index if each.time <= target.time and each.position <= after.position]
    last = until[-1] if until else None
    return Wanted(
        before=after.position,
        before_time=target.time,
        until=after.position,
        end=last.position if last is not None else 0,
        end_time=last.time if last is not None else None,
    )


def precedes(backup: StoredBackup, wanted: Wanted) -> bool:
    """Whether recovery can pass the target after it began with that backup."""
    return (wanted.before is None or backup.stop <= wanted.before) and (
        wanted.before_time is None or backup.stop_time <= wanted.before_time
    )


def furthest(catalogue: Catalogue, timeline: int) -> int:
    """The last position of which anything is known on the way to a timeline, gaps or not."""
    path = path_of(catalogue.timelines, timeline)
    ends = [each.end for each in coverage(catalogue.timelines, path)]
    return max([*ends, *(each.carried_until for each in candidates(catalogue, path))], default=0)


def too_early(catalogue: Catalogue, target: Target, timeline: int, first: StoredBackup) -> TaskError:
    """The refusal of a target that lies before the end of the `first` backup of a timeline."""
    return TaskError(
        "TargetBeforeFirstBackup",
        f"{target} lies before the oldest restorable backup on timeline {timeline}, {first.backup_id}, which is "
        f"consistent from {shown(first.stop_time)} ({format_lsn(first.stop)}) on" + beside(catalogue, target, timeline),
        remedy=f"Choose a later target, or another timeline. {LISTED}",
    )


def beyond(catalogue: Catalogue, target: Target | str, timeline: int) -> TaskError:
    """The refusal of a target that the archive does not reach; names the last one it does reach."""
    times = reachable_times(catalogue, timeline)
    spans = recoverable_on(catalogue, timeline).spans
    latest = shown(last_second(max(times, key=lambda each: each.last))) if times else "none"
    reached = f"{latest} ({format_lsn(spans[-1].end)})" if spans else latest
    return TaskError(
        "TargetBeyondArchive",
        f"{target} lies beyond what is archived of timeline {timeline}: the latest recoverable moment is {reached}",
        remedy=f"Choose a target up to that moment, or wait until the archive has come further. {LISTED}",
    )


def flaws(catalogue: Catalogue, path: Path) -> list[str]:
    """Why physical backups of the path cannot be relied on, a sentence each, the newest first."""
    known = by_id(catalogue.backups)
    found = []
    for backup in reversed(catalogue.physical):
        flaw, detail = flaw_of(backup, known)
        if flaw is not None and lies_on(path, backup.timeline, backup.stop):
            found.append(f"{backup.backup_id} is {flaw}" + (f" ({detail})" if detail else ""))
    return found
