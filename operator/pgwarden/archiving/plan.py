"""Where to begin, on which timeline, and whether PostgreSQL would wait for us. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgwarden.api.wal import parse_lsn

_LIST = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?\d+\s*\((?P<names>.*)\)\s*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^\s,"]+))\s*(?:,|$)')


@dataclass(frozen=True)
class Span:
    """A timeline of a server's history; WAL of it counts up to `end`, None for the one it is on."""

    timeline: int
    end: int | None = None


@dataclass(frozen=True)
class Position:
    """A position in bytes, on a timeline."""

    timeline: int
    at: int


def spans(history: bytes, timeline: int) -> list[Span]:
    """The timelines that lead to `timeline`, oldest first, out of its history file (empty for timeline 1).

    PostgreSQL, src/backend/access/transam/timeline.c: each line holds a timeline, the position at which the next one
    branches off, and a comment.
    """
    found = []
    for line in history.decode(errors="replace").splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) >= 2:
            found.append(Span(int(words[0]), parse_lsn(words[1])))
    return [*found, Span(timeline)]


def floor(position: int, segment_bytes: int) -> int:
    """The beginning of the segment in which `position` lies."""
    return position - position % segment_bytes


def resume(path: Sequence[Span], stored_end: Callable[[int], int | None], segment_bytes: int) -> Position | None:
    """Where to go on: the end of what the store holds without a hole, on the newest timeline of the server's history
    that it holds anything of. None when it holds nothing of them.

    A server may have branched off before the end of what was archived: then the next timeline begins, from the start of
    its first segment, so that recovery finds that segment whole.
    """
    for index in range(len(path) - 1, -1, -1):
        end = stored_end(path[index].timeline)
        if end is None:
            continue
        branch = path[index].end
        if branch is None or end < branch:
            return Position(path[index].timeline, end)
        return Position(path[index + 1].timeline, floor(branch, segment_bytes))
    return None


def first(path: Sequence[Span], kept: int, segment_bytes: int) -> Position:
    """Where an archive begins that holds nothing yet: where the slot keeps WAL from."""
    span = next(span for span in path if span.end is None or span.end > kept)
    return Position(span.timeline, floor(kept, segment_bytes))


def waits_for(synchronous_standby_names: str, application_name: str) -> bool:
    """Whether that setting makes a WAL receiver of that name a synchronous standby, at once or as a candidate.

    PostgreSQL documentation, "synchronous_standby_names": names are compared without case, `*` matches any.
    """
    match = _LIST.fullmatch(synchronous_standby_names)
    names = match["names"] if match else synchronous_standby_names
    for quoted, plain in _NAME.findall(names):
        name = quoted.replace('""', '"') or plain
        if name == "*" or name.lower() == application_name.lower():
            return True
    return False
