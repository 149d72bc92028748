"""Which WAL a recovery may ask for, where each file of it comes from, and what may honestly be called absent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from pgwarden.api.wal import HISTORY_NAME, SEGMENT_NAME, parse_lsn, segment_name, segment_start, timeline_of
from pgwarden.backups.record import BackupRecord
from pgwarden.restores.contract import Resolved
from pgwarden.storage.wal_listing import WALPiece


class Answer(Enum):
    PRESENT = "present"
    """It came with the backup."""
    FETCH = "fetch"
    """It is in the archive."""
    ABSENT = "absent"
    """There is no such file, and recovery may end here."""
    FAILED = "failed"
    """It is needed and cannot be had."""


@dataclass(frozen=True)
class Way:
    """A part of the way: positions from `start` up to, and not including, `end` on one timeline."""

    timeline: int
    start: int
    end: int | None


@dataclass(frozen=True)
class ArchivedSegment:
    """What the archive holds of one segment: the whole, or the pieces of an unfinished one that join from its start."""

    pieces: tuple[WALPiece, ...]
    start: int
    end: int
    """Up to here it is there without a gap."""
    whole: bool


@dataclass(frozen=True)
class WALPlan:
    """The WAL of one recovery."""

    way: tuple[Way, ...]
    """The oldest timeline first."""
    until: int
    """What lies before this position is known to be stored: recovery never ends before it for want of a file."""
    segment_bytes: int
    carried: Mapping[str, int] = field(default_factory=dict)
    """Name -> size in bytes of the files that came with the backup."""
    carried_until: int = 0
    """Up to where the carried segments hold what the server wrote; what follows in them may be anything."""
    archived: Mapping[str, ArchivedSegment] = field(default_factory=dict)
    """By the segment's name."""

    def answer(self, name: str) -> Answer:
        """What restore_command hears when it asks for a file.

        A history file that is not at hand is absent: all of them were listed and fetched beforehand. A segment is
        absent only where nothing of it is needed; one that is needed and missing, or not whole enough, is a failure.
        """
        if HISTORY_NAME.fullmatch(name):
            return Answer.PRESENT if name in self.carried else Answer.ABSENT
        if not SEGMENT_NAME.fullmatch(name):
            return Answer.ABSENT
        archived = self.archived.get(name)
        if archived is not None and self.archive_holds_more(name, archived):
            return Answer.FETCH if self.holds_what_is_needed(archived, timeline_of(name)) else Answer.FAILED
        if name in self.carried:
            return Answer.PRESENT if self.carried[name] == self.segment_bytes else Answer.FAILED
        return Answer.FAILED if self.needed(name) else Answer.ABSENT

    def archive_holds_more(self, name: str, archived: ArchivedSegment) -> bool:
        """Whether to prefer the archive's copy: a backup of a standby carries a last segment that was still written."""
        if name not in self.carried:
            return True
        return archived.end > self.carried_until > archived.start or self.carried_until <= archived.start

    def holds_what_is_needed(self, archived: ArchivedSegment, timeline: int) -> bool:
        wanted = [min(self.until, each.end or self.until) for each in self.way if each.timeline == timeline]
        until = min(max(wanted, default=0), archived.start + self.segment_bytes)
        return archived.whole or archived.end >= until

    def needed(self, name: str) -> bool:
        """Whether a part of the way before `until` lies in the segment."""
        start = segment_start(name, self.segment_bytes)
        end = min(start + self.segment_bytes, self.until)
        return any(
            max(start, each.start) < min(end, each.end if each.end is not None else end)
            for each in self.way
            if each.timeline == timeline_of(name)
        )

    def expected(self) -> list[str]:
        """The segments in the order recovery asks for them, as far as there is anything of them.

        Of several timelines PostgreSQL asks for the newest that had begun in the segment (xlogrecovery.c,
        XLogFileReadAnyTLI).
        """
        names: dict[int, str] = {}
        for each in self.way:
            for number in self.numbers(each):
                name = segment_name(each.timeline, number, self.segment_bytes)
                if name in self.archived or name in self.carried:
                    names[number] = name
        return [names[number] for number in sorted(names)]

    def numbers(self, way: Way) -> Iterable[int]:
        """Numbers of the segments of a part of the way, as far as anything is known to be stored."""
        ends = [segment.end for segment in self.archived.values()]
        last = max([self.until, *ends]) if way.end is None else way.end
        return range(way.start // self.segment_bytes, (max(last, way.start + 1) - 1) // self.segment_bytes + 1)


def wal_plan(
    resolved: Resolved, record: BackupRecord, carried: Mapping[str, int], pieces: Iterable[WALPiece] = ()
) -> WALPlan:
    """The plan for a resolved restore, with what a listing of the archive says."""
    segment_bytes = record.server.wal_segment_bytes
    stop = parse_lsn(record.stop_lsn)
    # A primary ends the segment when a backup stops, a standby cannot.
    carried_until = stop if record.server.from_standby else -(-stop // segment_bytes) * segment_bytes
    return WALPlan(
        way=way_of(resolved, record),
        until=parse_lsn(resolved.wal_until),
        segment_bytes=segment_bytes,
        carried=carried,
        carried_until=carried_until,
        archived=archived_segments(pieces, segment_bytes),
    )


def way_of(resolved: Resolved, record: BackupRecord) -> tuple[Way, ...]:
    """The way from the backup's start on, as far as it leads through timelines the backup is on or before."""
    ways = []
    start = parse_lsn(record.start_lsn)
    for section in resolved.path:
        end = parse_lsn(section.end) if section.end is not None else None
        if end is not None and end <= start:
            continue
        ways.append(Way(section.timeline, start, end))
        start = end if end is not None else start
    return tuple(ways)


def archived_segments(pieces: Iterable[WALPiece], segment_bytes: int) -> dict[str, ArchivedSegment]:
    """What can be put together of each segment."""
    listed: dict[str, list[WALPiece]] = {}
    for piece in pieces:
        listed.setdefault(piece.segment, []).append(piece)
    found = {}
    for name, each in listed.items():
        joined = join_pieces(each, segment_start(name, segment_bytes))
        if joined is not None:
            found[name] = joined
    return found


def join_pieces(pieces: Iterable[WALPiece], start: int) -> ArchivedSegment | None:
    """The whole object where there is one, else the fewest tails that join from the segment's start on."""
    listed = list(pieces)
    for piece in listed:
        if piece.whole:
            return ArchivedSegment((piece,), start, piece.end, whole=True)
    used: list[WALPiece] = []
    end = start
    while True:
        onward = [piece for piece in listed if piece.start <= end < piece.end]
        if not onward:
            break
        used.append(max(onward, key=lambda piece: piece.end))
        end = used[-1].end
    return ArchivedSegment(tuple(used), start, end, whole=False) if used else None
