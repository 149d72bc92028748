"""Cuts a tar archive into objects of bounded size while it passes.

Cuts are made before a member that would not fit any more, so that an object holds whole members and can be unpacked
by itself. Only a member larger than an object is cut inside, and its rest begins the next object.
"""

from __future__ import annotations

from collections.abc import Callable

from pgwarden.backups.ledger import Ledger, incomplete
from pgwarden.backups.record import Archive, ArchiveObject
from pgwarden.backups.tar_stream import DamagedTar, Member, TarFollower
from pgwarden.backups.upload import ObjectUpload, Uploads
from pgwarden.storage import layout

SLACK_BYTES = 1 << 20
"""An object may be larger by this: room for the header of a relation segment that is as large as an object."""


class ArchiveWriter:
    """One archive: PGDATA, or a tablespace."""

    def __init__(
        self,
        uploads: Uploads,
        ledger: Ledger,
        attempt: str,
        tablespace_oid: int | None,
        object_bytes: int,
        *,
        encrypted: bool,
        on_member: Callable[[Member], None],
    ) -> None:
        self._uploads = uploads
        self._ledger = ledger
        self._attempt = attempt
        self._tablespace_oid = tablespace_oid
        self._name = "base" if tablespace_oid is None else str(tablespace_oid)
        self._object_bytes = object_bytes
        self._most_bytes = object_bytes + SLACK_BYTES
        self._encrypted = encrypted
        self._on_member = on_member
        self._follower = TarFollower()
        self._pieces: list[tuple[ObjectUpload, int, str]] = []
        self._current: ObjectUpload | None = None
        self._written = 0

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the archive. Raises TaskError with reason BackupIncomplete."""
        size, current = len(data), self._current
        # Of large files nearly every piece lies inside the member, and is passed on as it is, without a copy.
        if current is not None and current.size + size <= self._most_bytes and self._follower.skip(size):
            current.write(data)
            self._written += size
            return
        try:
            for member, piece in self._follower.follow(memoryview(data)):
                if member is None:
                    self._add(piece)
                else:
                    self._add_member(member, piece)
        except DamagedTar as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """The archive is complete. Raises TaskError with reason BackupIncomplete when it is not."""
        try:
            self._follower.finish()
        except DamagedTar as error:
            raise self._damaged(error) from error
        if self._current is not None:
            self._current.close()

    def result(self) -> Archive:
        """The archive's part of the record; waits until all its objects are in the store. Raises what uploads raise."""
        objects = []
        for upload, offset, first_member in self._pieces:
            written = upload.future.result()
            objects.append(
                ArchiveObject(
                    path=upload.path,
                    plain_bytes=written.plain_bytes,
                    plain_sha256=written.plain_sha256,
                    stored_bytes=written.stored_bytes,
                    stored_sha256=written.stored_sha256,
                    offset=offset,
                    starts_member=bool(first_member),
                    first_member=first_member,
                )
            )
        return Archive(tablespace_oid=self._tablespace_oid, plain_bytes=self._written, objects=objects)

    def _add_member(self, member: Member, header: memoryview | bytes) -> None:
        if member.is_file:
            self._ledger.saw(self._path_in_data_folder(member.name), member.size)
        self._on_member(member)
        if self._current is not None and self._current.size + member.stored_bytes > self._object_bytes:
            self._cut()
        self._upload(member.name).write(header)
        self._written += len(header)

    def _add(self, piece: memoryview | bytes) -> None:
        while piece:
            upload = self._upload("")
            room = self._most_bytes - upload.size
            fits, piece = piece[:room], piece[room:]
            upload.write(fits)
            self._written += len(fits)
            if piece:
                self._cut()

    def _upload(self, first_member: str) -> ObjectUpload:
        if self._current is None:
            path = layout.archive_object(self._attempt, self._name, len(self._pieces), encrypted=self._encrypted)
            self._current = self._uploads.begin(path, at_most=self._most_bytes, hash_plain=False)
            self._pieces.append((self._current, self._written, first_member))
        return self._current

    def _cut(self) -> None:
        if self._current is not None:
            self._current.close()
        self._current = None

    def _path_in_data_folder(self, name: str) -> str:
        plain = name.removeprefix("./")
        return plain if self._tablespace_oid is None else f"pg_tblspc/{self._tablespace_oid}/{plain}"

    def _damaged(self, error: DamagedTar) -> Exception:
        return incomplete(f"archive {self._name}: {error}")
