"""The branches of an archive: each timeline with what led to it, and when it was written to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Catalogue, Moment, StoredBackup
from pgwarden.catalogue.timelines import Path, lies_on, path_of


@dataclass(frozen=True)
class Branch:
    """One timeline of one system, its path, and the backups and moments that lie on that."""

    timeline: int
    path: Path
    newest: bool
    """The branch that is, or was last, written to."""
    archived: bool
    """Whether the archived WAL is this system's."""
    ended: datetime | None
    """Nothing of the timeline itself is younger than this; None when there is nothing of it."""
    backups: tuple[StoredBackup, ...]
    moments: tuple[Moment, ...]
    """Those that can be recovered."""
    oldest: int
    """Nothing before this position can be recovered."""

    def first_position_after(self, time: datetime) -> int | None:
        """The first recoverable position of which anything says that it is younger than `time`; else None."""
        told = [backup.stop for backup in self.backups if backup.stop_time > time and backup.stop >= self.oldest]
        told += [moment.position for moment in self.moments if moment.time > time]
        return min(told, default=None)


def branches(catalogue: Catalogue, end: datetime) -> list[Branch]:
    """All branches. Nothing in the archive is younger than `end`, as far as anybody can tell.

    A cluster that was made anew has another system identifier: its positions have nothing to do with the old ones', so
    it is told apart, and archived WAL, histories and moments are those of one of them.
    """
    physical = catalogue.physical
    current = catalogue.newest_system
    of_wal = catalogue.wal_system or current
    good = {backup.backup_id for backup in restorable(physical)}
    found = []
    for system in sorted({current, of_wal, *(backup.system_identifier for backup in physical)}):
        archived = system == of_wal
        # Whatever another system has written since, this one has not.
        since = [each.stop_time for each in physical if system != current and each.system_identifier == current]
        backups = [backup for backup in physical if backup.system_identifier == system]
        timelines = catalogue.timelines if archived else {}
        numbers = {backup.timeline for backup in backups} | set(timelines)
        for number in sorted(numbers):
            path = path_of(timelines, number)
            passed = tuple(each for each in backups if lies_on(path, each.timeline, each.stop))
            oldest = min((each.stop for each in passed if each.backup_id in good), default=0)
            moments = [
                each
                for each in (catalogue.moments if archived else ())
                if each.position >= oldest and lies_on(path, each.timeline, each.position)
            ]
            found.append(
                Branch(
                    timeline=number,
                    path=path,
                    newest=system == current and number == max(numbers),
                    archived=archived,
                    ended=_ended(catalogue, number, backups, moments, min(since, default=end), archived=archived),
                    backups=passed,
                    moments=tuple(moments),
                    oldest=oldest,
                )
            )
    return found


def _ended(
    catalogue: Catalogue,
    number: int,
    backups: list[StoredBackup],
    moments: list[Moment],
    end: datetime,
    *,
    archived: bool,
) -> datetime | None:
    """When a timeline was last written to, or later than that."""
    own = [(each.stop, each.stop_time) for each in backups if each.timeline == number]
    own += [(each.position, each.time) for each in moments if each.timeline == number]
    times = [time for _, time in own]
    timeline = catalogue.timelines.get(number) if archived else None
    ranges = timeline.ranges if timeline is not None else ()
    if ranges and ranges[-1].end > max((position for position, _ in own), default=0):
        # WAL of which nothing tells the time: written before anything was noted on a timeline that came later.
        later = [each.stop_time for each in backups if each.timeline > number]
        later += [each.time for each in catalogue.moments if each.timeline > number]
        times.append(min(later, default=end))
    return max(times, default=None)
