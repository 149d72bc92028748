"""Restore points are found wherever their record lies, and nothing else is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.archiving.restore_points import (
    CHUNK,
    DATA_MARK,
    EDGE,
    EPOCH,
    FIRST_PAGE_HEADER,
    LENGTH,
    PAGE,
    PAGE_HEADER,
    RECORD,
    RESTORE_POINT,
    TOLD,
    RestorePoint,
    checksum_of,
    crc32c,
    read,
    restore_points,
)

SEGMENT = 16 << 20
START = 5 * SEGMENT
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def record(name: bytes, time: datetime = NOON, info: int = RESTORE_POINT, length: int = LENGTH) -> bytes:
    """As PostgreSQL writes it; what lies behind the name's end is what was in memory."""
    told = TOLD.pack((time - EPOCH) // timedelta(microseconds=1), (name + b"\0").ljust(64, b"\xa5"))
    without = RECORD.pack(length, 0, 17, info, 0, 0) + DATA_MARK + told
    return RECORD.pack(length, 0, 17, info, 0, checksum_of(without)) + DATA_MARK + told


def pages(records: dict[int, bytes], size: int, fill: bytes = b"\xff\x48") -> bytearray:
    """WAL from the beginning of a segment on, with these records at these offsets, cut by the headers of pages."""
    found = bytearray((fill * size)[:size])
    for begin, content in records.items():
        at = begin
        for byte in content:
            if at % PAGE == 0:
                at += PAGE_HEADER if at else FIRST_PAGE_HEADER
            found[at] = byte
            at += 1
    return found


def test_the_checksum_is_castagnolis() -> None:
    """The check value of CRC-32C in every catalogue of checksums."""
    assert crc32c(b"123456789") == 0xE3069283


@settings(max_examples=300, deadline=None)
@given(st.integers(FIRST_PAGE_HEADER // 8, (4 * PAGE - 2 * LENGTH) // 8), st.binary(max_size=63), st.integers(0, PAGE))
def test_one_is_found_at_every_place(eighth: int, name: bytes, cut: int) -> None:
    name, offset = name.split(b"\0")[0], 8 * eighth
    if offset % PAGE < PAGE_HEADER:
        offset += PAGE_HEADER
    wal = pages({offset: record(name)}, 4 * PAGE)
    begin = min(cut, offset)
    (found,) = restore_points(memoryview(wal)[begin:], START + begin, START)
    assert (found.position, found.name, found.time) == (START + offset, name, NOON)


@pytest.mark.parametrize("offset", [40, 4 * PAGE - LENGTH, *(CHUNK - n for n in (64, 96, 24, 16, 8, -24, -32))])
def test_one_is_found_once_where_chunks_and_pages_meet(offset: int) -> None:
    wal = pages({offset - offset % 8: record(b"before the deploy")}, 3 * CHUNK)
    assert [point.name for point in restore_points(memoryview(wal), START, START)] == [b"before the deploy"]


@pytest.mark.parametrize("left", range(8, EDGE + 1, 8))
def test_one_that_lies_across_two_segments_is_found_once_both_are_there(left: int) -> None:
    name = record(b"at the edge")
    first, second = pages({PAGE - left: name[:left]}, PAGE), pages({40: name[left:], 800: record(b"b")}, PAGE)
    found = restore_points(memoryview(second), START, START, bytes(first[-EDGE:]))
    assert [(point.position - START, point.name) for point in found] == [(-left, b"at the edge"), (800, b"b")]
    assert [point.name for point in restore_points(memoryview(second), START, START)] == [b"b"]
    assert restore_points(memoryview(second)[:100], START, START, bytes(first[-EDGE:]))[1:] == []


def at_every_place(wal: memoryview, start: int) -> list[RestorePoint]:
    """The slow way: the bytes from each multiple of 8 on are tried, without the headers of pages."""
    found: list[RestorePoint] = []
    for position in range(start + -start % 8, start + len(wal), 8):
        if position % PAGE < (FIRST_PAGE_HEADER if position - position % PAGE == START else PAGE_HEADER):
            continue
        at, told = position, bytearray()
        while len(told) < LENGTH and at - start < len(wal):
            if at % PAGE == 0:
                at += FIRST_PAGE_HEADER if at == START else PAGE_HEADER
            upto = min(at - at % PAGE + PAGE, at + LENGTH - len(told))
            told += wal[at - start : upto - start]
            at = upto
        found += read(bytes(told), position)
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(5, 3 * PAGE // 8), max_size=8), st.integers(0, 2 * PAGE), st.sampled_from([b"\xff", b"\x70"])
)
def test_the_quick_way_finds_what_the_slow_one_does(places: list[int], cut: int, fill: bytes) -> None:
    """Records lie anywhere, also over one another, and WAL begins anywhere."""
    wal = memoryview(pages({8 * place: record(b"point") for place in places}, 4 * PAGE, fill=fill))[cut:]
    quick = restore_points(wal, START + cut, START)
    assert quick == at_every_place(wal, START + cut)


def test_several_are_told_in_their_order() -> None:
    wal = pages({20 * PAGE + 400: record(b"b"), 800: record(b"a"), 3 * PAGE - 16: record(b"a")}, 30 * PAGE)
    found = restore_points(memoryview(wal), START, START)
    assert [(point.position - START, point.name) for point in found] == [
        (800, b"a"), (3 * PAGE - 16, b"a"), (20 * PAGE + 400, b"b"),
    ]  # fmt: skip


def test_what_is_not_whole_or_not_proved_is_none() -> None:
    good = record(b"point")
    changed = good[:60] + bytes([good[60] ^ 1]) + good[61:]
    others = [changed, record(b"x", info=0x30), record(b"x", length=LENGTH + 8)]
    for content in others:
        assert restore_points(memoryview(pages({800: content}, PAGE)), START, START) == []
    assert restore_points(memoryview(pages({804: good}, PAGE)), START, START) == [], "records begin at multiples of 8"
    wal = pages({800: good}, PAGE)
    assert restore_points(memoryview(wal)[: 800 + LENGTH - 1], START, START) == []
    assert restore_points(memoryview(wal)[808:], START + 808, START) == []


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3 * PAGE))
def test_anything_can_be_read(content: bytes) -> None:
    assert restore_points(memoryview(content), START, START) == []
