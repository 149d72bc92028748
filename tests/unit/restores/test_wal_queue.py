"""What restore_command hears: never "absent" for WAL that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.wal import format_lsn, parse_lsn, segment_name, segment_start, segments_between
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.wal_plan import Answer, WALPlan, Way, archived_segments
from pgwarden.restores.wal_queue import WALQueue, sizes_of
from pgwarden.storage.store import ObjectInfo
from pgwarden.storage.wal_listing import WALPiece, wal_pieces

SEGMENT = 16 << 20
FIRST, SECOND, THIRD = (segment_name(1, number, SEGMENT) for number in (3, 4, 5))
START, STOP = parse_lsn("0/3000028"), parse_lsn("0/4000120")
UPON = segment_name(2, 5, SEGMENT)


def carried(sizes: dict[str, int], until: int = STOP, **more: object) -> WALPlan:
    ways = (Way(1, START, None),)
    return WALPlan(**{"way": ways, "until": until, "segment_bytes": SEGMENT, "carried": sizes, **more})  # type: ignore[arg-type]


def listed(*names: str) -> list[WALPiece]:
    return list(wal_pieces([ObjectInfo(f"wal/{name[:8]}/{name}", 1) for name in names], SEGMENT))


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
        ("../../etc/passwd", {}, Answer.ABSENT),
    ],
)
def test_only_what_the_backup_does_not_need_is_absent(name: str, sizes: dict[str, int], answer: Answer) -> None:
    assert carried(sizes).answer(name) is answer


@pytest.mark.parametrize(
    ("objects", "until", "answer"),
    [
        ([f"{THIRD}.zst"], "0/6000000", Answer.FETCH),
        ([f"{THIRD}.zst.age"], "0/6000000", Answer.FETCH),
        ([], "0/5000001", Answer.FAILED),
        ([], "0/5000000", Answer.ABSENT),
        ([f"{THIRD}.tail.00000000-00000100.zst", f"{THIRD}.tail.00000100-00000200.zst"], "0/5000200", Answer.FETCH),
        ([f"{THIRD}.tail.00000000-00000100.zst", f"{THIRD}.tail.00000180-00000200.zst"], "0/5000200", Answer.FAILED),
        ([f"{THIRD}.tail.00000100-00000200.zst"], "0/5000000", Answer.ABSENT),
        ([f"{THIRD}.tail.00000100-00000200.zst"], "0/5000200", Answer.FAILED),
        ([f"{THIRD}.tail.00000000-00000100.zst"], "0/5000101", Answer.FAILED),
        ([f"{THIRD}.zst", f"{THIRD}.tail.00000000-00000100.zst"], "0/6000000", Answer.FETCH),
    ],
)
def test_what_the_archive_holds_is_fetched_when_it_reaches_far_enough(
    objects: list[str], until: str, answer: Answer
) -> None:
    wal = carried({}, parse_lsn(until), archived=archived_segments(listed(*objects), SEGMENT))
    assert wal.answer(THIRD) is answer


def test_tails_that_overlap_are_joined_with_the_fewest() -> None:
    names = [f"{THIRD}.tail.00000000-00000100.zst", f"{THIRD}.tail.00000000-00000180.zst"]
    joined = archived_segments(listed(*names, f"{THIRD}.tail.00000100-00000300.zst"), SEGMENT)[THIRD]
    assert [piece.end - joined.start for piece in joined.pieces] == [0x180, 0x300]
    assert not joined.whole


def test_on_two_timelines_the_newer_one_is_expected_where_it_has_begun() -> None:
    branch = parse_lsn("0/5000800")
    wal = WALPlan(
        (Way(1, START, branch), Way(2, branch, None)),
        parse_lsn("0/7000000"),
        SEGMENT,
        archived=archived_segments(
            listed(
                f"{FIRST}.zst", f"{SECOND}.zst", f"{THIRD}.zst", f"{UPON}.zst", f"{segment_name(2, 6, SEGMENT)}.zst"
            ),
            SEGMENT,
        ),
    )
    assert wal.expected() == [FIRST, SECOND, UPON, segment_name(2, 6, SEGMENT)]
    assert wal.needed(THIRD), "what the ancestor wrote before the branch"
    assert not wal.needed(segment_name(1, 6, SEGMENT)), "what it wrote after it belongs to nobody"
    assert wal.needed(UPON)


def test_a_standbys_last_segment_is_taken_from_the_archive_where_that_has_more() -> None:
    sizes = {FIRST: SEGMENT, SECOND: SEGMENT}
    archived = archived_segments(listed(f"{FIRST}.zst", f"{SECOND}.zst"), SEGMENT)
    standby = carried(sizes, parse_lsn("0/5000000"), carried_until=STOP, archived=archived)
    assert (standby.answer(FIRST), standby.answer(SECOND)) == (Answer.PRESENT, Answer.FETCH)
    primary = carried(sizes, parse_lsn("0/5000000"), carried_until=parse_lsn("0/5000000"), archived=archived)
    assert primary.answer(SECOND) is Answer.PRESENT


@given(
    start=st.integers(min_value=0, max_value=1 << 40),
    length=st.integers(min_value=1, max_value=1 << 27),
    segment=st.sampled_from([1 << 20, 16 << 20, 1 << 30]),
)
def test_a_needed_segment_that_is_missing_never_ends_recovery_early(start: int, length: int, segment: int) -> None:
    wal = WALPlan((Way(7, start, None),), start + length, segment)
    for position in (start, start + length - 1, start + length // 2):
        assert wal.answer(segment_name(7, position // segment, segment)) is Answer.FAILED


@given(
    branches=st.lists(st.integers(min_value=1, max_value=1 << 28), min_size=1, max_size=4, unique=True),
    position=st.integers(min_value=0, max_value=(1 << 28) - 1),
    until=st.integers(min_value=1, max_value=1 << 28),
)
def test_every_position_of_the_way_is_somebodys(branches: list[int], position: int, until: int) -> None:
    """With nothing stored at all, the segment of each position before the end is needed on its timeline."""
    ends = [*sorted(branches), None]
    starts = [0, *sorted(branches)]
    ways = tuple(Way(n + 1, start, end) for n, (start, end) in enumerate(zip(starts, ends, strict=True)))
    wal = WALPlan(ways, until, SEGMENT)
    timeline = max(way.timeline for way in ways if way.start <= position)
    name = segment_name(timeline, position // SEGMENT, SEGMENT)
    if position < until:
        assert wal.answer(name) is Answer.FAILED
    elif segment_start(name, SEGMENT) >= until:
        assert wal.answer(name) is Answer.ABSENT


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


class Slow:
    """A source whose segment is ready at the second look, or never."""

    def __init__(self, queue: WALQueue, error: TaskError | None = None) -> None:
        self.queue = queue
        self.error = error
        self.looks = 0

    def keep_ahead(self, position: str) -> None:
        self.ahead_of = position

    def fetched(self, name: str) -> bool:
        if self.error is not None:
            raise self.error
        self.looks += 1
        if self.looks == 2:
            (self.queue.present / name).write_bytes(b"wal")
        return self.looks == 2


def archive_queue(folder: Path) -> WALQueue:
    wal = folder / "wal-files"
    wal.mkdir()
    archived = archived_segments(listed(f"{THIRD}.zst"), SEGMENT)
    queue = WALQueue(folder / "wal", wal, carried({}, parse_lsn("0/6000000"), archived=archived))
    queue.open()
    (queue.folder / "requests" / THIRD).touch()
    return queue


def test_a_request_waits_until_the_segment_was_fetched(tmp_path: Path) -> None:
    queue = archive_queue(tmp_path)
    queue.source = source = Slow(queue)
    queue.answer_requests()
    assert (queue.folder / "requests" / THIRD).exists()
    assert not (queue.folder / "absent" / THIRD).exists()
    queue.answer_requests()
    assert not (queue.folder / "requests" / THIRD).exists()
    assert (queue.present / THIRD).exists()
    assert source.ahead_of == THIRD


def test_a_segment_that_cannot_be_fetched_stops_the_server(tmp_path: Path) -> None:
    queue = archive_queue(tmp_path)
    queue.source = Slow(queue, TaskError("ObjectDamaged", "the object is cut"))
    queue.answer_requests()
    assert (queue.failed, (queue.folder / "failed").exists()) == (THIRD, True)
    assert not (queue.folder / "absent" / THIRD).exists()
    assert queue.trouble is not None
