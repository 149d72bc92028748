"""When something is due: a cron expression in a time zone, moved by a little that differs from object to object. Pure.

A *slot* is a moment that the expression names; its *turn* comes a fixed part of a few minutes later, so that not all
objects in the world work at :00. Slots are run once each: after an absence only the newest one is made up for, and
clocks that jump neither run one twice nor lose the next ones.

Daylight saving time is that of Debian's cron: a fixed time that the clocks skip is run right after the change, one that
they repeat is run the first time only; `*` in the hour follows real hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

DEFAULT_JITTER = timedelta(minutes=5)
LOOK_BACK = tuple(timedelta(days=days) for days in (0.1, 2.5, 70, 800, 9000))
"""How far back the newest slot is looked for: the first reach that holds one is enough."""
FIELDS, DAY, MONTH = 5, 2, 3
"""Of an expression: how many, and which are the day of the month and the month."""
SAMPLE_FROM = datetime(2024, 1, 1, tzinfo=UTC)
SAMPLE = 24
"""Slots that are looked at to learn how far apart they are."""
A_WEEK = timedelta(days=8)
"""And a day, so that the way from its last slot to the first of the next one is seen."""
MOST_SAMPLES = 2500
"""Of an expression that names every few minutes."""


class ScheduleError(ValueError):
    """A cron expression or a time zone that cannot be understood; the message says which and what would do."""


@dataclass(frozen=True)
class Schedule:
    """One object's schedule. Make it with `schedule_for`, which checks it."""

    cron: str
    time_zone: str
    jitter: timedelta
    """From a slot to its turn."""
    deadline: timedelta | None = None
    """How long after its turn a slot may still be run; None is until the next one."""

    def slot_after(self, moment: datetime) -> datetime:
        """The first slot after a moment, in UTC."""
        return next(slots(self.cron, self.time_zone, moment))

    def newest_slot(self, moment: datetime) -> datetime | None:
        """The last slot at or before a moment; None when there was none for decades.

        Slots are only ever counted forwards: backwards, a changing clock would give others.
        """
        for reach in LOOK_BACK:
            found = None
            for slot in slots(self.cron, self.time_zone, moment - reach):
                if slot > moment:
                    break
                found = slot
            if found is not None:
                return found
        return None

    def next_turn(self, now: datetime) -> datetime:
        """When the next slot whose turn has not come is to be run."""
        return self.slot_after(now - self.jitter) + self.jitter

    def due(self, now: datetime, *, last: datetime) -> datetime | None:
        """The slot to run now: the newest one whose turn has come, if it is later than `last`, which was run or needs
        none, and its deadline has not passed."""
        slot = self.newest_slot(now - self.jitter)
        if slot is None or slot <= last:
            return None
        late = now - (slot + self.jitter)
        return None if self.deadline is not None and late > self.deadline else slot

    def believed(self, last: datetime, now: datetime) -> datetime | None:
        """`last`, if it may be true; None when the clock that recorded it was ahead by more than a slot.

        Run up to one slot too early, the slot counts as run: the work has just been done. One that lies further ahead
        would keep everything until then from being run.
        """
        return last if last <= self.slot_after(now) else None


def schedule_for(
    cron: str,
    time_zone: str,
    *identity: str,
    jitter_seconds: int | None = None,
    deadline_seconds: int | None = None,
) -> Schedule:
    """The schedule of the object (and its part) that `identity` names. Raises ScheduleError.

    The jitter is at most `jitter_seconds`, or a tenth of the distance between slots and five minutes; never more than
    half that distance.
    """
    apart = spacing(cron, time_zone)
    bound = min(DEFAULT_JITTER, apart / 10) if jitter_seconds is None else timedelta(seconds=jitter_seconds)
    bound = min(bound, apart / 2)
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    jitter = timedelta(seconds=int.from_bytes(digest[:8], "big") % (int(bound.total_seconds()) + 1))
    deadline = None if deadline_seconds is None else timedelta(seconds=deadline_seconds)
    return Schedule(cron, time_zone, jitter, deadline)


@lru_cache(maxsize=4096)
def spacing(cron: str, time_zone: str) -> timedelta:
    """The shortest distance between two slots that follow each other. Raises ScheduleError."""
    found = slots(cron, time_zone, SAMPLE_FROM)
    try:
        times = [next(found) for _ in range(SAMPLE)]
    except StopIteration:
        raise ScheduleError(f"the schedule {cron!r} names no day that there is") from None
    return min(later - earlier for earlier, later in pairwise(times))


@lru_cache(maxsize=4096)
def longest_spacing(cron: str, time_zone: str) -> timedelta:
    """The longest distance between two slots that follow each other, over a week at least. Raises ScheduleError."""
    longest, last, known = timedelta(), None, 0
    for slot in slots(cron, time_zone, SAMPLE_FROM):
        longest = max(longest, slot - last) if last is not None else longest
        last, known = slot, known + 1
        if (known >= SAMPLE and slot - SAMPLE_FROM > A_WEEK) or known >= MOST_SAMPLES:
            break
    return longest


def slots(cron: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """Slots after a moment, in UTC, in order, each once. Raises ScheduleError."""
    try:
        found = CronSim(cron, after.astimezone(zone(time_zone)).replace(microsecond=0))
    except CronSimError as error:
        if never_comes(cron):
            raise ScheduleError(
                f"the schedule {cron!r} names a day that never comes: its month is too short for its day of the month"
            ) from error
        raise ScheduleError(
            f"the schedule {cron!r} is not a cron expression ({error}): it has the five fields minute, hour, day of the"
            " month, month and day of the week, for example `30 1 * * *`"
        ) from error
    last = after
    for local in found:
        slot = local.astimezone(UTC)
        # Begun within the hour that the clocks repeat, it would go on with that hour's first pass.
        if slot > last:
            last = slot
            yield slot


def never_comes(cron: str) -> bool:
    """Whether an expression that is refused would do with another month or another day of the month."""
    fields = cron.split()
    return len(fields) == FIELDS and all(understood([*fields[:at], "*", *fields[at + 1 :]]) for at in (DAY, MONTH))


def understood(fields: Sequence[str]) -> bool:
    """Whether those are the fields of a cron expression."""
    try:
        CronSim(" ".join(fields), SAMPLE_FROM)
    except CronSimError:
        return False
    return True


def zone(name: str) -> ZoneInfo:
    """The time zone of that name. Raises ScheduleError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"there is no time zone {name!r}; take a name of the IANA database, for example Europe/Berlin"
        ) from error
