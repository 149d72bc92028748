"""Moments are told only when the archive holds all WAL up to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.archiving.contract import SlotReport
from pgwarden.archiving.moments import MOST_WAITING, SAMPLE_SECONDS, WRITE_SECONDS, Moments
from pgwarden.archiving.primary import Look
from pgwarden.storage.authenticity import Authenticity, proves_name, verify_record

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ARCHIVE = "shop/operational/0001"


def look(second: float, lsn: int, timeline: int = 1) -> Look:
    return Look(NOON + timedelta(seconds=second), lsn, timeline, "700", "", True, "async", SlotReport(name="s"))


def listed(content: bytes) -> list[dict[str, object]]:
    moments: list[dict[str, object]] = json.loads(content)["moments"]
    return moments


@given(
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40),
)
def test_no_moment_is_told_beyond_what_is_stored(steps: list[tuple[int, int]]) -> None:
    moments, lsn, stored = Moments(), 0, 0
    for second, (written, archived) in enumerate(steps):
        lsn += written
        stored = min(lsn, stored + archived)
        moments.add(look(20 * second, lsn), 20.0 * second)
        moments.stored(1, stored)
        assert moments.newest is None or moments.newest.position <= stored
        due = moments.due(ARCHIVE, 20.0 * second)
        if due is not None:
            assert all(int(str(moment["lsn"]).split("/")[1], 16) <= stored for moment in listed(due[1]))


def test_one_moment_in_ten_seconds_one_object_in_a_minute() -> None:
    moments = Moments()
    objects = []
    for second in range(600):
        moments.add(look(second, 100), float(second))
        moments.stored(1, 100)
        if (due := moments.due(ARCHIVE, float(second))) is not None:
            objects.append(due)
    assert 9 <= len(objects) <= 600 / WRITE_SECONDS + 1
    times = [datetime.fromisoformat(str(moment["time"])) for _, content in objects for moment in listed(content)]
    assert all((later - earlier).total_seconds() >= SAMPLE_SECONDS for earlier, later in pairwise(times))
    assert [path for path, _ in objects] == sorted(path for path, _ in objects)


def test_moments_of_a_timeline_that_ended_are_never_told_with_another_one() -> None:
    moments = Moments()
    moments.add(look(0, 500, timeline=1), 0.0)
    moments.add(look(20, 400, timeline=2), 20.0)
    moments.stored(2, 450)
    assert moments.newest is not None
    assert (moments.newest.timeline, moments.newest.position) == (2, 400)
    due = moments.due(ARCHIVE, 20.0, closing=True)
    assert due is not None
    assert [moment["timeline"] for moment in listed(due[1])] == [2]


def test_memory_is_bounded_while_the_store_is_away() -> None:
    moments = Moments()
    for second in range(5 * MOST_WAITING):
        moments.add(look(second, second + 1), float(second))
    moments.stored(1, 5 * MOST_WAITING)
    due = moments.due(ARCHIVE, 5.0 * MOST_WAITING)
    assert due is not None
    assert 0 < len(listed(due[1])) <= MOST_WAITING


def test_with_the_stores_key_name_and_content_are_authenticated() -> None:
    moments = Moments()
    moments.key = b"k" * 32
    moments.add(look(0, 500), 0.0)
    moments.stored(1, 500)
    due = moments.due(ARCHIVE, 0.0, closing=True)
    assert due is not None
    path, content = due
    name, _, proof = path.removesuffix(".json").rpartition("-")
    assert proves_name(proof, name, b"k" * 32)
    assert not proves_name(proof, name, b"o" * 32)
    assert verify_record(content, b"k" * 32) is Authenticity.AUTHENTIC
