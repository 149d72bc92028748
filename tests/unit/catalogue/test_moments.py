"""Moments are told exactly where a second more or less tells, from few objects, and a damaged object hides no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.api.wal import format_lsn
from pgwarden.archiving.moments import Moment as SeenMoment
from pgwarden.archiving.moments import encoded
from pgwarden.catalogue.contents import Catalogue, Moment, Trouble
from pgwarden.catalogue.moments import (
    IndexObject,
    NotedMoment,
    NotedMoments,
    around,
    believed,
    ends_of_timelines,
    list_index,
    read_moments,
)
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.restores.archive_reader import refuse_what_misleads
from pgwarden.restores.contract import TargetPoint
from pgwarden.storage import layout
from pgwarden.storage.authenticity import name_proof
from pgwarden.storage.store import Store, open_store

ARCHIVE = "shop/operational/0001"
BEGAN = datetime(2026, 11, 23, 12, 0, 0, 640_000, tzinfo=UTC)
TEN = timedelta(seconds=10)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
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


def sign(store: Store, minute: int, key: bytes = KEY, archive: str = ARCHIVE) -> tuple[str, bytes]:
    """An object of the index as an archiver with that key writes it; its path and content."""
    seen = [SeenMoment(each.time, each.timeline, each.position, each.next_xid, 0.0) for each in moments(minute)]
    named = (archive, seen[-1].time, seen[-1].timeline, seen[-1].position)
    path = layout.moments_object(*named, name_proof(layout.moments_name(*named), key))
    content = encoded(seen, key)
    store.put(path, content)
    return path, content


def plant(store: Store, moment: Moment, proof: str = "") -> str:
    """A moment that somebody else says the server had."""
    path = layout.moments_object(ARCHIVE, moment.time, moment.timeline, moment.position, proof)
    noted = NotedMoment(time=moment.time, timeline=moment.timeline, lsn=format_lsn(moment.position))
    store.put(path, NotedMoments(moments=[noted]).model_dump_json(by_alias=True).encode())
    return path


def read(
    store: Store, time: datetime | None = None, key: bytes | None = KEY
) -> tuple[tuple[Moment, ...], list[Trouble]]:
    """What is believed, read around `time` or at the ends of each timeline."""
    troubles: list[Trouble] = []
    index = believed(list_index(store, ARCHIVE, key), troubles)
    choice = ends_of_timelines if time is None else lambda found: around(found, time)
    return read_moments(store, index, choice, troubles, key), troubles


@pytest.mark.parametrize("key", [KEY, None])
def test_what_the_archiver_wrote_is_proven_by_its_name_and_by_its_content(store: Store, key: bytes | None) -> None:
    for minute in range(4):
        sign(store, minute)
    found, troubles = read(store, key=key)
    assert set(found) == {each for minute in range(4) for each in moments(minute)}
    assert all(each.proven for each in found)
    assert troubles == []


@pytest.mark.parametrize("seconds", [-30, 65, 3600, 86400 * 400])
def test_a_planted_moment_is_passed_over_and_told(store: Store, seconds: int) -> None:
    for minute in range(4):
        sign(store, minute)
    target = BEGAN + timedelta(seconds=90)
    before, _ = read(store, target)
    # It would have a restore end on the timeline that was left, before the branch.
    planted = plant(store, Moment(BEGAN + timedelta(minutes=1, seconds=seconds), 1, 99 * MIB, "5"), proof="0" * 16)
    after, troubles = read(store, target)
    assert after == before
    assert [(each.path, each.reason) for each in troubles] == [(planted, "MomentNotAuthentic")]
    refuse_what_misleads(Catalogue(ARCHIVE, troubles=tuple(troubles)), TargetPoint(time=target))


def test_a_genuine_moment_under_another_name_is_none(store: Store) -> None:
    _, content = sign(store, 1, archive="staging/operational/0001")
    for minute in (0, 2, 3):
        sign(store, minute)
    before, _ = read(store)
    last = moments(3)[-1]
    store.put(layout.moments_object(ARCHIVE, last.time + TEN, 2, 99 * MIB, "f" * 16), content)
    assert read(store)[0] == before


def test_content_that_was_changed_is_told_and_refuses_a_restore_to_a_time(store: Store) -> None:
    for minute in range(3):
        sign(store, minute)
    path, _ = sign(store, 3)
    other = store.read_small(sign(store, 4)[0])
    for content in (NotedMoments(moments=[]).model_dump_json(by_alias=True).encode(), other):
        store.delete(path)
        store.put(path, content)
        found, troubles = read(store, moments(3)[2].time)
        assert [(each.path, each.reason) for each in troubles] == [(path, "RecordForged")]
        assert cut(moments(3)[-1]) in found, "its name is genuine"
        with pytest.raises(TaskError) as refused:
            refuse_what_misleads(Catalogue(ARCHIVE, troubles=tuple(troubles)), TargetPoint(time=BEGAN))
        assert refused.value.reason == "RecordForged"


@pytest.mark.parametrize("old_key", [OTHER_KEY, None])
def test_what_was_written_before_the_key_was_there_is_believed_until_the_first_that_is_proven(
    store: Store, old_key: bytes | None
) -> None:
    for minute in range(2):
        note(store, minute) if old_key is None else sign(store, minute, old_key)
    found, troubles = read(store)
    assert (len(found), {each.proven for each in found}, troubles) == (12, {False}, [])
    for minute in (2, 3):
        sign(store, minute)
    found, troubles = read(store)
    assert {replace(each, proven=True) for each in found} >= {*moments(0), *moments(2), *moments(3)}
    assert [each.proven for each in found] == sorted(each.proven for each in found)
    assert troubles == []
    note(store, 4) if old_key is None else sign(store, 4, old_key)
    assert read(store)[0] == found
