"""Follows a tar archive while it passes, to know where its members begin and how large they are. Pure.

The format is POSIX ustar as PostgreSQL writes it (src/port/tar.c): 512-byte headers, contents padded to 512 bytes,
sizes in octal or, from 8 GiB, in GNU's base-256; two blocks of zeros end an archive.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK_BYTES = 512


class DamagedTar(Exception):
    """What passed is not a tar archive."""


@dataclass(frozen=True)
class Member:
    """One member, as its header tells."""

    name: str
    size: int
    is_file: bool
    uid: int
    gid: int
    mode: int

    @property
    def stored_bytes(self) -> int:
        """Header, contents and padding."""
        return BLOCK_BYTES + -(-self.size // BLOCK_BYTES) * BLOCK_BYTES


class TarFollower:
    """Splits a stream into pieces, each of which begins with a member's header or nowhere in particular."""

    def __init__(self) -> None:
        self._header = b""
        self._content = 0
        """Bytes of the current member's contents and padding that are still to come."""
        self._zero_blocks = 0

    def follow(self, data: memoryview) -> Iterator[tuple[Member | None, memoryview | bytes]]:
        """The pieces of `data`; a piece that begins with a header is given with its member. Raises DamagedTar."""
        while data:
            if self._content:
                piece, data = data[: self._content], data[self._content :]
                self._content -= len(piece)
                yield None, piece
                continue
            missing = BLOCK_BYTES - len(self._header)
            self._header += data[:missing]
            data = data[missing:]
            if len(self._header) == BLOCK_BYTES:
                header, self._header = self._header, b""
                yield self._member(header), header

    def skip(self, size: int) -> bool:
        """Passes over `size` bytes when all of them are contents of the current member; tells whether they were."""
        if size > self._content:
            return False
        self._content -= size
        return True

    def finish(self) -> None:
        """Raises DamagedTar unless the archive has ended."""
        if self._content or self._header or self._zero_blocks != 2:
            raise DamagedTar("the archive ends in the middle")

    def _member(self, header: bytes) -> Member | None:
        if not any(header):
            self._zero_blocks += 1
            return None
        if self._zero_blocks:
            raise DamagedTar("something follows the end of the archive")
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise DamagedTar(f"a header is damaged: {error}") from error
        size = info.size if info.isreg() else 0
        member = Member(info.name, size, info.isreg(), info.uid, info.gid, info.mode)
        self._content = member.stored_bytes - BLOCK_BYTES
        return member
