"""What restore_command hears: never "absent" for WAL that the backup needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.wal import format_lsn, parse_lsn, segment_name, segments_between
from pgwarden.restores.wal_queue import Answer, CarriedWAL, WALQueue, sizes_of

SEGMENT = 16 << 20
FIRST, SECOND, THIRD = (segment_name(1, number, SEGMENT) for number in (3, 4, 5))


def carried(sizes: dict[str, int]) -> CarriedWAL:
    return CarriedWAL(timeline=1, start_lsn="0/3000028", stop_lsn="0/4000120", segment_bytes=SEGMENT, sizes=sizes)


@pytest.mark.parametrize(
    ("name", "sizes", "answer"),
    [
        (FIRST, {FIRST: SEGMENT, SECOND: SEGMENT}, Answer.PRESENT),
        (SECOND, {FIRST: SEGMENT}, Answer.FAILED),
        (SECOND, {FIRST: SEGMENT, SECOND: SEGMENT - 1}, Answer.FAILED),
        (THIRD, {FIRST: SEGMENT, SECOND: SEGMENT}, Answer.ABSENT),
        (THIRD, {THIRD: SEGMENT}, Answer.PRESENT),
        (THIRD, {THIRD: 100}, Answer.FAILED),
        ("00000002.history", {}, Answer.ABSENT),
        ("00000002.history", {"00000002.history": 41}, Answer.PRESENT),
        (segment_name(2, 4, SEGMENT), {}, Answer.ABSENT),
    ],
)
def test_only_what_the_backup_does_not_need_is_absent(name: str, sizes: dict[str, int], answer: Answer) -> None:
    assert carried(sizes).answer(name) is answer


@given(
    start=st.integers(min_value=0, max_value=1 << 40),
    length=st.integers(min_value=1, max_value=1 << 27),
    segment=st.sampled_from([1 << 20, 16 << 20, 1 << 30]),
)
def test_a_needed_segment_that_is_missing_never_ends_recovery_early(start: int, length: int, segment: int) -> None:
    wal = CarriedWAL(7, format_lsn(start), format_lsn(start + length), segment, {})
    for position in (start, start + length - 1, start + length // 2):
        assert wal.answer(segment_name(7, position // segment, segment)) is Answer.FAILED


def test_a_stop_at_a_segments_end_needs_no_further_segment() -> None:
    assert segments_between(1, "0/3000028", "0/4000000", SEGMENT) == [FIRST]
    assert segments_between(1, "0/3000028", "0/4000001", SEGMENT) == [FIRST, SECOND]


def test_names_of_segments_are_postgresqls() -> None:
    """`SELECT pg_walfile_name('1A/B374D848')` says 000000010000001A000000B3 with segments of 16 MB."""
    assert segment_name(1, parse_lsn("1A/B374D848") // SEGMENT, SEGMENT) == "000000010000001A000000B3"
    assert format_lsn(parse_lsn("1A/B374D848")) == "1A/B374D848"


def test_requests_are_answered_through_the_folder(tmp_path: Path) -> None:
    wal = tmp_path / "wal-files"
    wal.mkdir()
    with (wal / FIRST).open("wb") as file:
        file.truncate(SEGMENT)
    queue = WALQueue(tmp_path / "wal", wal, carried(sizes_of(wal)))
    queue.open()
    assert (queue.folder / "present" / FIRST).stat().st_size == SEGMENT
    (queue.folder / "requests" / "00000002.history").touch()
    queue.answer_requests()
    assert (queue.folder / "absent" / "00000002.history").exists()
    assert not (queue.folder / "failed").exists()
    (queue.folder / "requests" / SECOND).touch()
    queue.answer_requests()
    assert queue.failed == SECOND
    assert (queue.folder / "failed").exists()
    assert not (queue.folder / "absent" / SECOND).exists()


def test_answers_of_an_earlier_pod_are_forgotten(tmp_path: Path) -> None:
    wal = tmp_path / "wal-files"
    wal.mkdir()
    queue = WALQueue(tmp_path / "wal", wal, carried({}))
    queue.open()
    (queue.folder / "failed").touch()
    queue.open()
    assert not (queue.folder / "failed").exists()
    assert queue.last_taken == ""
