"""Which WAL is archived, from listings; what an earlier listing has seen need not be listed again.

A checkpoint holds the ranges up to a name of each timeline. The last names stay out of it, because segments are
uploaded several at a time and arrive in any order. Somebody may delete what a checkpoint tells of, so everything is
listed again every few days. Memory is taken for gaps, not for segments.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, ValidationError

from pgwarden.api.model import LSN
from pgwarden.api.wal import USUAL_SEGMENT_BYTES, format_lsn, history_name, parse_lsn
from pgwarden.backups.record import RecordModel
from pgwarden.catalogue.contents import Trouble
from pgwarden.catalogue.timelines import Path, Timeline, parse_history
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectExists, ObjectInfo, Store
from pgwarden.storage.wal_listing import Range, history_timeline, merged, wal_piece

UNSETTLED = 512
"""So many of the last names are listed each time."""
WORTH_WRITING = 1024
"""A checkpoint is written when a listing saw so many more objects than the last one tells of."""
FULL_LISTING_DAYS = 7
_TIMELINE = re.compile(r"[0-9A-F]{8}")


class KnownTimeline(RecordModel):
    """What a checkpoint tells of one timeline."""

    timeline: Annotated[int, Field(ge=1)]
    after: str
    """Name of the last object that is accounted for; listings begin after it."""
    ranges: list[tuple[LSN, LSN]]
    objects: int
    bytes: int
    has_history: bool


class Checkpoint(RecordModel):
    """An object below `catalogue/`."""

    schema_version: int = 1
    segment_bytes: int
    full_listing: datetime
    """When everything was last listed."""
    timelines: list[KnownTimeline]


@dataclass
class ArchivedWAL:
    """All WAL of an archive."""

    segment_bytes: int = USUAL_SEGMENT_BYTES
    timelines: dict[int, Timeline] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0
    listed: int = 0
    """Objects that had to be listed for it."""
    troubles: list[Trouble] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    """What the next look may begin with."""


class Ranges:
    """Ranges that come about in order, in as few pieces as they make."""

    def __init__(self, known: Iterable[Range] = ()) -> None:
        self.pieces = list(known)

    def add(self, new: Range) -> None:
        if self.pieces and self.pieces[-1].start <= new.start <= self.pieces[-1].end:
            last = self.pieces[-1]
            self.pieces[-1] = Range(last.start, max(last.end, new.end))
        else:
            self.pieces.append(new)


def read_wal(store: Store, archive: str, segment_bytes: int, now: datetime, *, all_of_it: bool = False) -> ArchivedWAL:
    """What is archived; everything is listed with `all_of_it`, and when it was not for a week. Raises what `Store`
    raises."""
    number, last = newest_checkpoint(store, archive)
    usable = last is not None and last.segment_bytes == segment_bytes and not all_of_it
    if last is None or not usable or not timedelta() <= now - last.full_listing < timedelta(days=FULL_LISTING_DAYS):
        last = Checkpoint(segment_bytes=segment_bytes, full_listing=now, timelines=[])
        number = -1 if number is None else number
    known = {each.timeline: each for each in last.timelines}
    found = ArchivedWAL(segment_bytes)
    settled = []
    for name in sorted(store.folders(layout.join(archive, layout.WAL_FOLDER))):
        if _TIMELINE.fullmatch(name):
            timeline = int(name, 16)
            settled.append(read_timeline(store, archive, timeline, segment_bytes, known.get(timeline), found))
    found.checkpoint = last.model_copy(update={"timelines": settled})
    return found


def read_timeline(
    store: Store, archive: str, number: int, segment_bytes: int, known: KnownTimeline | None, found: ArchivedWAL
) -> KnownTimeline:
    """Adds a timeline to `found`; returns what a checkpoint may tell of it."""
    folder = layout.timeline_folder(archive, number)
    ranges = Ranges(Range(parse_lsn(start), parse_lsn(end)) for start, end in known.ranges) if known else Ranges()
    after = known.after if known else ""
    objects, size = (known.objects, known.bytes) if known else (0, 0)
    has_history = known.has_history if known else False
    last: list[tuple[str, Range, int]] = []
    for listed in store.list(folder, after=f"{folder}/{after}" if after else ""):
        found.listed += 1
        has_history = has_history or history_timeline(listed.path) == number
        piece = wal_piece(listed, segment_bytes)
        if piece is None or piece.timeline != number:
            continue
        entry = (listed.path.rsplit("/", 1)[-1], Range(piece.start, piece.end), listed.size)
        if len(last) < UNSETTLED:
            heapq.heappush(last, entry)
            continue
        name, settled, stored = heapq.heappushpop(last, entry)
        ranges.add(settled)
        after, objects, size = max(after, name), objects + 1, size + stored
    certain = merged(ranges.pieces)
    ancestors = read_ancestors(store, archive, number, found.troubles) if has_history else ()
    everything = merged([*certain, *(each[1] for each in sorted(last))])
    found.timelines[number] = Timeline(number, ancestors, tuple(everything), bool(ancestors) or number == 1)
    found.objects += objects + len(last)
    found.bytes += size + sum(each[2] for each in last)
    return KnownTimeline(
        timeline=number,
        after=after,
        ranges=[(format_lsn(each.start), format_lsn(each.end)) for each in certain],
        objects=objects,
        bytes=size,
        has_history=has_history,
    )


def read_ancestors(store: Store, archive: str, number: int, troubles: list[Trouble]) -> Path:
    """The ancestors of a timeline; none, and a trouble, where its history file cannot be understood."""
    path = layout.history_object(archive, number)
    try:
        return parse_history(store.read_small(path).decode("ascii", "replace"))
    except ValueError as error:
        message = f"{path} in the store ({store.name}) is not the history of a timeline: {error}"
        remedy = f"Copy {history_name(number)} from pg_wal of the server there, or name another timeline."
        troubles.append(Trouble(path, "HistoryDamaged", message, remedy))
        return ()


def newest_checkpoint(store: Store, archive: str) -> tuple[int | None, Checkpoint | None]:
    """The last checkpoint and its number; None for one that cannot be read: then everything is listed."""
    number = max(checkpoint_numbers(store.list(layout.join(archive, layout.CATALOGUE_FOLDER))), default=None)
    if number is None:
        return None, None
    try:
        content = store.read_small(layout.checkpoint_object(archive, number))
        return number, Checkpoint.model_validate_json(content)
    except ValidationError:
        return number, None


def checkpoint_numbers(listing: Iterable[ObjectInfo]) -> list[int]:
    names = (listed.path.rsplit("/", 1)[-1] for listed in listing)
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"([0-9]{10})\.json", name)))


def write_checkpoint(store: Store, archive: str, checkpoint: Checkpoint, *, replace: bool = False) -> None:
    """Writes a checkpoint where it saves the next look enough, or where one that stands must be replaced because it
    tells of more than there will be. Another one's, written meanwhile, is as good."""
    number, last = newest_checkpoint(store, archive)
    told = {each.timeline: each.objects for each in last.timelines} if last is not None else {}
    more = sum(max(0, each.objects - told.get(each.timeline, 0)) for each in checkpoint.timelines)
    if more < WORTH_WRITING and not (replace and number is not None):
        return
    content = checkpoint.model_dump_json(by_alias=True, indent=1).encode() + b"\n"
    try:
        store.put(layout.checkpoint_object(archive, 0 if number is None else number + 1), content)
    except ObjectExists:
        return
