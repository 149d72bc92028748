"""Moments are told exactly where a second more or less tells, from few objects, and a damaged object hides no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.api.wal import format_lsn
from pgwarden.catalogue.contents import Moment, Trouble
from pgwarden.catalogue.moments import (
    IndexObject,
    NotedMoment,
    NotedMoments,
    ends_of_timelines,
    list_index,
    read_moments,
)
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.store import Store, open_store

ARCHIVE = "shop/operational/0001"
BEGAN = datetime(2026, 11, 23, 12, 0, 0, 640_000, tzinfo=UTC)
TEN = timedelta(seconds=10)
MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))


def moments(minute: int) -> list[Moment]:
    """Six of one minute; timeline 2 begins with the third minute."""
    timeline = 1 if minute < 2 else 2
    numbers = range(6 * minute, 6 * minute + 6)
    return [Moment(BEGAN + n * TEN, timeline, n * MIB, next_xid=str(n)) for n in numbers]


def note(store: Store, minute: int, content: bytes | None = None) -> str:
    """An object of the index, as the archiver writes it; its path."""
    noted = [
        NotedMoment(time=each.time, timeline=each.timeline, lsn=format_lsn(each.position), next_xid=each.next_xid)
        for each in moments(minute)
    ]
    last = moments(minute)[-1]
    path = layout.moments_object(ARCHIVE, last.time, last.timeline, last.position)
    store.put(path, content or NotedMoments(moments=noted).model_dump_json(by_alias=True).encode())
    return path


def cut(moment: Moment) -> Moment:
    """What a name tells of it."""
    return Moment(moment.time.replace(microsecond=0), moment.timeline, moment.position)


def test_the_ends_of_each_timeline_are_exact_and_nothing_else_is_read(store: Store) -> None:
    for minute in range(6):
        note(store, minute)
    troubles: list[Trouble] = []
    found = read_moments(store, list_index(store, ARCHIVE), ends_of_timelines, troubles)
    told_by_names = [cut(moments(minute)[-1]) for minute in (3, 4)]
    exact = [each for minute in (0, 1, 2, 5) for each in moments(minute)]
    assert set(found) == {*exact, *told_by_names}
    assert list(found) == sorted(found, key=lambda each: each.time)
    assert troubles == []


def test_an_object_that_tells_no_moments_is_named_and_its_name_believed(store: Store) -> None:
    good, bad = note(store, 0), note(store, 1, b"{}")
    troubles: list[Trouble] = []
    index = list_index(store, ARCHIVE)
    assert [each.path for each in index] == [good, bad]
    found = read_moments(store, index, ends_of_timelines, troubles)
    assert set(found) == {*moments(0), cut(moments(1)[-1])}
    assert [(each.path, each.reason) for each in troubles] == [(bad, "ObjectDamaged")]


def test_an_object_that_a_prune_deletes_meanwhile_is_no_trouble(store: Store) -> None:
    gone = note(store, 0)
    note(store, 1)
    index = list_index(store, ARCHIVE)
    store.delete(gone)
    troubles: list[Trouble] = []
    assert set(read_moments(store, index, ends_of_timelines, troubles)) == set(moments(1))
    assert troubles == []


def test_names_that_are_none_of_ours_are_passed_over(store: Store) -> None:
    path = note(store, 0)
    store.put(f"{ARCHIVE}/moments/notes.txt", b"x")
    assert list_index(store, ARCHIVE) == [IndexObject(path, cut(moments(0)[-1]))]
