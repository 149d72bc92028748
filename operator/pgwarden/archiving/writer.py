"""Writes into an archive of WAL: create-only, and never beside something else at the same position."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from pgwarden.archiving.trouble import conflict
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.compression import compress
from pgwarden.storage.encryption import encrypt
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import ObjectExists, Store

DIGEST_DIGITS = 16
CHUNK_BYTES = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True)
class Piece:
    """WAL from `start` up to `end`, both positions in bytes, of one segment."""

    timeline: int
    segment: str
    segment_start: int
    start: int
    end: int
    data: memoryview
    whole: bool


@dataclass(frozen=True)
class ArchiveWriter:
    """Writes pieces of WAL and small objects into one archive."""

    archive: str
    level: int
    recipients: Sequence[Any] = ()

    def write(self, store: Store, piece: Piece) -> int:
        """Stores a piece; returns its stored bytes, 0 when it was there. Raises TaskError: ArchiveConflict, and what
        `Store` raises."""
        return self._write_segment(store, piece) if piece.whole else self._write_tail(store, piece)

    def put_same(self, store: Store, path: str, content: bytes) -> bool:
        """Creates an object that must not be there with other content; whether it is new. Raises TaskError."""
        try:
            store.put(path, content)
        except ObjectExists:
            found = store.read_small(path)
            if found != content:
                raise conflict(f"{path} in the store ({store.name}) holds something else than the server") from None
            return False
        return True

    def tail_path(self, piece: Piece) -> str:
        """Where a piece of an unfinished segment lies."""
        start, end = piece.start - piece.segment_start, piece.end - piece.segment_start
        return layout.tail_object(
            self.archive, piece.segment, start, end, encrypted=bool(self.recipients), digest=digest(piece.data)
        )

    def _write_tail(self, store: Store, piece: Piece) -> int:
        content = self._pack(piece.data)
        path = self.tail_path(piece)
        try:
            store.put(path, content)
        except ObjectExists:  # of the same digest
            return self._replace_if_cut(store, path, piece, content)
        return len(content)

    def _write_segment(self, store: Store, piece: Piece) -> int:
        """The checksum first: then whoever finds the segment there can compare, though it may be encrypted."""
        checksum = layout.checksum_object(self.archive, piece.segment)
        line = f"{hashlib.sha256(piece.data).hexdigest()}  {piece.segment}\n".encode()
        path = layout.segment_object(self.archive, piece.segment, encrypted=bool(self.recipients))
        new = self.put_same(store, checksum, line)
        content = self._pack(piece.data)
        try:
            store.put(path, content)
        except ObjectExists:
            if new and not self._same_content(store, path, piece):
                store.delete(checksum)
                raise conflict(
                    f"{path} in the store ({store.name}) was there without a checksum, and is not what the server sent "
                    "or cannot be read to compare"
                ) from None
            return self._replace_if_cut(store, path, piece, content)
        return len(content)

    def _replace_if_cut(self, store: Store, path: str, piece: Piece, content: bytes) -> int:
        """Makes an object whole that is known to be made of the same WAL; returns the bytes stored.

        A server may have kept the part of a body that came before the connection broke. Another size alone may come of
        another level, or of other recipients: what can be read is compared, and what is larger was not cut. The WAL is
        not acknowledged yet, so that nothing is lost should we end in between. Raises what `Store` raises.
        """
        found = store.head(path)
        if found is not None and (found.size >= len(content) or self._same_content(store, path, piece)):
            return 0
        log.warning("an object of WAL is not whole; it is written anew", object=path, store=store.name)
        store.delete(path)
        store.put(path, content)
        return len(content)

    def _same_content(self, store: Store, path: str, piece: Piece) -> bool:
        if self.recipients:
            return False
        found = hashlib.sha256()
        try:
            for chunk in read_object(store, path):
                found.update(chunk)
        except TaskError as error:
            if error.reason != "ObjectDamaged":
                raise
            return False
        return found.digest() == hashlib.sha256(piece.data).digest()

    def _pack(self, data: memoryview) -> bytes:
        chunks = (bytes(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))
        packed = compress(chunks, level=self.level, threads=0)
        return b"".join(encrypt(packed, self.recipients) if self.recipients else packed)


def digest(data: memoryview) -> str:
    """The part of the SHA-256 that stands in the name of a tail."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
