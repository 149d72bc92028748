"""What an archiver learns from a listing: it has nothing else to go by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.wal import format_lsn, segment_name
from pgwarden.archiving.contract import ArchiveGap
from pgwarden.archiving.stored import Reader, Stored, newest_timeline, understood
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectInfo, open_store

SEGMENT = 1 << 20
ARCHIVE = "shop/operational/0001"


def whole(number: int) -> ObjectInfo:
    return ObjectInfo(layout.segment_object(ARCHIVE, segment_name(1, number, SEGMENT), encrypted=False), 1)


def tail(number: int, start: int, end: int) -> ObjectInfo:
    name = segment_name(1, number, SEGMENT)
    return ObjectInfo(layout.tail_object(ARCHIVE, name, start, end, encrypted=False, digest="0" * 16), 1)


def gap(start: int, end: int, timeline: int = 1) -> ArchiveGap:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return ArchiveGap(
        timeline=timeline, start=format_lsn(start), end=format_lsn(end), reason="WALRemoved", message="gone", time=now
    )


def test_an_empty_folder_holds_nothing() -> None:
    assert understood([], 1, SEGMENT, [gap(0, SEGMENT)]) == Stored(None)


def test_whole_segments_and_tails_reach_to_the_end_of_the_last_tail() -> None:
    listing = [tail(6, 0, 100), whole(4), tail(6, 100, 250), whole(5), tail(5, 0, 10)]
    held = understood(listing, 1, SEGMENT, [])
    assert (held.start, held.end, held.next_start) == (4 * SEGMENT, 6 * SEGMENT + 250, None)
    assert [piece.end for piece in held.tails[segment_name(1, 6, SEGMENT)]] == [6 * SEGMENT + 100, 6 * SEGMENT + 250]
    assert held.leftovers == [tail(5, 0, 10).path]
    assert not held.whole_before_end


def test_a_hole_is_where_to_go_on_unless_it_is_on_record() -> None:
    listing = [whole(4), whole(5), whole(7)]
    held = understood(listing, 1, SEGMENT, [])
    assert (held.end, held.next_start, held.whole_before_end) == (6 * SEGMENT, 7 * SEGMENT, True)
    assert understood(listing, 1, SEGMENT, [gap(6 * SEGMENT, 7 * SEGMENT, timeline=2)]).end == 6 * SEGMENT
    explained = understood(listing, 1, SEGMENT, [gap(6 * SEGMENT, 7 * SEGMENT)])
    assert (explained.end, explained.next_start) == (8 * SEGMENT, None)


def test_a_gap_in_what_has_expired_makes_no_hole() -> None:
    held = understood([whole(10), whole(11)], 1, SEGMENT, [gap(2 * SEGMENT, 5 * SEGMENT)])
    assert (held.start, held.end, held.next_start) == (10 * SEGMENT, 12 * SEGMENT, None)


@given(numbers=st.sets(st.integers(0, 30), min_size=1))
def test_everything_before_the_end_is_held(numbers: set[int]) -> None:
    held = understood([whole(number) for number in numbers], 1, SEGMENT, [])
    assert held.end is not None
    assert held.start == min(numbers) * SEGMENT
    assert set(range(min(numbers), held.end // SEGMENT)) <= numbers
    assert held.end // SEGMENT not in numbers


@pytest.mark.parametrize("slot", [10, 11], ids=["in the archive", "beyond it"])
def test_a_slot_made_anew_hides_no_hole(tmp_path: Path, slot: int) -> None:
    """An archiver died while its fifth upload was still tried; then the slot was dropped and made anew."""
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    for number in (1, 2, 3, 4, 6, 7, 8, 9, 10):
        store.put(whole(number).path, b"WAL")
    reader = Reader(store, ARCHIVE, SEGMENT, [], in_flight_bytes=6 * SEGMENT)
    assert reader.timeline(1, slot * SEGMENT + 100).end == 5 * SEGMENT


def test_folders_that_are_no_timelines_are_passed_over(tmp_path: Path) -> None:
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    assert newest_timeline(store, ARCHIVE) == 0
    for name in ("0000000A", "copy-of-0000000B", "old"):
        store.put(f"{ARCHIVE}/wal/{name}/object", b"")
    assert newest_timeline(store, ARCHIVE) == 10
