"""What an archive holds of a timeline, out of a listing: the archiver keeps no state of its own."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from pgwarden.api.wal import parse_lsn, segment_name
from pgwarden.archiving.contract import ArchiveGap
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectInfo, Store, object_damaged
from pgwarden.storage.wal_listing import Range, WALPiece, merged, wal_pieces

_TIMELINE = re.compile(r"[0-9A-F]{8}")


@dataclass(frozen=True)
class Stored:
    """One timeline of an archive."""

    end: int | None
    """The end of what is there without an unexplained hole; None when nothing is there."""
    start: int | None = None
    next_start: int | None = None
    """Where WAL goes on behind the hole that begins at `end`, if it does."""
    whole_before_end: bool = False
    """Whether the segment that ends at `end` is there as a whole."""
    tails: dict[str, list[WALPiece]] = field(default_factory=dict)
    """Tails of segments that are not there as a whole, by segment."""
    leftovers: list[str] = field(default_factory=list)
    """Paths of tails whose segment is there as a whole."""


@dataclass(frozen=True)
class Reader:
    """Reads what an archive holds. Everything raises what `Store` raises."""

    store: Store
    archive: str
    segment_bytes: int
    gaps: list[ArchiveGap]
    in_flight_bytes: int = 0
    """How far behind the last object an archiver that died with uploads in flight may have left a hole."""

    def timeline(self, timeline: int, known: int | None = None) -> Stored:
        """What is held of a timeline; `known` is where the slot is, from which to look first.

        Without it an archive of years would be listed at each start. A slot that was made anew stands where the server
        is, and not where everything was acknowledged: so holes are looked for as far back as there may be some.
        """
        if known is not None:
            segment = max(0, (known - self.in_flight_bytes) // self.segment_bytes - 2)
            near = self._listed(timeline, segment_name(timeline, segment, self.segment_bytes))
            if near.start is not None and near.end is not None and near.start <= known <= near.end:
                return near
        return self._listed(timeline)

    def _listed(self, timeline: int, after: str = "") -> Stored:
        folder = layout.timeline_folder(self.archive, timeline)
        listing = self.store.list(folder, after=f"{folder}/{after}" if after else "")
        return understood(listing, timeline, self.segment_bytes, self.gaps)


def understood(listing: Iterable[ObjectInfo], timeline: int, segment_bytes: int, gaps: Iterable[ArchiveGap]) -> Stored:
    """What a listing of a timeline's folder says; takes 8 bytes of memory for each segment.

    A hole may have been left by an archiver that died with uploads in flight, so the first one is where to go on;
    gaps that are on record are not waited for any more.
    """
    starts, tails = array("Q"), list[WALPiece]()
    for piece in wal_pieces(listing, segment_bytes):
        if piece.whole:
            starts.append(piece.start)
        else:
            tails.append(piece)
    if not starts and not tails:
        return Stored(None)
    ordered = sorted(starts)
    whole = merged(Range(start, start + segment_bytes) for start in ordered)
    held = [Range(piece.start, piece.end) for piece in tails]
    first = min(each.start for each in (*whole, *held))
    missed = [Range(parse_lsn(gap.start), parse_lsn(gap.end)) for gap in gaps if gap.timeline == timeline]
    # What lies before the first object has expired: an older gap would make a hole of it that nobody can fill.
    runs = merged([*whole, *held, *(each for each in missed if each.end >= first)])
    wholes = set(ordered)
    open_tails: dict[str, list[WALPiece]] = {}
    leftovers = []
    for piece in tails:
        if piece.start - piece.start % segment_bytes in wholes:
            leftovers.append(piece.path)
        else:
            open_tails.setdefault(piece.segment, []).append(piece)
    return Stored(
        end=runs[0].end,
        start=runs[0].start,
        next_start=runs[1].start if len(runs) > 1 else None,
        whole_before_end=runs[0].end - segment_bytes in wholes,
        tails=open_tails,
        leftovers=leftovers,
    )


def read_gaps(store: Store, archive: str) -> list[ArchiveGap]:
    """All gaps on record, oldest first. Raises TaskError with reason ObjectDamaged, and what `Store` raises."""
    gaps = []
    for found in store.list(layout.gaps_folder(archive)):
        try:
            gaps.append(ArchiveGap.model_validate_json(store.read_small(found.path)))
        except ValidationError as error:
            raise object_damaged(store, found.path, "it is no record of a gap") from error
    return sorted(gaps, key=lambda gap: gap.time)


def newest_timeline(store: Store, archive: str) -> int:
    """The newest timeline that the archive knows of; 0 for an empty archive. Raises what `Store` raises."""
    names = store.folders(f"{archive}/{layout.WAL_FOLDER}")
    return max((int(name, 16) for name in names if _TIMELINE.fullmatch(name)), default=0)
