"""Which moments of time can be recovered along a path, and what lies next to one that cannot. Pure.

What was committed until a time comes back when recovery can pass the first noted moment at or after it
(`pgwarden.catalogue.base`). So recoverable times end with a noted moment, and begin with the end of a backup or right
after the noted moment before.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pgwarden.api.wal import format_lsn
from pgwarden.catalogue.contents import Catalogue, StoredBackup
from pgwarden.catalogue.timelines import coverage, path_of
from pgwarden.catalogue.window import Span, candidates, moments_of, reach, recoverable_on

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Times:
    """Every time from `first` to `last`, both included, can be recovered by WAL of one timeline without a gap."""

    first: datetime
    last: datetime
    timeline: int
    span: int
    """Number of the span of `recoverable_on` that recovery ends in."""


def reachable_times(catalogue: Catalogue, timeline: int) -> list[Times]:
    """All times that can be recovered along the way to a timeline, in the order of their positions.

    A time is understood as the first noted moment at or after it, so a clock that was set back hides moments behind
    those that were noted before.
    """
    path = path_of(catalogue.timelines, timeline)
    covered = coverage(catalogue.timelines, path)
    spans = recoverable_on(catalogue, timeline).spans
    usable = candidates(catalogue, path)
    coming = deque(usable)
    passed: list[tuple[datetime, int]] = []
    """A heap: when each backup that ended before the moment was taken, and how far recovery comes from it."""
    before: datetime | None = None
    found: list[Times] = []
    for moment in moments_of(catalogue, path):
        if before is not None and moment.time <= before:
            continue
        while coming and coming[0].stop <= moment.position:
            backup = coming.popleft()
            heapq.heappush(passed, (backup.stop_time, reach(backup, covered, path)))
        while passed and passed[0][1] < moment.position:
            heapq.heappop(passed)
        if passed and passed[0][0] <= moment.time:
            first = max(passed[0][0], before + INSTANT) if before is not None else passed[0][0]
            add(found, Times(first, moment.time, moment.timeline, span_at(spans, moment.position)))
        before = moment.time
    return found + ends_alone(usable, spans, before)


def add(found: list[Times], new: Times) -> None:
    """Adds times; those that go on where the last ones end make them longer."""
    last = found[-1] if found else None
    goes_on = last is not None and new.first == last.last + INSTANT
    if last is not None and goes_on and (new.timeline, new.span) == (last.timeline, last.span):
        found[-1] = replace(last, last=new.last)
    else:
        found.append(new)


def ends_alone(usable: list[StoredBackup], spans: tuple[Span, ...], noted: datetime | None) -> list[Times]:
    """The ends of backups after which no moment is noted: each can be had back by naming the time when it ended."""
    return [
        Times(each.stop_time, each.stop_time, each.timeline, span_at(spans, each.stop))
        for each in usable
        if noted is None or each.stop_time > noted
    ]


def span_at(spans: tuple[Span, ...], position: int) -> int:
    """The number of the span that a recoverable position lies in."""
    return bisect_right(spans, position, key=lambda span: span.start) - 1


def beside_time(catalogue: Catalogue, timeline: int, time: datetime) -> str:
    """What can be recovered next to a time that cannot, for people; empty where nothing can."""
    times = reachable_times(catalogue, timeline)
    before = max((each for each in times if each.last < time), key=lambda each: each.last, default=None)
    after = min((each for each in times if each.first > time), key=lambda each: each.first, default=None)
    return sentence(
        shown(last_second(before)) if before is not None else "",
        shown(first_second(after)) if after is not None else "",
    )


def beside_position(catalogue: Catalogue, timeline: int, position: int) -> str:
    """The same of a WAL position."""
    spans = recoverable_on(catalogue, timeline).spans
    before = max((each for each in spans if each.end < position), key=lambda span: span.end, default=None)
    after = min((each for each in spans if each.start > position), key=lambda span: span.start, default=None)
    return sentence(
        f"{format_lsn(before.end)} ({shown(before.ends)})" if before is not None else "",
        f"{format_lsn(after.start)} ({shown(after.begins)})" if after is not None else "",
    )


def sentence(before: str, after: str) -> str:
    told = [f"the last recoverable moment before it is {before}"] if before else []
    told += [f"the first recoverable moment after it is {after}"] if after else []
    return ", ".join(told)


def first_second(times: Times) -> datetime:
    return whole_seconds(times.first, times.last)[0]


def last_second(times: Times) -> datetime:
    return whole_seconds(times.first, times.last)[1]


def whole_seconds(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """The first and the last whole second of a span, where there are any: people ask for the moments they are shown."""
    begin = min(whole_second(first), last)
    return begin, max(last.replace(microsecond=0), begin)


def whole_second(time: datetime) -> datetime:
    """The first whole second that is no earlier."""
    cut = time.replace(microsecond=0)
    return cut if cut == time else cut + timedelta(seconds=1)


def shown(time: datetime) -> str:
    """A time as `target.time` takes it."""
    return time.isoformat().replace("+00:00", "Z")
