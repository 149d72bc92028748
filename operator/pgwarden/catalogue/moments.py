"""The index of an archive from server time to WAL position: a moment about every ten seconds, an object a minute.

An object bears the name of the last moment in it, its time cut to the second; its content has all of them, and exactly.
Names alone come with one listing, so contents are read only where a second more or less tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from pgwarden.api.model import LSN
from pgwarden.api.wal import parse_lsn
from pgwarden.backups.record import RecordModel
from pgwarden.catalogue.contents import Moment, Trouble
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.store import Store

READERS = 8
SECOND = timedelta(seconds=1)
_NAME = re.compile(r"(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<timeline>[0-9A-F]{8})-(?P<position>[0-9A-F]{16})\.json")


class NotedMoment(RecordModel):
    """One entry."""

    time: datetime
    timeline: int
    lsn: LSN
    next_xid: str = ""


class NotedMoments(RecordModel):
    """The content of one object."""

    schema_version: int = 1
    moments: list[NotedMoment]


@dataclass(frozen=True)
class IndexObject:
    """One object, as its name tells."""

    path: str
    last: Moment
    """The last moment in it; its time is cut to the second."""


Choice = Callable[[Sequence[IndexObject]], Iterable[IndexObject]]
"""Of all objects, in the order of their times, those whose contents are to be read."""


def list_index(store: Store, archive: str) -> list[IndexObject]:
    """Every object of the index, in the order of their times."""
    found = []
    for listed in store.list(layout.moments_folder(archive)):
        match = _NAME.fullmatch(listed.path.rsplit("/", 1)[-1])
        if match is not None:
            time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append(IndexObject(listed.path, Moment(time, int(match["timeline"], 16), int(match["position"], 16))))
    return sorted(found, key=lambda each: (each.last.time, each.last.position))


def read_moments(
    store: Store, index: Sequence[IndexObject], choice: Choice, troubles: list[Trouble]
) -> tuple[Moment, ...]:
    """The moments that the names tell, and all of those in the chosen objects, in the order of their times.

    What cannot be understood adds to `troubles`, and its name is believed. Raises what `Store` raises and may be tried
    again.
    """
    chosen = list(choice(index))
    with ThreadPoolExecutor(READERS, thread_name_prefix="moments") as pool:
        contents = dict(zip(chosen, pool.map(lambda each: _read(store, each, troubles), chosen), strict=True))
    found = {moment for each in index for moment in contents.get(each, (each.last,))}
    return tuple(sorted(found, key=lambda moment: (moment.time, moment.position)))


def ends_of_timelines(index: Sequence[IndexObject]) -> list[IndexObject]:
    """The first and the last object of each timeline: when it began and ended is then known exactly."""
    first = {each.last.timeline: each for each in reversed(index)}
    last = {each.last.timeline: each for each in index}
    return [each for each in index if each in (first[each.last.timeline], last[each.last.timeline])]


def around(index: Sequence[IndexObject], time: datetime) -> list[IndexObject]:
    """The objects in which the moments right before and right after a time may stand, and the last of all.

    A name is cut to the second, so one of the time's own second may be of a moment before or after it; and what was
    noted just before it may stand in the object after it.
    """
    first = next((n for n, each in enumerate(index) if each.last.time > time - SECOND), len(index))
    after = next((n for n, each in enumerate(index) if each.last.time > time), len(index))
    return [*index[max(0, first - 1) : after + 2], *index[max(after + 2, len(index) - 1) :]]


def _read(store: Store, each: IndexObject, troubles: list[Trouble]) -> tuple[Moment, ...]:
    """The moments in one object; none of one that was deleted meanwhile."""
    try:
        content = NotedMoments.model_validate_json(store.read_small(each.path))
    except ValidationError as error:
        message = f"{each.path} in the store ({store.name}) does not tell moments: {error.error_count()} errors"
        remedy = "Choose the target as a WAL position (lsn), and look at who else writes into the store."
        troubles.append(Trouble(each.path, "ObjectDamaged", message, remedy))
        return (each.last,)
    except TaskError as error:
        if error.reason != "ObjectMissing":
            raise
        return ()
    return tuple(
        Moment(noted.time.astimezone(UTC), noted.timeline, parse_lsn(noted.lsn), noted.next_xid)
        for noted in content.moments
    )
