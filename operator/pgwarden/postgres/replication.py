"""The commands of the streaming replication protocol that backups need.

PostgreSQL documentation: "Frontend/Backend Protocol > Streaming Replication Protocol". All of them wait in short steps
and call `idle` in between, so that a stalled server does not keep an agent from ending.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import pq, sql
from psycopg.pq import abc

from pgwarden.jobs.errors import TaskError

IDLE_MILLISECONDS = 500
GATHERED_BYTES = 1 << 20
"""The server sends its data in messages of 32 KiB: to pass on one by one they would cost more than to compress."""
DATA_CORRUPTED = "XX001"
NOT_IN_PREREQUISITE_STATE = "55000"
# Tags of the messages inside BASE_BACKUP's copy stream.
NEW_ARCHIVE, MANIFEST, DATA, PROGRESS = b"nmdp"


@dataclass(frozen=True)
class SystemIdentity:
    """Answer to IDENTIFY_SYSTEM."""

    system_identifier: str
    timeline: int
    flush_lsn: str


@dataclass(frozen=True)
class TablespaceInfo:
    """One line of BASE_BACKUP's list of tablespaces; PGDATA itself has no OID."""

    oid: int | None
    location: str | None
    estimated_bytes: int


@dataclass(frozen=True)
class BackupStart:
    start_lsn: str
    timeline: int
    tablespaces: list[TablespaceInfo]


@dataclass(frozen=True)
class BackupEnd:
    stop_lsn: str
    timeline: int
    checksum_failure: str
    """What the server said of pages with wrong checksums; empty when there were none."""


@dataclass(frozen=True)
class ArchiveBegins:
    """The data that follow are the tar archive of a tablespace; None is PGDATA."""

    tablespace_oid: int | None


@dataclass(frozen=True)
class ManifestBegins:
    """The data that follow are backup_manifest."""


@dataclass(frozen=True)
class BaseBackupOptions:
    """What is asked of the server beside what always is: see `BaseBackup`."""

    label: str
    max_rate_kib: int = 0
    """KiB/s; 0 is unlimited."""
    incremental: bool = False
    """Only what changed since the backup whose manifest was uploaded."""


class NotInRequiredState(TaskError):
    """The server cannot do it as it stands now: SQLSTATE 55000, whose sentences depend on lc_messages."""


def identify_system(connection: abc.PGconn) -> SystemIdentity:
    """IDENTIFY_SYSTEM. Raises TaskError with reason ReplicationCommandFailed."""
    row = _rows(_execute(connection, sql.SQL("IDENTIFY_SYSTEM")))[0]
    return SystemIdentity(system_identifier=row[0] or "", timeline=int(row[1] or 0), flush_lsn=row[2] or "")


def create_temporary_slot(connection: abc.PGconn, name: str) -> None:
    """Creates a physical slot that lives as long as the connection and keeps all WAL from now on.

    Raises TaskError: NoReplicationSlot when none is left, ReplicationCommandFailed.
    """
    command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL (RESERVE_WAL true)").format(sql.Identifier(name))
    try:
        _execute(connection, command)
    except TaskError as error:
        if "max_replication_slots" not in error.message and "replication slots are in use" not in error.message:
            raise
        raise TaskError(
            "NoReplicationSlot",
            f"the server has no replication slot left for the backup: {error.message}",
            remedy="Raise max_replication_slots by one, or drop a slot that nothing uses (pg_replication_slots).",
        ) from error


def timeline_history(connection: abc.PGconn, timeline: int) -> str:
    """Content of a timeline's history file. Raises TaskError with reason ReplicationCommandFailed."""
    command = sql.SQL("TIMELINE_HISTORY {}").format(sql.Literal(timeline))
    return _rows(_execute(connection, command))[0][1] or ""


@dataclass
class BaseBackup:
    """One run of BASE_BACKUP: for an incremental `upload_manifest`, then `begin`, all of `messages`, `end`.

    Always asked for: a fast checkpoint, no waiting for the server's archiver, tablespace_map in place of links, the WAL
    from start to end inside the base archive, a manifest with SHA-256 of every file, checksums verified.
    """

    connection: abc.PGconn
    idle: Callable[[], None]
    """Called at least twice a second while waiting; what it raises ends the backup."""
    _poll: select.poll = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(self.connection.socket, select.POLLIN)

    def upload_manifest(self, chunks: Iterable[bytes]) -> None:
        """Sends the manifest that the backup will hold the changes since.

        Raises TaskError: ManifestRefused when the server does not take it, and what `chunks` raises.
        """
        self.connection.send_query(b"UPLOAD_MANIFEST")
        self._result(pq.ExecStatus.COPY_IN)
        try:
            for chunk in chunks:
                self.idle()
                self.connection.put_copy_data(chunk)
            self.connection.put_copy_end()
        except psycopg.Error as error:
            raise interrupted(str(error)) from error
        while (result := self._next_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise TaskError(
                    "ManifestRefused",
                    f"the server refused the manifest of the parent backup: {_said(result)}",
                    remedy="Take a new full backup; incrementals are taken on it from then on.",
                )

    def begin(self, options: BaseBackupOptions) -> BackupStart:
        """Sends the command and waits for the checkpoint.

        Raises TaskError with reason BaseBackupFailed; it is a NotInRequiredState where an incremental is refused.
        """
        self.connection.send_query(_command(options).as_bytes(None))
        started = _rows(self._result(pq.ExecStatus.TUPLES_OK))[0]
        spaces = _rows(self._result(pq.ExecStatus.TUPLES_OK))
        self._result(pq.ExecStatus.COPY_OUT)
        tablespaces = [
            TablespaceInfo(oid=int(oid) if oid else None, location=location, estimated_bytes=int(kib or 0) * 1024)
            for oid, location, kib in spaces
        ]
        return BackupStart(start_lsn=started[0] or "", timeline=int(started[1] or 0), tablespaces=tablespaces)

    def messages(self) -> Iterator[bytes | ArchiveBegins | ManifestBegins]:
        """Archives and manifest as they come: what begins, then its bytes in pieces of about 1 MiB.

        Raises TaskError with reason BackupInterrupted.
        """
        connection = self.connection
        gathered: list[memoryview] = []
        gathered_bytes = 0
        while True:
            try:
                size, message = connection.get_copy_data(1)
            except psycopg.Error as error:
                raise interrupted(str(error)) from error
            if size > 0 and message[0] == DATA:
                gathered.append(message[1:])
                gathered_bytes += size
                if gathered_bytes < GATHERED_BYTES:
                    continue
            if size == 0:
                self._wait()
                continue
            if gathered:
                yield b"".join(gathered)
                gathered, gathered_bytes = [], 0
            if size < 0:
                return
            if message[0] not in (DATA, PROGRESS):
                yield _beginning(message)

    def end(self) -> BackupEnd:
        """What the server says after the last message. Raises TaskError: BaseBackupFailed, BackupInterrupted."""
        ended = _rows(self._result(pq.ExecStatus.TUPLES_OK))[0]
        # Pages with wrong checksums are reported by an error after everything has been sent.
        failure = ""
        while (result := self._next_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                if _sqlstate(result) != DATA_CORRUPTED:
                    raise failed(_said(result))
                failure = _said(result)
        return BackupEnd(stop_lsn=ended[0] or "", timeline=int(ended[1] or 0), checksum_failure=failure)

    def _result(self, expected: pq.ExecStatus) -> abc.PGresult:
        result = self._next_result()
        if result is None:
            raise interrupted("the server ended the command early")
        if result.status != expected:
            raise failed(_said(result), _sqlstate(result))
        return result

    def _next_result(self) -> abc.PGresult | None:
        while self.connection.is_busy():
            self._wait()
        return self.connection.get_result()

    def _wait(self) -> None:
        """Waits a little for the server, and takes what it sent."""
        if not self._poll.poll(IDLE_MILLISECONDS):
            self.idle()
            return
        try:
            self.connection.consume_input()
        except psycopg.Error as error:
            raise interrupted(str(error)) from error


def _beginning(message: memoryview) -> ArchiveBegins | ManifestBegins:
    """What a message announces. Raises TaskError with reason BackupInterrupted."""
    if message[0] == MANIFEST:
        return ManifestBegins()
    if message[0] == NEW_ARCHIVE:
        name = bytes(message[1:]).split(b"\0", 1)[0].decode()
        return ArchiveBegins(None if name == "base.tar" else int(name.removesuffix(".tar")))
    raise interrupted(f"the server sent a message of unknown type {message[0]}")


def interrupted(said: str) -> TaskError:
    return TaskError(
        "BackupInterrupted",
        f"the connection to the server broke during the backup: {' '.join(said.split())}",
        remedy="It is tried again by itself. The server's log tells why it ended the connection.",
        retryable=True,
    )


def failed(said: str, sqlstate: str = "") -> TaskError:
    kind = NotInRequiredState if sqlstate == NOT_IN_PREREQUISITE_STATE else TaskError
    return kind(
        reason="BaseBackupFailed",
        message=f"the server refused or gave up the base backup: {said}",
        remedy="The server's log tells more; a role for backups is made by docs/sql/backup-role.sql.",
        retryable=True,
    )


def _command(options: BaseBackupOptions) -> sql.Composed:
    parts: list[sql.Composable] = [
        sql.SQL("LABEL {}").format(sql.Literal(options.label)),
        sql.SQL("PROGRESS true"),
        sql.SQL("CHECKPOINT 'fast'"),
        sql.SQL("WAL true"),
        sql.SQL("WAIT false"),
        sql.SQL("TABLESPACE_MAP true"),
        sql.SQL("VERIFY_CHECKSUMS true"),
        sql.SQL("MANIFEST 'yes'"),
        sql.SQL("MANIFEST_CHECKSUMS 'SHA256'"),
    ]
    if options.incremental:
        parts.append(sql.SQL("INCREMENTAL true"))
    if options.max_rate_kib:
        parts.append(sql.SQL("MAX_RATE {}").format(sql.Literal(options.max_rate_kib)))
    return sql.SQL("BASE_BACKUP ({})").format(sql.SQL(", ").join(parts))


def _execute(connection: abc.PGconn, command: sql.SQL | sql.Composed) -> abc.PGresult:
    result = connection.exec_(command.as_bytes(None))
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise TaskError(
            "ReplicationCommandFailed",
            f"the server refused a replication command: {_said(result)}",
            remedy="The server's log tells more; a role for backups is made by docs/sql/backup-role.sql.",
            retryable=True,
        )
    return result


def _rows(result: abc.PGresult) -> list[list[str | None]]:
    return [
        [
            None if (value := result.get_value(row, column)) is None else value.decode()
            for column in range(result.nfields)
        ]
        for row in range(result.ntuples)
    ]


def _sqlstate(result: abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()


def _said(result: abc.PGresult) -> str:
    message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    detail = (result.error_field(pq.DiagnosticField.MESSAGE_DETAIL) or b"").decode(errors="replace")
    said = " ".join(part for part in (message, detail) if part)
    return f"{said} (SQLSTATE {_sqlstate(result)})" if said else pq.ExecStatus(result.status).name
