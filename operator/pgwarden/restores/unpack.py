"""Unpacks a tar stream as PostgreSQL's BASE_BACKUP sends it, while it arrives.

The format is POSIX ustar (PostgreSQL documentation, "Streaming Replication Protocol", BASE_BACKUP: one archive for the
data directory and one for each tablespace). The server sends plain files and directories with relative names only
(tablespaces stand in tablespace_map), so everything else is refused: the archive comes from a store that others can
write to, and a name such as `../x` or a link would let it reach outside the folder it is unpacked into.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pgwarden.jobs.errors import TaskError

BLOCK = 512
NAME = slice(0, 100)
SIZE = slice(124, 136)
CHECKSUM = slice(148, 156)
TYPE = slice(156, 157)
MAGIC = slice(257, 262)
PREFIX = slice(345, 500)
REGULAR_FILE = (b"0", b"\0")
DIRECTORY = b"5"
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)

Placer = Callable[[PurePosixPath, bool], Path | None]
"""(name, whether it is a folder) -> where the member belongs on the volume; None drops it."""


class Unpacker:
    """Takes a tar stream in pieces of any size and writes its members.

    Files get mode 0600 and folders 0700, whatever the archive says: PostgreSQL wants it so, and the volume may have
    been opened to a group (fsGroup). Nothing is synced to disk here.
    """

    def __init__(self, archive: str, place: Placer) -> None:
        self.archive = archive
        """What is read now, for messages; the caller may change it from piece to piece."""
        self.files = 0
        self._place = place
        self._block = bytearray()
        self._file = -1
        self._remaining = 0
        self._padding = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Unpacks one piece. Raises TaskError with reason ObjectDamaged, HostileArchive or VolumeFull."""
        view = memoryview(data)
        while len(view):
            if self._remaining:
                view = self._body(view)
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                view = self._header(view)

    def finish(self) -> None:
        """Says that the stream has ended. Raises TaskError with reason ObjectDamaged when a member is incomplete."""
        incomplete = self._remaining > 0 or len(self._block) > 0
        self.close()
        if incomplete:
            raise self._damaged("it ends in the middle of a member")

    def close(self) -> None:
        """Lets go of the file that is being written, if there is one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _body(self, view: memoryview) -> memoryview:
        piece = view[: self._remaining]
        if self._file >= 0:
            self._write(piece)
        self._remaining -= len(piece)
        if not self._remaining:
            self.close()
        return view[len(piece) :]

    def _write(self, piece: memoryview) -> None:
        with volume_full_is_told(self.archive):
            while len(piece):
                piece = piece[os.write(self._file, piece) :]

    def _header(self, view: memoryview) -> memoryview:
        wanted = BLOCK - len(self._block)
        self._block += view[:wanted]
        if len(self._block) == BLOCK:
            block = bytes(self._block)
            self._block.clear()
            self._begin_member(block)
        return view[wanted:]

    def _begin_member(self, block: bytes) -> None:
        if not any(block):
            self._ended = True
            return
        if self._ended:
            raise self._damaged("there is something after its end")
        if block[MAGIC] != b"ustar" or checksum(block) != self._number(block[CHECKSUM]):
            raise self._damaged("a member's header is not one of a tar archive")
        size = self._number(block[SIZE])
        name = self._name(block)
        if block[TYPE] == DIRECTORY:
            self._make_folder(name)
        elif block[TYPE] in REGULAR_FILE:
            self._begin_file(name, size)
        else:
            raise self._hostile(f"its member {str(name)!r} is neither a file nor a folder")
        self._remaining = size
        self._padding = -size % BLOCK
        if not size:
            self.close()

    def _make_folder(self, name: PurePosixPath) -> None:
        folder = self._place(name, True)
        if folder is not None:
            with volume_full_is_told(self.archive):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _begin_file(self, name: PurePosixPath, size: int) -> None:
        path = self._place(name, False)
        self.files += 1
        if path is None:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with volume_full_is_told(self.archive):
            try:
                self._file = os.open(path, flags, 0o600)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(path, flags, 0o600)
            except (FileExistsError, NotADirectoryError) as error:
                raise self._hostile(f"its member {str(name)!r} is there twice, or beneath a file") from error

    def _name(self, block: bytes) -> PurePosixPath:
        parts = [os.fsdecode(block[field].split(b"\0", 1)[0]) for field in (PREFIX, NAME)]
        text = "/".join(part for part in parts if part)
        if not text or text.startswith("/") or ".." in text.split("/"):
            raise self._hostile(f"its member {text!r} lies outside of it")
        return PurePosixPath(text)

    def _number(self, field: bytes) -> int:
        """A number in octal, or in base 256 when the first bit is set, as PostgreSQL writes sizes from 8 GiB on."""
        if field[0] & 0x80:
            return int.from_bytes(field[1:], "big")
        try:
            return int(field.strip(b" \0") or b"0", 8)
        except ValueError as error:
            raise self._damaged("a number in a member's header cannot be read") from error

    def _damaged(self, what: str) -> TaskError:
        return TaskError(
            "ObjectDamaged",
            f"the archive {self.archive} cannot be unpacked: {what}",
            remedy="Restore another backup, and have this one's objects checked against its backup.json.",
        )

    def _hostile(self, what: str) -> TaskError:
        return TaskError(
            "HostileArchive",
            f"the archive {self.archive} was not written by PostgreSQL: {what}",
            remedy="Find out who can write to the store, and restore a backup from before.",
        )


def checksum(block: bytes) -> int:
    """The sum of a header's bytes, with the checksum itself counted as blanks (POSIX, pax, "ustar")."""
    return sum(block) - sum(block[CHECKSUM]) + 8 * ord(" ")


class volume_full_is_told:  # noqa: N801 - reads as a sentence after `with`
    """Turns "no space left on device" into a TaskError with reason VolumeFull."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:
            raise TaskError(
                "VolumeFull",
                f"the data volume ran full while {self.what} was written: {error.strerror}",
                remedy="Give the new instance a larger claim (spec.target.newInstance.storage.size), the drill a "
                "larger volume (spec.target.drill.storage.size), or a restore in place more room beside the old data, "
                "and make a new RestoreRequest.",
            ) from error
