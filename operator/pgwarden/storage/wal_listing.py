"""What a listing of archived WAL says: which positions of which timeline are in the store. Pure.

Names are those of `pgwarden.storage.layout`. Names that are none of ours are ignored: they cannot be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgwarden.api.wal import segment_start, timeline_of
from pgwarden.storage.store import ObjectInfo

_NAME = re.compile(
    r"(?P<segment>[0-9A-F]{24})(\.tail\.(?P<start>[0-9A-F]{8})-(?P<end>[0-9A-F]{8})(\.(?P<digest>[0-9a-f]{16}))?)?"
    r"\.zst(?P<age>\.age)?"
)
_HISTORY = re.compile(r"(?P<timeline>[0-9A-F]{8})\.history")


@dataclass(frozen=True)
class WALPiece:
    """WAL from `start` up to, and not including, `end`, both positions in bytes, in one object."""

    path: str
    timeline: int
    segment: str
    start: int
    end: int
    whole: bool
    """Whether the object holds the whole segment."""
    encrypted: bool
    stored_bytes: int
    digest: str = ""
    """The first 16 hexadecimal digits of the plain bytes' SHA-256, where the name holds them."""


@dataclass(frozen=True, order=True)
class Range:
    """Positions from `start` up to, and not including, `end`."""

    start: int
    end: int


def wal_piece(listed: ObjectInfo, segment_bytes: int) -> WALPiece | None:
    """What one object of a timeline's folder holds, None when it is no WAL."""
    match = _NAME.fullmatch(listed.path.rsplit("/", 1)[-1])
    if match is None:
        return None
    segment = match["segment"]
    begin = segment_start(segment, segment_bytes)
    whole = match["start"] is None
    start, end = (0, segment_bytes) if whole else (int(match["start"], 16), int(match["end"], 16))
    if not 0 <= start < end <= segment_bytes:
        return None
    return WALPiece(
        path=listed.path,
        timeline=timeline_of(segment),
        segment=segment,
        start=begin + start,
        end=begin + end,
        whole=whole,
        encrypted=match["age"] is not None,
        stored_bytes=listed.size,
        digest=match["digest"] or "",
    )


def history_timeline(path: str) -> int | None:
    """The timeline whose history file the object is, None when it is none."""
    match = _HISTORY.fullmatch(path.rsplit("/", 1)[-1])
    return int(match["timeline"], 16) if match is not None else None


def wal_pieces(listing: Iterable[ObjectInfo], segment_bytes: int) -> Iterator[WALPiece]:
    """The WAL among the objects of a listing, in the listing's order."""
    for listed in listing:
        piece = wal_piece(listed, segment_bytes)
        if piece is not None:
            yield piece


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same positions in as few ranges as possible, in order.

    Takes memory for the gaps and not for the pieces when they come about in order, as listings do.
    """
    return _joined(sorted(_joined(ranges)))


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """Each range joined with the one before it where they touch."""
    result: list[Range] = []
    for each in ranges:
        if result and each.start <= result[-1].end and result[-1].start <= each.end:
            result[-1] = Range(min(result[-1].start, each.start), max(result[-1].end, each.end))
        else:
            result.append(each)
    return result


def covered_until(ranges: Iterable[Range], start: int) -> int:
    """How far WAL reaches without a gap from `start` on; `start` itself when nothing is there."""
    return next((each.end for each in ranges if each.start <= start < each.end), start)
