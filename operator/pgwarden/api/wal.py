"""Names of WAL files, and the room they take. Pure.

A segment's name is timeline, high and low part of its number, eight hexadecimal digits each; a history file's is its
timeline (PostgreSQL, src/include/access/xlog_internal.h, XLogFileName and TLHistoryFileName).
"""

from __future__ import annotations

import re

SEGMENT_NAME = re.compile(r"[0-9A-F]{24}")
HISTORY_NAME = re.compile(r"[0-9A-F]{8}\.history")
USUAL_SEGMENT_BYTES = 16 << 20
"""initdb's default of --wal-segsize."""
SPARE_SEGMENTS = 8
"""Recovery copies the WAL it replays, and begins a new timeline."""
SPARE_BYTES = 64 << 20


def parse_lsn(text: str) -> int:
    """A WAL position such as `16/B374D848` as a number of bytes. Raises ValueError."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(position: int) -> str:
    """A number of bytes as PostgreSQL writes it, `16/B374D848`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def timeline_of(name: str) -> int:
    """The timeline of a segment or a history file, from its name."""
    return int(name[:8], 16)


def segment_start(name: str, segment_bytes: int) -> int:
    """The position at which the segment `name` begins, in bytes."""
    segments_per_id = (1 << 32) // segment_bytes
    return (int(name[8:16], 16) * segments_per_id + int(name[16:24], 16)) * segment_bytes


def history_name(timeline: int) -> str:
    """The name of the history file of a timeline."""
    return f"{timeline:08X}.history"


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The name of the segment that begins at `number * segment_bytes`."""
    segments_per_id = (1 << 32) // segment_bytes
    return f"{timeline:08X}{number // segments_per_id:08X}{number % segments_per_id:08X}"


def segments_between(timeline: int, start_lsn: str, stop_lsn: str, segment_bytes: int) -> list[str]:
    """Names of all segments that hold WAL from `start_lsn` up to, and not including, `stop_lsn`."""
    first = parse_lsn(start_lsn) // segment_bytes
    last = (parse_lsn(stop_lsn) - 1) // segment_bytes
    return [segment_name(timeline, number, segment_bytes) for number in range(first, last + 1)]


def is_wal_file(name: str) -> bool:
    """Whether a file of pg_wal is one that recovery may ask for: a segment or a history file."""
    return bool(SEGMENT_NAME.fullmatch(name) or HISTORY_NAME.fullmatch(name))


def room_to_recover(plain_bytes: int, segments: int, segment_bytes: int) -> int:
    """Bytes a volume must have free for a backup of `plain_bytes`: all files, and WAL twice, as recovery copies it."""
    return plain_bytes + (segments + SPARE_SEGMENTS) * segment_bytes + SPARE_BYTES
