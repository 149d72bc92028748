"""Timelines, the paths that lead to them, and the WAL that is archived along a path. Pure.

A history file (PostgreSQL, src/backend/access/transam/timeline.c) has a line for each ancestor of a timeline: its
number, the position up to which its WAL belongs to the path, and why it ended there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pgwarden.api.wal import parse_lsn
from pgwarden.storage.wal_listing import Range, merged

_LINE = re.compile(r"\s*(?P<timeline>[0-9]+)\s+(?P<end>[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})")


@dataclass(frozen=True)
class Section:
    """The part of a path that lies on one timeline: up to, and not including, `end`; None where it is open."""

    timeline: int
    end: int | None


Path = tuple[Section, ...]


@dataclass(frozen=True)
class Timeline:
    """What is archived of one timeline."""

    number: int
    ancestors: Path = ()
    """The oldest first; empty for the first timeline, and where no history file says."""
    ranges: tuple[Range, ...] = ()
    """Positions of which WAL is archived, in order."""
    history_known: bool = True
    """False when there should be a history file and none is archived: nobody can say where it branched off."""


def parse_history(text: str) -> Path:
    """The ancestors that a history file lists. Raises ValueError where it lists none, or not in order."""
    found = [_LINE.match(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    sections = tuple(Section(int(line["timeline"]), parse_lsn(line["end"])) for line in found if line is not None)
    numbers = [section.timeline for section in sections]
    if not sections or None in found or numbers != sorted(set(numbers)):
        raise ValueError("not a list of ancestors in order")
    return sections


def path_of(timelines: Mapping[int, Timeline], number: int) -> Path:
    """The way of recovery to the end of a timeline: its ancestors, then itself."""
    known = timelines.get(number)
    return (*(known.ancestors if known is not None else ()), Section(number, None))


def lies_on(path: Path, timeline: int, position: int) -> bool:
    """Whether a position of a timeline is passed on that path."""
    return any(section.timeline == timeline and (section.end is None or position <= section.end) for section in path)


def coverage(timelines: Mapping[int, Timeline], path: Path) -> list[Range]:
    """Positions of the path of which WAL is archived.

    A timeline's first segment begins with a copy of what its ancestor wrote into it, so what lies before the branch
    counts on the descendant too; what an ancestor wrote after it does not.
    """
    found: list[Range] = []
    for section in path:
        known = timelines.get(section.timeline)
        for each in known.ranges if known is not None else ():
            end = each.end if section.end is None else min(each.end, section.end)
            if each.start < end:
                found.append(Range(each.start, end))
    return merged(found)
