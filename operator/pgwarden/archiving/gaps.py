"""WAL that the server no longer has: what exactly is missing, and a record of it in the archive."""

from __future__ import annotations

from datetime import datetime

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.archiving.contract import ArchiveGap
from pgwarden.archiving.plan import Position, floor
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.wal_stream import Keepalive, WALData, WALStream
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectExists, Store

PROBE_SECONDS = 10.0


def oldest_available(
    address: DatabaseAddress, operation: str, missing: Position, limit: int, segment_bytes: int
) -> int:
    """The first position behind `missing` from which the server still has WAL; `limit` when that is nowhere before.

    Found by asking for some: without pg_monitor a role may not list pg_wal. WAL is removed from the oldest on, so a
    few questions are enough. Raises TaskError as connections do.
    """
    low = floor(missing.at, segment_bytes) // segment_bytes + 1
    high = -(-limit // segment_bytes)
    while low < high:
        middle = (low + high) // 2
        if is_available(address, operation, Position(missing.timeline, middle * segment_bytes)):
            high = middle
        else:
            low = middle + 1
    return min(low * segment_bytes, limit)


def is_available(address: DatabaseAddress, operation: str, position: Position) -> bool:
    """Whether the server still has the WAL at that position. Raises TaskError when it does not answer."""
    stream = WALStream(address, operation)
    try:
        if stream.begin(position.timeline, position.at) is not None:
            return True
        return isinstance(stream.receive(PROBE_SECONDS), WALData | Keepalive)
    except TaskError as error:
        if error.reason != "WALRemoved":
            raise
        return False
    finally:
        stream.close()


def gap(missing: Position, end: int, server: str, now: datetime) -> ArchiveGap:
    """The record of what is missing."""
    start, stop = format_lsn(missing.at), format_lsn(end)
    return ArchiveGap(
        timeline=missing.timeline,
        start=start,
        end=stop,
        reason="WALRemoved",
        message=f"WAL of timeline {missing.timeline} from {start} to {stop} was gone from {server} before it was "
        "archived: the slot was lost or dropped, or the server is another one since",
        time=now,
    )


def record(store: Store, archive: str, missed: ArchiveGap) -> None:
    """Writes it into the archive; once is enough. Raises TaskError."""
    path = layout.gap_object(archive, missed.timeline, parse_lsn(missed.start), parse_lsn(missed.end))
    try:
        store.put(path, missed.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
    except ObjectExists:
        return
