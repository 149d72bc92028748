"""What can be recovered of an archive, timeline by timeline, with its gaps; and how a given moment would be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgwarden.catalogue.base import Target, choose_base, ended_then, positions
from pgwarden.catalogue.chains import by_id, chain_of
from pgwarden.catalogue.contents import Catalogue, NamedPoint, StoredBackup
from pgwarden.catalogue.reachable import Times, reachable_times
from pgwarden.catalogue.timelines import Section, coverage, path_of
from pgwarden.catalogue.window import candidates, newest_timeline, own_timelines, recoverable_on
from pgwarden.storage.wal_listing import Range


@dataclass(frozen=True)
class Stretch:
    """Positions of one timeline in a row, `start` and `end` included, to each of which recovery can go."""

    start: int
    end: int
    times: tuple[Times, ...]
    """The times that can be named for them. None where nothing noted when they were written: the end of a backup after
    which WAL is missing can only be had by naming the backup or the position."""
    backups: tuple[StoredBackup, ...]
    """Those that end in it."""


@dataclass(frozen=True)
class Gap:
    """Positions of one timeline to which recovery cannot go, although WAL of it is archived before or behind them."""

    start: int
    end: int
    missing: tuple[Range, ...]
    """WAL in it that is not archived; none where all is there and no backup leads to it."""
    ended_by: str
    """Id of the backup that leads on from there; empty where none does."""


@dataclass(frozen=True)
class TimelinePoints:
    """One timeline, from where it branched off."""

    timeline: int
    newest: bool
    branch: Section | None
    """The timeline that it branched off, and where; None for the first, and where no history file tells."""
    history_known: bool
    stretches: tuple[Stretch, ...]
    gaps: tuple[Gap, ...]
    named: tuple[NamedPoint, ...]
    """Restore points that can be recovered."""


@dataclass(frozen=True)
class Way:
    """How recovery comes to a moment."""

    chain: tuple[StoredBackup, ...]
    """The full first; recovery begins with the last."""
    timeline: int
    until: int
    """The position up to which WAL is replayed."""

    @property
    def wal_bytes(self) -> int:
        """WAL between the beginning of that backup and the moment."""
        return self.until - self.chain[-1].start


def points(catalogue: Catalogue) -> list[TimelinePoints]:
    """Every timeline of the newest system, the oldest first. What an older system left behind, before pg_upgrade say,
    is had by naming one of its backups."""
    catalogue = catalogue.of_one_system()
    return [timeline_points(catalogue, number) for number in sorted(own_timelines(catalogue))]


def timeline_points(catalogue: Catalogue, number: int) -> TimelinePoints:
    """What can be recovered of a timeline itself; what led to it are its ancestors' points."""
    path = path_of(catalogue.timelines, number)
    known = catalogue.timelines.get(number)
    branch = path[-2] if len(path) > 1 else None
    begin = branch.end or 0 if branch is not None else 0
    spans = recoverable_on(catalogue, number).spans
    times = reachable_times(catalogue, number)
    backups = [each for each in candidates(catalogue, path) if each.timeline == number]
    stretches = tuple(
        Stretch(
            start=max(span.start, begin),
            end=span.end,
            times=tuple(each for each in times if (each.timeline, each.span) == (number, place)),
            backups=tuple(each for each in backups if span.start <= each.stop <= span.end),
        )
        for place, span in enumerate(spans)
        if span.end > begin
    )
    return TimelinePoints(
        timeline=number,
        newest=number == newest_timeline(catalogue),
        branch=branch,
        history_known=known is None or known.history_known,
        stretches=stretches,
        gaps=tuple(gaps_of(catalogue, number, begin, stretches)),
        named=tuple(
            each
            for each in catalogue.named
            if each.timeline == number and any(part.start <= each.position < part.end for part in stretches)
        ),
    )


def gaps_of(catalogue: Catalogue, number: int, begin: int, stretches: Sequence[Stretch]) -> list[Gap]:
    """What lies before the first stretch, between the stretches, and behind the last."""
    known = catalogue.timelines.get(number)
    archived = known.ranges if known is not None else ()
    begin = begin or (stretches[0].start if stretches else archived[0].start if archived else 0)
    ends = [begin, *(each.end for each in stretches)]
    starts = [*(each.start for each in stretches), max([ends[-1], *(each.end for each in archived)])]
    covered = coverage(catalogue.timelines, path_of(catalogue.timelines, number))
    return [
        Gap(start, end, tuple(uncovered(Range(start, end), covered)), leading_on(end, stretches))
        for start, end in zip(ends, starts, strict=True)
        if start < end
    ]


def uncovered(hole: Range, covered: Sequence[Range]) -> list[Range]:
    """The parts of `hole` that none of `covered`, which are in order, holds."""
    found, position = [], hole.start
    for each in [*covered, Range(hole.end, hole.end)]:
        if position < min(each.start, hole.end):
            found.append(Range(position, min(each.start, hole.end)))
        position = max(position, each.end)
    return found


def leading_on(position: int, stretches: Sequence[Stretch]) -> str:
    """Id of the backup that ends where a gap does; empty where there is none."""
    return next((each.backup_id for part in stretches for each in part.backups if each.stop == position), "")


def way_to(catalogue: Catalogue, time: datetime, timeline: int | None = None) -> Way:
    """How what was committed until a time comes back. Raises what `choose_base` raises where it does not."""
    catalogue = catalogue.of_one_system()
    own = ended_then(catalogue, time, timeline)
    if own is not None:
        return Way(chain_of(own, by_id(catalogue.backups)), own.timeline, own.stop)
    target = Target(time=time, timeline=timeline)
    base = choose_base(catalogue, target)
    until = positions(catalogue, target, base.path, base.timeline).until
    return Way(base.chain, base.timeline, max(base.end, until or 0))
