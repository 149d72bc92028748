"""Cuts the stream into segments and tails, and compares it with the tails that the archive holds already."""

from __future__ import annotations

import mmap
from contextlib import suppress

from pgwarden.api.wal import format_lsn, segment_name
from pgwarden.archiving.restore_points import EDGE
from pgwarden.archiving.stored import Stored
from pgwarden.archiving.trouble import conflict
from pgwarden.archiving.uploads import Uploads
from pgwarden.archiving.writer import Piece, digest
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.wal_listing import WALPiece


class Receiver:
    """Takes WAL of one timeline, from the beginning of a segment on, and submits it for upload."""

    def __init__(self, timeline: int, begin: int, segment_bytes: int, stored: Stored, uploads: Uploads) -> None:
        self._timeline = timeline
        self._segment_bytes = segment_bytes
        self._stored = stored
        self._uploads = uploads
        self.received = begin
        """End of what was received."""
        self._submitted = begin
        self._tails: dict[str, list[str]] = {
            segment: [piece.path for piece in pieces] for segment, pieces in stored.tails.items()
        }
        self._open(begin, before=b"")

    @property
    def open_bytes(self) -> int:
        """Memory that the unfinished segment takes."""
        return self._segment_bytes

    @property
    def waiting_bytes(self) -> int:
        """What was received of the unfinished segment and not submitted as a tail yet."""
        return self.received - self._submitted

    def take(self, start: int, data: memoryview) -> None:
        """The next bytes of the stream. Raises TaskError: ArchiveConflict, ReplicationInterrupted."""
        if start != self.received:
            raise TaskError(
                "ReplicationInterrupted",
                f"the server sent WAL from {format_lsn(start)} where {format_lsn(self.received)} was due",
                retryable=True,
            )
        while data:
            fill = self.received - self._start
            fits = min(len(data), self._segment_bytes - fill)
            self._buffer[fill : fill + fits] = data[:fits]
            data = data[fits:]
            self.received += fits
            self._compare()
            if fill + fits == self._segment_bytes:
                self._uploads.submit(self._piece(self._start, whole=True))
                self._open(self.received, before=bytes(self._buffer[-EDGE:]))

    def submit_tail(self) -> None:
        """Submits what was received of the unfinished segment since the last time."""
        if self.waiting_bytes > 0:
            self._uploads.submit(self._piece(self._submitted, whole=False))
            self._submitted = self.received

    def stored_tail(self, piece: Piece) -> None:
        """Takes note of a tail that the archive holds now."""
        self._tails.setdefault(piece.segment, []).append(piece.path)

    def tails_of(self, segment: str) -> list[str]:
        """Paths of a segment's tails, which are not needed any more."""
        return self._tails.pop(segment, [])

    def _open(self, start: int, *, before: bytes) -> None:
        self._start, self._before = start, before
        self._segment = segment_name(self._timeline, start // self._segment_bytes, self._segment_bytes)
        self._buffer = room(self._segment_bytes)
        self._to_compare: list[WALPiece] = list(self._stored.tails.get(self._segment, []))
        held = self._stored.end or start
        self._submitted = held if start < held <= start + self._segment_bytes else start

    def _piece(self, start: int, *, whole: bool) -> Piece:
        data = self._buffer[start - self._start : self.received - self._start].toreadonly()
        before = self._before if start == self._start else b""
        return Piece(self._timeline, self._segment, self._start, start, self.received, data, whole, before=before)

    def _compare(self) -> None:
        """Raises TaskError with reason ArchiveConflict when a tail in the archive is not what the server sent."""
        if not self._to_compare:
            return
        complete = [piece for piece in self._to_compare if piece.end <= self.received]
        for piece in complete:
            sent = self._buffer[piece.start - self._start : piece.end - self._start]
            if piece.digest and digest(sent) != piece.digest:
                raise conflict(f"{piece.path} in the store is not what the server holds at that position")
            self._to_compare.remove(piece)


def room(size: int) -> memoryview:
    """Memory of its own mapping, which goes back to the system as soon as nobody refers to it.

    In huge pages where the kernel has them: touching thousands of small ones costs more than filling them.
    """
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapped)
