"""Takes one full physical backup: BASE_BACKUP, cut into objects, compressed, encrypted, uploaded, then committed.

Nothing is staged on disk. backup.json is written last, and only when every object is in the store and every file has
the size that the server's manifest says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pgwarden
from pgwarden.backups.archive_writer import ArchiveWriter
from pgwarden.backups.by_hand import restore_script
from pgwarden.backups.contract import BackupTask
from pgwarden.backups.inventory import OPERATION, Inventory, take_inventory
from pgwarden.backups.ledger import Ledger
from pgwarden.backups.record import Archive, BackupRecord, StoredObject, Tablespace
from pgwarden.backups.tar_stream import Member
from pgwarden.backups.upload import ObjectUpload, Uploads
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.connection import connect_for_replication, refuse_old_server
from pgwarden.postgres.replication import (
    ArchiveBegins,
    BackupEnd,
    BackupStart,
    BaseBackup,
    BaseBackupOptions,
    ManifestBegins,
    create_temporary_slot,
    identify_system,
)
from pgwarden.storage import layout
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.objects import Packing
from pgwarden.storage.store import Store

LEAST_RATE_KIB, MOST_RATE_KIB = 32, 1 << 20
"""What MAX_RATE of BASE_BACKUP accepts."""
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


def take_backup(task: BackupTask, store: Store, location: str, watcher: Watcher) -> BackupRecord:
    """Uploads everything of a backup and returns its record, which the caller commits.

    Raises TaskError: ServerTooOld, SystemIdentifierMismatch, NoReplicationSlot, BaseBackupFailed, BackupInterrupted,
    BackupIncomplete, InvalidRecipient, and what connections and stores raise.
    """
    recipients = parse_recipients(task.store.recipients)
    started = datetime.now(UTC)
    connection = connect_for_replication(task.database, OPERATION)
    try:
        refuse_old_server(connection.server_version, task.database)
        identity = identify_system(connection)
        _check_system_identifier(task, identity.system_identifier)
        inventory = take_inventory(task.database, watcher.check_stop)
        _check_same_server(task, identity.system_identifier, inventory.system_identifier)
        create_temporary_slot(connection, f"pgwarden_{secrets.token_hex(8)}")
        run = BaseBackup(connection, watcher.check_stop)
        begun = run.begin(BaseBackupOptions(label=f"pgwarden {task.backup_id}", max_rate_kib=_rate(task)))
        packing = Packing(task.compression_level, task.compression_threads, recipients)
        with Uploads(store, location, packing, watcher.check_stop) as uploads:
            receiver = Receiver(task, uploads, sum(space.estimated_bytes for space in begun.tablespaces), watcher)
            for message in run.messages():
                receiver.receive(message)
            ended = run.end()
            receiver.close()
            contents = receiver.contents()
    finally:
        connection.finish()
    return _record(task, location, inventory, begun, ended, contents, (started, datetime.now(UTC)))


@dataclass(frozen=True)
class Contents:
    """What was uploaded."""

    archives: list[Archive]
    manifest: StoredObject
    manifest_files: int
    owner: Member | None


class Receiver:
    """Hands what the server sends to the archives' writers and to the manifest's upload."""

    def __init__(self, task: BackupTask, uploads: Uploads, expected_bytes: int, watcher: Watcher) -> None:
        self._task = task
        self._uploads = uploads
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

    def receive(self, message: memoryview | ArchiveBegins | ManifestBegins) -> None:
        """Takes the next message. Raises TaskError."""
        if isinstance(message, memoryview):
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
            self._manifest = self._uploads.begin(path, at_most=MANIFEST_AT_MOST_BYTES, hash_plain=True)

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


def _check_system_identifier(task: BackupTask, found: str) -> None:
    if task.expected_system_identifier not in (None, found):
        raise TaskError(
            "SystemIdentifierMismatch",
            f"the server {task.database.host}:{task.database.port} has system identifier {found}, not "
            f"{task.expected_system_identifier}: it is another cluster than the one this archive belongs to",
            remedy="Correct the address in the DatabaseCluster. After pg_upgrade or a new initdb, make a new "
            "DatabaseCluster, or wait until the operator has seen the new identifier.",
        )


def _check_same_server(task: BackupTask, replication: str, queries: str) -> None:
    if replication != queries:
        raise TaskError(
            "SystemIdentifierMismatch",
            f"two connections to {task.database.host}:{task.database.port} reached different clusters "
            f"({replication} and {queries})",
            remedy="Give the address of one server, not of a balancer in front of several clusters.",
        )


def _rate(task: BackupTask) -> int:
    """MAX_RATE within what the server accepts; 0 is unlimited."""
    return min(max(task.max_rate_kib, LEAST_RATE_KIB), MOST_RATE_KIB) if task.max_rate_kib else 0


def _record(
    task: BackupTask,
    location: str,
    inventory: Inventory,
    begun: BackupStart,
    ended: BackupEnd,
    contents: Contents,
    times: tuple[datetime, datetime],
) -> BackupRecord:
    server = inventory.server
    if contents.owner is not None:
        server.owner_uid, server.owner_gid = contents.owner.uid, contents.owner.gid
    tablespaces = [
        Tablespace(
            oid=space.oid,
            name=inventory.tablespace_names.get(space.oid, ""),
            location=space.location or "",
            estimated_bytes=space.estimated_bytes,
        )
        for space in begun.tablespaces
        if space.oid is not None
    ]
    return BackupRecord(
        pgwarden_version=pgwarden.__version__,
        backup_id=task.backup_id,
        attempt=task.attempt,
        cluster_uid=task.archive.cluster_uid,
        system_identifier=inventory.system_identifier,
        timeline=begun.timeline,
        start_lsn=begun.start_lsn,
        stop_lsn=ended.stop_lsn,
        start_time=times[0],
        stop_time=times[1],
        damaged=bool(ended.checksum_failure),
        damage=ended.checksum_failure,
        server=server,
        archives=contents.archives,
        manifest=contents.manifest,
        manifest_files=contents.manifest_files,
        tablespaces=tablespaces,
        recipients=task.store.recipients,
        compression=f"zstd level {task.compression_level}",
        restore_by_hand=restore_script(
            backup_id=task.backup_id,
            location=location,
            version=server.version,
            archives=contents.archives,
            manifest=contents.manifest,
            tablespaces=tablespaces,
            encrypted=bool(task.store.recipients),
        ),
    )
