"""Restore points in WAL: records of pg_create_restore_point, found by their form, proved by their checksum. Pure.

A record (PostgreSQL, src/include/access/xlogrecord.h, xlog_internal.h) has 24 bytes of header: length, transaction,
previous record, info, resource manager, two bytes of padding, CRC-32C. Here follow 0xFF and the length of the data,
then the data: 8 bytes of time in microseconds since 2000, 64 of name. Records begin at multiples of 8. One that lies
across the boundary of a page has that page's header in its middle: 24 bytes, 40 at the beginning of a segment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

PAGE = 8192
PAGE_HEADER, FIRST_PAGE_HEADER = 24, 40
RECORD = struct.Struct("<IIQBBxxI")
TOLD = struct.Struct("<q64s")
DATA_MARK = bytes([0xFF, TOLD.size])
LENGTH = RECORD.size + len(DATA_MARK) + TOLD.size
RESTORE_POINT = 0x70
"""XLOG_RESTORE_POINT of the resource manager 0, which is the WAL's own."""
ALIGNED = 8
INFO_AND_MARK = bytes([RESTORE_POINT, DATA_MARK[0]])
"""The first bytes of a record's third and fourth eight."""
EDGE = LENGTH - LENGTH % ALIGNED
"""Bytes at the end of a segment in which a record may begin that ends in the next."""
CHUNK = 131_072
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RestorePoint:
    """One call of pg_create_restore_point."""

    position: int
    """Where its record begins."""
    time: datetime
    """By the server's clock."""
    name: bytes
    """In the encoding of the database that it was called in; at most 63 bytes."""


def restore_points(data: memoryview, start: int, segment_start: int, before: bytes = b"") -> list[RestorePoint]:
    """Those that lie wholly in WAL of one segment from the position `start` on, in order.

    `before` are the last EDGE bytes of the segment before, where `start` is the beginning of this one and they are
    known: with them are found those that lie across the two.
    """
    found = list(across(before, data, start))
    for position in sorted({begin_of(start + mark, segment_start) for mark in marks(data, start)}):
        if position >= start:
            found += read(whole(data, position - start, PAGE - position % PAGE), position)
    return found


def across(before: bytes, data: memoryview, start: int) -> Iterator[RestorePoint]:
    """Those that begin before the segment that begins at `start`, at each of the few places where one may."""
    for left in range(len(before) - len(before) % ALIGNED, 0, -ALIGNED):
        rest = data[FIRST_PAGE_HEADER : FIRST_PAGE_HEADER + LENGTH - left]
        yield from read(before[-left:] + bytes(rest), start - left)


def marks(data: memoryview, start: int) -> Iterator[int]:
    """Where the mark of a record's data may be: at multiples of 8, because headers of records and pages are such.

    So of each eight bytes only the first is searched, which takes a fifth of the time. Only bytes can be searched, so
    chunks are copied, each with the first eight of the next. Between info and mark a page may begin.
    """
    for begin in range(-start % ALIGNED, len(data), CHUNK):
        firsts = bytes(data[begin : begin + CHUNK + ALIGNED])[::ALIGNED]
        at = firsts.find(INFO_AND_MARK)
        while at >= 0:
            yield begin + (at + 1) * ALIGNED
            at = firsts.find(INFO_AND_MARK, at + 1)
    for page in range(-start % PAGE, len(data), PAGE):
        if page >= ALIGNED and data[page - ALIGNED] == RESTORE_POINT:
            yield page + PAGE_HEADER


def begin_of(mark: int, segment_start: int) -> int:
    """Where the record begins whose data's mark is at that position."""
    page = mark - mark % PAGE
    in_page = mark - page - (FIRST_PAGE_HEADER if page == segment_start else PAGE_HEADER)
    return mark - RECORD.size if in_page >= RECORD.size else page - (RECORD.size - in_page)


def whole(data: memoryview, offset: int, left: int) -> bytes:
    """The bytes of a record without the page's header in its middle, where one is: `left` are left of its first page.

    No segment begins there: what lies across two of them is not in one piece of WAL.
    """
    if left >= LENGTH:
        return bytes(data[offset : offset + LENGTH])
    rest = offset + left + PAGE_HEADER
    return bytes(data[offset : offset + left]) + bytes(data[rest : rest + LENGTH - left])


def read(record: bytes, position: int) -> Iterator[RestorePoint]:
    """The restore point that a record is; none where it is no such record."""
    if len(record) < LENGTH:
        return
    length, _transaction, _previous, info, manager, checksum = RECORD.unpack_from(record)
    if (length, info, manager) != (LENGTH, RESTORE_POINT, 0) or checksum != checksum_of(record):
        return
    microseconds, name = TOLD.unpack_from(record, RECORD.size + len(DATA_MARK))
    yield RestorePoint(position, EPOCH + timedelta(microseconds=microseconds), name.split(b"\0", 1)[0])


def checksum_of(record: bytes) -> int:
    """What a record's CRC has to be: of its data first, then of its header but for the CRC itself."""
    return crc32c(record[RECORD.size :] + record[: RECORD.size - 4])


def table() -> list[int]:
    """CRC-32C (Castagnoli) of each byte, reflected."""
    values = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
        values.append(value)
    return values


TABLE = table()


def crc32c(content: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in content:
        value = TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF
