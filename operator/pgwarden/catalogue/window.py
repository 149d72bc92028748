"""How far recovery can go from each backup, and which backup a restore to a given point begins with. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Catalogue, Moment, StoredBackup
from pgwarden.catalogue.timelines import Path, coverage, lies_on, path_of
from pgwarden.storage.wal_listing import Range, covered_until, merged


@dataclass(frozen=True)
class Span:
    """Positions of one path to each of which recovery can go: from `start` to `end`, both included."""

    start: int
    end: int
    begins: datetime
    """When the server was at `start`: a backup was complete then."""
    ends: datetime
    """When the server was known to be at `end` or before it: what was committed until then can be had back."""


@dataclass(frozen=True)
class Recoverable:
    """What can be recovered of the newest timeline."""

    timeline: int
    spans: tuple[Span, ...] = ()

    @property
    def gaps(self) -> list[Range]:
        """Positions between the first and the last recoverable one to which recovery cannot go."""
        return [Range(one.end, other.start) for one, other in zip(self.spans, self.spans[1:], strict=False)]


def newest_timeline(catalogue: Catalogue) -> int | None:
    """The timeline that the newest system has begun last; None where there is neither WAL nor a backup."""
    return max(own_timelines(catalogue), default=None)


def own_timelines(catalogue: Catalogue) -> set[int]:
    """Timelines of the newest system of which there is WAL, a history or a backup."""
    own = catalogue.of_newest_system
    numbers = set(catalogue.timelines)
    if len(own) < len(catalogue.physical):
        numbers = {number for number in numbers if leads_on(catalogue, own, number)}
    return {*numbers, *(backup.timeline for backup in own)}


def leads_on(catalogue: Catalogue, backups: Sequence[StoredBackup], timeline: int) -> bool:
    """Whether the way to a timeline passes one of the backups."""
    path = path_of(catalogue.timelines, timeline)
    return any(lies_on(path, each.timeline, each.stop) for each in backups)


def candidates(catalogue: Catalogue, path: Path) -> list[StoredBackup]:
    """The backups that recovery along a path can begin with, the oldest first; positions of another system have nothing
    to do with theirs."""
    found = [each for each in restorable(catalogue.of_newest_system) if lies_on(path, each.timeline, each.stop)]
    return sorted(found, key=lambda backup: backup.stop)


def reach(backup: StoredBackup, covered: Sequence[Range], path: Path) -> int:
    """The last position that recovery from the backup comes to along a path of which `covered` is archived."""
    ends = [section.end for section in path if section.timeline == backup.timeline and section.end is not None]
    carried = Range(backup.start, min([backup.carried_until, *ends]))
    return max(backup.stop, covered_until(merged([*covered, carried]), backup.stop))


def recoverable(catalogue: Catalogue) -> Recoverable | None:
    """What can be recovered of the newest timeline and of what led to it; None where there is nothing at all."""
    catalogue = catalogue.of_one_system()
    newest = newest_timeline(catalogue)
    return recoverable_on(catalogue, newest) if newest is not None else None


def recoverable_on(catalogue: Catalogue, timeline: int) -> Recoverable:
    """As `recoverable`, of a timeline that somebody names."""
    path = path_of(catalogue.timelines, timeline)
    covered = coverage(catalogue.timelines, path)
    index = moments_of(catalogue, path)
    spans: list[Span] = []
    for backup in candidates(catalogue, path):
        end = reach(backup, covered, path)
        last = last_moment(index, end)
        ends = max(last.time, backup.stop_time) if last is not None else backup.stop_time
        if spans and backup.stop <= spans[-1].end:
            spans[-1] = Span(spans[-1].start, max(end, spans[-1].end), spans[-1].begins, max(ends, spans[-1].ends))
        else:
            spans.append(Span(backup.stop, end, backup.stop_time, ends))
    return Recoverable(timeline, tuple(spans))


def moments_of(catalogue: Catalogue, path: Path) -> list[Moment]:
    """The noted moments of a path, in the order of their positions."""
    found = [each for each in catalogue.moments if lies_on(path, each.timeline, each.position)]
    return sorted(found, key=lambda moment: moment.position)


def last_moment(index: Sequence[Moment], position: int) -> Moment | None:
    """The last noted moment at or before a position; `index` as `moments_of` gives it."""
    found = bisect_right(index, position, key=lambda moment: moment.position)
    return index[found - 1] if found else None
