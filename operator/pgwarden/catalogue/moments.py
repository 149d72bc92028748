"""The index of an archive from server time to WAL position: a moment about every ten seconds, an object a minute.

An object bears the name of the last moment in it, its time cut to the second; its content has all of them, and exactly.
Names alone come with one listing, so contents are read only where a second more or less tells.

A planted moment could have a restore to a time end in another history, or all backups expire. So a name ends with a
proof that a holder of the store's catalogue key gave it, and the content is authenticated as records are. What an
archiver of another key wrote, or one before there was any, is believed as records of another key are, but only where it
lies before everything that is proven: whoever plants something now cannot put it among what is.
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
from pgwarden.backups.record import Authentication, RecordModel
from pgwarden.catalogue.contents import Moment, Trouble
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.authenticity import Authenticity, proves_name, verify_record
from pgwarden.storage.store import Store

READERS = 8
SECOND = timedelta(seconds=1)
NOT_AUTHENTIC = "MomentNotAuthentic"
_NAME = re.compile(
    r"(?P<name>(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<timeline>[0-9A-F]{8})-(?P<position>[0-9A-F]{16}))"
    r"(-(?P<proof>[0-9a-f]{16}))?\.json"
)


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
    authentication: Authentication | None = None
    """None when it was written without the store's catalogue key."""


@dataclass(frozen=True)
class IndexObject:
    """One object, as its name tells."""

    path: str
    last: Moment
    """The last moment in it; its time is cut to the second."""


Choice = Callable[[Sequence[IndexObject]], Iterable[IndexObject]]
"""Of all objects, in the order of their times, those whose contents are to be read."""


def list_index(store: Store, archive: str, key: bytes | None = None) -> list[IndexObject]:
    """Every object of the index, in the order of their times; with the store's catalogue `key` it is told which names a
    holder of it gave."""
    folder = layout.moments_folder(archive)
    found = []
    for listed in store.list(folder):
        match = _NAME.fullmatch(listed.path.rsplit("/", 1)[-1])
        if match is not None:
            time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            proven = key is None or proves_name(match["proof"] or "", f"{folder}/{match['name']}", key)
            last = Moment(time, int(match["timeline"], 16), int(match["position"], 16), proven=proven)
            found.append(IndexObject(listed.path, last))
    return sorted(found, key=lambda each: (each.last.time, each.last.position))


def believed(index: Sequence[IndexObject], troubles: list[Trouble]) -> list[IndexObject]:
    """What of an index is believed; the rest is told of in `troubles`."""
    may_be = earlier_than_proven(each.last for each in index)
    strangers = [each.path for each in index if not may_be(each.last)]
    if strangers:
        message = (
            f"{len(strangers)} objects of the index of moments, {strangers[0]} the first, were not written with the "
            "store's catalogue key, although others before them were: they are passed over"
        )
        troubles.append(Trouble(strangers[0], NOT_AUTHENTIC, message, "Look at who else writes into the store."))
    return [each for each in index if may_be(each.last)]


def earlier_than_proven(moments: Iterable[Moment]) -> Callable[[Moment], bool]:
    """Tells of a moment whether it may be believed beside these: it is proven, or lies before all that are."""
    proven = (each for each in moments if each.proven)
    first = min(proven, key=lambda each: (each.time, each.timeline, each.position), default=None)

    def may_be(moment: Moment) -> bool:
        return (
            moment.proven
            or first is None
            or (moment.time < first.time and (moment.timeline, moment.position) <= (first.timeline, first.position))
        )

    return may_be


def read_moments(
    store: Store, index: Sequence[IndexObject], choice: Choice, troubles: list[Trouble], key: bytes | None = None
) -> tuple[Moment, ...]:
    """The moments that the names tell, and all of those in the chosen objects, in the order of their times.

    What cannot be understood or believed adds to `troubles`, and its name counts. Raises what `Store` raises and may be
    tried again.
    """
    chosen = list(choice(index))
    with ThreadPoolExecutor(READERS, thread_name_prefix="moments") as pool:
        read = pool.map(lambda each: _read(store, each, troubles, key), chosen)
        contents = dict(zip(chosen, read, strict=True))
    may_be = earlier_than_proven(each.last for each in index)
    found = {moment for each in index for moment in contents.get(each, (each.last,)) if may_be(moment)}
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


def _read(store: Store, each: IndexObject, troubles: list[Trouble], key: bytes | None) -> tuple[Moment, ...]:
    """The moments in one object; none of one that was deleted meanwhile."""
    try:
        content = store.read_small(each.path)
        noted = NotedMoments.model_validate_json(content)
    except ValidationError as error:
        message = f"{each.path} in the store ({store.name}) does not tell moments: {error.error_count()} errors"
        remedy = "Choose the target as a WAL position (lsn), and look at who else writes into the store."
        troubles.append(Trouble(each.path, "ObjectDamaged", message, remedy))
        return (each.last,)
    except TaskError as error:
        if error.reason != "ObjectMissing":
            raise
        return ()
    moments = tuple(
        Moment(one.time.astimezone(UTC), one.timeline, parse_lsn(one.lsn), one.next_xid, proven=each.last.proven)
        for one in noted.moments
    )
    if key is not None and not _genuine(content, moments, each, key):
        message = f"{each.path} was changed after it was written: its content fits neither its name nor its key"
        remedy = "Choose the target as a WAL position (lsn), and look at who else writes into the store."
        troubles.append(Trouble(each.path, "RecordForged", message, remedy))
        return (each.last,)
    return moments


def _genuine(content: bytes, moments: Sequence[Moment], each: IndexObject, key: bytes) -> bool:
    """Whether the content is of whoever gave the object its name, and was written for that name."""
    verdict = verify_record(content, key)
    if not each.last.proven:
        return verdict is not Authenticity.FORGED
    name = (each.last.time, each.last.timeline, each.last.position)
    told = ((one.time.replace(microsecond=0), one.timeline, one.position) for one in moments)
    return verdict is Authenticity.AUTHENTIC and name in told
