"""Takes what the server sends during a base backup, and sees to it that all of it arrives in the store."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from pgwarden.backups.archive_writer import ArchiveWriter
from pgwarden.backups.contract import BackupTask
from pgwarden.backups.ledger import Ledger
from pgwarden.backups.record import Archive, StoredObject
from pgwarden.backups.tar_stream import Member
from pgwarden.backups.upload import ObjectUpload, Uploads
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.replication import ArchiveBegins, ManifestBegins
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing

MANIFEST_AT_MOST_BYTES = 64 << 30
REPORT_BYTES = 4 << 20
DATA_FOLDER_WITNESS = "PG_VERSION"
"""A file of PGDATA whose owner is that of PGDATA."""


@dataclass(frozen=True)
class Watcher:
    """How a backup tells how far it is, and learns that it has to end."""

    progress: Callable[[int, int], None]
    """Bytes received and bytes expected."""
    check_stop: Callable[[], None]
    """Raises when the agent was told to stop."""


@dataclass(frozen=True)
class Contents:
    """What was uploaded."""

    archives: list[Archive]
    manifest: StoredObject
    manifest_files: int
    owner: Member | None


class Receiver:
    """Hands what the server sends to the archives' writers and to the manifest's upload."""

    def __init__(
        self, task: BackupTask, uploads: Uploads, manifest_packing: Packing, expected_bytes: int, watcher: Watcher
    ) -> None:
        self._task = task
        self._uploads = uploads
        self._manifest_packing = manifest_packing
        self._expected = expected_bytes
        self._watcher = watcher
        self._encrypted = bool(task.store.recipients)
        self._attempt = layout.attempt_folder(task.attempt, secrets.token_hex(4))
        self._ledger = Ledger()
        self._writers: list[ArchiveWriter] = []
        self._writer: ArchiveWriter | None = None
        self._manifest: ObjectUpload | None = None
        self._received = 0
        self._reported = 0
        self._owner: Member | None = None

    def receive(self, message: bytes | ArchiveBegins | ManifestBegins) -> None:
        """Takes the next message. Raises TaskError."""
        if isinstance(message, bytes):
            if self._writer is not None:
                self._writer.write(message)
                self._received += len(message)
                if self._received - self._reported >= REPORT_BYTES:
                    self._tell()
            elif self._manifest is not None:
                self._ledger.read_manifest(message)
                self._manifest.write(message)
            return
        self._end_archive()
        if isinstance(message, ArchiveBegins):
            self._begin_archive(message.tablespace_oid)
        else:
            path = layout.manifest_object(self._attempt, encrypted=self._encrypted)
            self._manifest = self._uploads.begin(
                path, at_most=MANIFEST_AT_MOST_BYTES, hash_plain=True, packing=self._manifest_packing
            )

    def close(self) -> None:
        """The server has sent everything. Raises TaskError with reason BackupIncomplete."""
        self._end_archive()
        self._ledger.finish()
        if self._manifest is not None:
            self._manifest.close()

    def contents(self) -> Contents:
        """What lies in the store now; waits for the uploads. Raises what they raise."""
        if self._manifest is None:
            raise TaskError("BackupIncomplete", "the server sent no manifest", retryable=True)
        written = self._manifest.future.result()
        manifest = StoredObject(
            path=self._manifest.path,
            plain_bytes=written.plain_bytes,
            plain_sha256=written.plain_sha256,
            stored_bytes=written.stored_bytes,
            stored_sha256=written.stored_sha256,
        )
        archives = [writer.result() for writer in self._writers]
        return Contents(archives, manifest, self._ledger.listed_files, self._owner)

    def _begin_archive(self, tablespace_oid: int | None) -> None:
        self._writer = ArchiveWriter(
            self._uploads,
            self._ledger,
            self._attempt,
            tablespace_oid,
            self._task.object_bytes,
            encrypted=self._encrypted,
            on_member=self._see,
        )
        self._writers.append(self._writer)

    def _end_archive(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _see(self, member: Member) -> None:
        if member.name == DATA_FOLDER_WITNESS:
            self._owner = member

    def _tell(self) -> None:
        self._reported = self._received
        # The server's estimate knows nothing of the WAL that comes at the end.
        self._watcher.progress(self._received, max(self._expected, self._received + 1))
        self._watcher.check_stop()
