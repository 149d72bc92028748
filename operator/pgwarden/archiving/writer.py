"""Writes into an archive of WAL: create-only, and never beside something else at the same position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from pgwarden.api.wal import format_lsn
from pgwarden.archiving.restore_points import RestorePoint, restore_points
from pgwarden.archiving.trouble import conflict
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.authenticity import name_proof
from pgwarden.storage.compression import compress_whole
from pgwarden.storage.encryption import encrypt_whole
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import ObjectExists, Store

DIGEST_DIGITS = 16

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
    path: str = ""
    """Where it is stored, once it is packed."""
    before: bytes = b""
    """The last bytes of the segment before, of a piece that begins a segment; empty where they are not known."""


@dataclass(frozen=True)
class Compressed:
    """What a piece of WAL comes to, so that its plain bytes can be let go of."""

    content: bytes
    sha256: str
    """Of the plain bytes, in lower-case hex."""
    points: Sequence[RestorePoint] = ()
    """Restore points in it."""


@dataclass(frozen=True)
class Packed:
    """A piece as it goes into the store."""

    path: str
    content: bytes
    sha256: str
    """Of the plain bytes, in lower-case hex."""
    checksum_path: str = ""
    """Where the checksum of a whole segment lies; tails have it in their name."""
    checksum: bytes = b""
    points: Mapping[str, bytes] = field(default_factory=dict)
    """Path and content of what tells of each restore point in it."""


@dataclass(frozen=True)
class ArchiveWriter:
    """Writes pieces of WAL into one archive: compressed and packed once, then written until the store has taken it."""

    archive: str
    level: int
    recipients: Sequence[Any] = ()
    key: bytes | None = None
    """The store's catalogue key, where it has one: it proves what is told of restore points."""

    def compress(self, piece: Piece) -> Compressed:
        """Most of the work: what `write` waits for is the store."""
        content = compress_whole(piece.data, level=self.level)
        points = restore_points(piece.data, piece.start, piece.segment_start, piece.before)
        return Compressed(content, hashlib.sha256(piece.data).hexdigest(), points)

    def pack(self, piece: Piece, compressed: Compressed) -> Packed:
        """Encrypts, where there are recipients, and names what is stored; of the piece itself no bytes are needed."""
        content, sha256 = compressed.content, compressed.sha256
        if self.recipients:
            content = encrypt_whole(content, self.recipients)
        points = dict(self._told(piece.timeline, point) for point in compressed.points)
        if not piece.whole:
            return Packed(self._tail_path(piece, sha256), content, sha256, points=points)
        return Packed(
            path=layout.segment_object(self.archive, piece.segment, encrypted=bool(self.recipients)),
            content=content,
            sha256=sha256,
            checksum_path=layout.checksum_object(self.archive, piece.segment),
            checksum=f"{sha256}  {piece.segment}\n".encode(),
            points=points,
        )

    def write(self, store: Store, packed: Packed) -> int:
        """Stores a piece; returns its stored bytes, 0 when it was there. Raises TaskError: ArchiveConflict, and what
        `Store` raises."""
        stored = self._write_segment(store, packed) if packed.checksum else self._write_tail(store, packed)
        for path, content in packed.points.items():
            # Told with the tail already, or by the archiver before: a name can mean one record only.
            with suppress(ObjectExists):
                store.put(path, content)
        return stored

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

    def _told(self, timeline: int, point: RestorePoint) -> tuple[str, bytes]:
        """Path and content of the object that tells of a restore point."""
        told = {
            "schemaVersion": 1,
            "name": point.name.decode("utf-8", "replace"),
            "time": point.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "timeline": timeline,
            "lsn": format_lsn(point.position),
        }
        named = (self.archive, point.time, timeline, point.position, point.name)
        proof = "" if self.key is None else name_proof(layout.point_name(*named), self.key)
        return layout.point_object(*named, proof), json.dumps(told).encode() + b"\n"

    def _tail_path(self, piece: Piece, sha256: str) -> str:
        start, end = piece.start - piece.segment_start, piece.end - piece.segment_start
        keyed = sha256[:DIGEST_DIGITS]
        return layout.tail_object(
            self.archive, piece.segment, start, end, encrypted=bool(self.recipients), digest=keyed
        )

    def _write_tail(self, store: Store, packed: Packed) -> int:
        try:
            store.put(packed.path, packed.content)
        except ObjectExists:  # of the same digest
            return self._replace_if_cut(store, packed)
        return len(packed.content)

    def _write_segment(self, store: Store, packed: Packed) -> int:
        """The checksum first: then whoever finds the segment there can compare, though it may be encrypted."""
        new = self.put_same(store, packed.checksum_path, packed.checksum)
        try:
            store.put(packed.path, packed.content)
        except ObjectExists:
            if new and not self._same_content(store, packed):
                store.delete(packed.checksum_path)
                raise conflict(
                    f"{packed.path} in the store ({store.name}) was there without a checksum, and is not what the "
                    "server sent or cannot be read to compare"
                ) from None
            return self._replace_if_cut(store, packed)
        return len(packed.content)

    def _replace_if_cut(self, store: Store, packed: Packed) -> int:
        """Makes an object whole that is known to be made of the same WAL; returns the bytes stored.

        A server may have kept the part of a body that came before the connection broke. Another size alone may come of
        another level, or of other recipients: what can be read is compared, and what is larger was not cut. The WAL is
        not acknowledged yet, so that nothing is lost should we end in between. Raises what `Store` raises.
        """
        path, content = packed.path, packed.content
        found = store.head(path)
        if found is not None and (found.size >= len(content) or self._same_content(store, packed)):
            return 0
        log.warning("an object of WAL is not whole; it is written anew", object=path, store=store.name)
        store.delete(path)
        store.put(path, content)
        return len(content)

    def _same_content(self, store: Store, packed: Packed) -> bool:
        if self.recipients:
            return False
        found = hashlib.sha256()
        try:
            for chunk in read_object(store, packed.path):
                found.update(chunk)
        except TaskError as error:
            if error.reason != "ObjectDamaged":
                raise
            return False
        return found.hexdigest() == packed.sha256


def digest(data: memoryview) -> str:
    """The part of the SHA-256 that stands in the name of a tail."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
