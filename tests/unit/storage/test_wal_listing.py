"""What a listing of archived WAL says about what is in the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.wal import segment_name, segment_start
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectInfo
from pgwarden.storage.wal_listing import Range, covered_until, history_timeline, merged, wal_piece

SEGMENT = 16 << 20
ARCHIVE = "prod/operational/0001"


@given(
    number=st.integers(0, 1 << 32), timeline=st.integers(1, 1 << 31), size=st.sampled_from([1 << 20, SEGMENT, 1 << 30])
)
def test_a_segments_name_says_where_it_begins(number: int, timeline: int, size: int) -> None:
    assert segment_start(segment_name(timeline, number, size), size) == number * size


@pytest.mark.parametrize("encrypted", [False, True])
def test_names_of_the_layout_are_read_back(encrypted: bool) -> None:
    name = segment_name(3, 5, SEGMENT)
    whole = wal_piece(ObjectInfo(layout.segment_object(ARCHIVE, name, encrypted=encrypted), 77), SEGMENT)
    assert whole is not None
    assert (whole.timeline, whole.start, whole.end, whole.whole) == (3, 5 * SEGMENT, 6 * SEGMENT, True)
    assert whole.encrypted is encrypted
    tail = wal_piece(ObjectInfo(layout.tail_object(ARCHIVE, name, 8, 4096, encrypted=encrypted), 7), SEGMENT)
    assert tail is not None
    assert (tail.start, tail.end, tail.whole) == (5 * SEGMENT + 8, 5 * SEGMENT + 4096, False)
    keyed = layout.tail_object(ARCHIVE, name, 8, 4096, encrypted=encrypted, digest="0123456789abcdef")
    assert wal_piece(ObjectInfo(keyed, 7), SEGMENT) == replace(tail, path=keyed, digest="0123456789abcdef")
    assert history_timeline(layout.history_object(ARCHIVE, 3)) == 3


@pytest.mark.parametrize(
    "name",
    [
        "000000010000000000000001",
        "000000010000000000000001.zst.part",
        "000000010000000000000001.tail.00000010-00000008.zst",
        "000000010000000000000001.tail.00000000-FFFFFFFF.zst",
        "00000001.history",
        "backup.json",
    ],
)
def test_other_names_are_no_wal(name: str) -> None:
    assert wal_piece(ObjectInfo(f"{ARCHIVE}/wal/00000001/{name}", 1), SEGMENT) is None


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 8)), max_size=12))
def test_merging_keeps_every_position_and_adds_none(pieces: list[tuple[int, int]]) -> None:
    ranges = [Range(start, start + length) for start, length in pieces]
    result = merged(ranges)
    assert {at for each in result for at in range(each.start, each.end)} == {
        at for each in ranges for at in range(each.start, each.end)
    }
    assert all(before.end < after.start for before, after in pairwise(result))


def test_wal_reaches_up_to_the_first_gap() -> None:
    ranges = merged([Range(0, 10), Range(10, 20), Range(30, 40)])
    assert covered_until(ranges, 5) == 20
    assert covered_until(ranges, 20) == 20
    assert covered_until(ranges, 35) == 40


def test_moments_sort_by_time() -> None:
    early = layout.moments_object(ARCHIVE, datetime(2026, 1, 2, tzinfo=UTC), 9, 99)
    late = layout.moments_object(ARCHIVE, datetime(2026, 1, 3, tzinfo=UTC), 1, 1)
    assert early < late
