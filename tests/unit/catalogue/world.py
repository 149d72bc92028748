"""A server, its archive and its clock, moved by a test step by step: what really happened is known here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pgwarden.catalogue.base import Base, Target, choose_base
from pgwarden.catalogue.contents import Catalogue, Flaw, Kind, Moment, StoredBackup
from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.catalogue.retention import Retention, plan
from pgwarden.catalogue.timelines import Section, Timeline
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.wal_listing import Range, merged

SEGMENT = 16 << 20
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """Segments are archived whole; a moment is noted after each of them."""

    clock: datetime = BEGIN
    timeline: int = 1
    position: int = SEGMENT
    ancestors: tuple[Section, ...] = ()
    histories: dict[int, tuple[Section, ...]] = field(default_factory=lambda: {1: ()})
    segments: set[tuple[int, int]] = field(default_factory=set)
    """(timeline, number) of those in the store."""
    backups: list[StoredBackup] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    marks: list[Moment] = field(default_factory=list)
    """Every moment there ever was, also those whose index is gone."""
    number: int = 0

    def wait(self, hours: float) -> None:
        self.clock += timedelta(hours=hours)

    def write(self, segments: int = 1, *, lost: bool = False) -> None:
        """WAL of so many segments, archived or lost."""
        for _ in range(segments):
            if not lost:
                self.segments.add((self.timeline, self.position // SEGMENT))
            self.position += SEGMENT
            if not lost:
                moment = Moment(self.clock, self.timeline, self.position - 1)
                self.moments.append(moment)
                self.marks.append(moment)

    def back_up(self, parent: StoredBackup | None = None, flaw: Flaw | None = None) -> StoredBackup:
        """A full, or an incremental on `parent`; takes a segment of WAL."""
        self.number += 1
        start = self.position
        self.segments.add((self.timeline, start // SEGMENT))
        self.position += SEGMENT
        made = StoredBackup(
            backup_id=f"b{self.number:04d}",
            location=f"a/backups/b{self.number:04d}",
            kind=Kind.FULL if parent is None else Kind.INCREMENTAL,
            start_time=self.clock,
            stop_time=self.clock,
            timeline=self.timeline,
            start=start + 40,
            stop=start + 400,
            carried_until=start + SEGMENT,
            chain=(*parent.chain, parent.backup_id) if parent is not None else (),
            system_identifier="1",
            flaw=flaw,
        )
        self.backups.append(made)
        self.marks.append(Moment(self.clock, self.timeline, made.stop))
        return made

    def pin(self, which: int) -> None:
        """Somebody pins a backup, or takes its pin away."""
        if self.backups:
            number = which % len(self.backups)
            self.backups[number] = replace(self.backups[number], pinned=not self.backups[number].pinned)

    def plant(self, hours: int) -> None:
        """A full that somebody else says was taken so many hours ago, on another system where they are odd."""
        self.number += 1
        name, when = f"b{self.number:04d}", self.clock - timedelta(hours=hours)
        fake = StoredBackup(
            backup_id=name,
            location=f"a/backups/{name}",
            kind=Kind.FULL,
            start_time=when,
            stop_time=when,
            timeline=self.timeline,
            start=self.position - 100,
            stop=self.position,
            carried_until=self.position,
            system_identifier="2" if hours % 2 else "1",
            proven=False,
        )
        self.backups.append(fake)

    def dump(self) -> StoredBackup:
        """A logical backup."""
        self.number += 1
        name = f"b{self.number:04d}"
        made = StoredBackup(name, f"a/logical/{name}", Kind.LOGICAL, self.clock, self.clock)
        self.backups.append(made)
        return made

    def promote(self, behind: int = 0) -> None:
        """A standby that had replayed all but the last `behind` segments becomes the primary."""
        own_start = self.ancestors[-1].end or 0 if self.ancestors else 0
        self.position = max(own_start, self.position - behind * SEGMENT)
        self.ancestors = (*self.ancestors, Section(self.timeline, self.position))
        self.timeline = max(self.histories) + 1
        self.histories[self.timeline] = self.ancestors

    def catalogue(self) -> Catalogue:
        found = {}
        for number, ancestors in self.histories.items():
            starts = sorted(segment * SEGMENT for timeline, segment in self.segments if timeline == number)
            ranges = tuple(merged(Range(start, start + SEGMENT) for start in starts))
            if ranges or number > 1:
                found[number] = Timeline(number, ancestors, ranges)
        backups = tuple(sorted(self.backups, key=lambda backup: (backup.start_time, backup.backup_id)))
        return Catalogue("a", backups, found, tuple(sorted(self.moments, key=lambda moment: moment.time)))

    def prune(self, settings: RetentionSettings) -> Retention:
        """Deletes what the plan says, as the task does."""
        found = plan(self.catalogue(), settings, self.clock)
        gone = {backup.backup_id for backup in found.expired}
        self.backups = [backup for backup in self.backups if backup.backup_id not in gone]
        self.segments = {
            (timeline, number)
            for timeline, number in self.segments
            if found.wal.wants(timeline, number * SEGMENT, (number + 1) * SEGMENT)
        }
        self.moments = [
            each for each in self.moments if found.wal.wants(each.timeline, each.position, each.position + 1)
        ]
        return found

    def base(self, mark: Moment) -> Base | None:
        """Where a restore to that moment would begin; None when it cannot be had back."""
        try:
            return choose_base(self.catalogue(), Target(lsn=mark.position, timeline=mark.timeline))
        except TaskError:
            return None

    def honest(self) -> World:
        """The same without what was planted."""
        return replace(self, backups=[backup for backup in self.backups if backup.proven])

    def recoverable(self) -> set[Moment]:
        return {mark for mark in self.marks if self.base(mark) is not None}


def flawed(backup: StoredBackup, flaw: Flaw = Flaw.DAMAGED) -> StoredBackup:
    return replace(backup, flaw=flaw)
