"""Receiving WAL: START_REPLICATION on a physical slot, and the history files of timelines.

PostgreSQL documentation: "Frontend/Backend Protocol > Streaming Replication Protocol". What the server refuses is
recognised by SQLSTATE: its sentences depend on lc_messages.
"""

from __future__ import annotations

import select
import struct
import time
from dataclasses import dataclass

import psycopg
from psycopg import pq, sql
from psycopg.pq import abc

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import connect_for_replication
from pgwarden.postgres.replication import SystemIdentity, identify_system

COMMAND_SECONDS = 30.0
POSTGRES_EPOCH = 946_684_800
"""2000-01-01 UTC in seconds after 1970."""
UNDEFINED_FILE = "58P01"
# Tags of the messages inside the copy stream, and what follows them (the first: start, end of WAL, clock).
DATA, KEEPALIVE = b"wk"
DATA_HEADER = struct.Struct("!xqqq")
KEEPALIVE_BODY = struct.Struct("!xqqB")
STATUS_UPDATE = struct.Struct("!cqqqqB")


@dataclass(frozen=True)
class WALData:
    """Bytes of WAL that begin at `start`; the server had written up to `server_end` when it sent them."""

    start: int
    data: memoryview
    server_end: int


@dataclass(frozen=True)
class Keepalive:
    server_end: int
    reply_requested: bool


@dataclass(frozen=True)
class TimelineEnd:
    """All WAL of the timeline has been sent; `next_timeline` branches off at `switch`."""

    next_timeline: int
    switch: int


class LSN(sql.Composable):
    """A position as replication commands take it: bare, where a literal would be quoted."""

    def __init__(self, position: int) -> None:
        super().__init__(position)

    def as_bytes(self, context: object = None) -> bytes:
        return format_lsn(self._obj).encode()


class WALStream:
    """One replication connection: `identify`, `history`, then `begin` and `receive` again and again. Close it."""

    def __init__(self, address: DatabaseAddress, operation: str) -> None:
        """Connects. Raises TaskError as `pgwarden.postgres.failure.diagnose` describes it."""
        self._connection: abc.PGconn = connect_for_replication(address, operation)
        self._connection.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self._connection.socket, select.POLLIN)

    @property
    def backend_pid(self) -> int:
        """The WAL sender's process id, as pg_stat_replication shows it."""
        return self._connection.backend_pid

    def identify(self) -> SystemIdentity:
        """IDENTIFY_SYSTEM. Raises TaskError with reason ReplicationCommandFailed."""
        return identify_system(self._connection)

    def history(self, timeline: int) -> bytes | None:
        """The history file of a timeline, None when the server has none. Raises TaskError."""
        result = self._command(sql.SQL("TIMELINE_HISTORY {}").format(sql.Literal(timeline)))
        if result.status == pq.ExecStatus.TUPLES_OK:
            self._finish_command()
            return result.get_value(0, 1)
        if sqlstate(result) == UNDEFINED_FILE:
            self._finish_command()
            return None
        raise refused(result)

    def begin(self, timeline: int, start: int, slot: str = "") -> TimelineEnd | None:
        """Asks for the WAL of a timeline from `start` on; a TimelineEnd when there is nothing more on it.

        Without a slot nothing is kept for us. Raises TaskError: SlotInUse, SlotMissing, SlotInvalidated, and
        ReplicationInterrupted. That the WAL is gone is told by the first `receive`.
        """
        used = sql.SQL("SLOT {} ").format(sql.Identifier(slot)) if slot else sql.SQL("")
        command = sql.SQL("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}").format(
            slot=used, start=LSN(start), timeline=sql.Literal(timeline)
        )
        result = self._command(command)
        if result.status == pq.ExecStatus.COPY_BOTH:
            return None
        if result.status == pq.ExecStatus.TUPLES_OK:
            return self._timeline_end(result)
        raise refused(result)

    def receive(self, seconds: float) -> WALData | Keepalive | TimelineEnd | None:
        """The next message; None when none came within `seconds`.

        Raises TaskError: WALRemoved when the server no longer has what was asked for, ServerShuttingDown,
        ReplicationInterrupted.
        """
        waited = False
        while True:
            try:
                size, message = self._connection.get_copy_data(1)
                if size == 0:
                    if waited or not self._poll.poll(int(seconds * 1000)):
                        return None
                    self._connection.consume_input()
                    waited = True
                    continue
            except psycopg.Error as error:
                raise interrupted(str(error)) from error
            if size < 0:
                return self._end_of_copy()
            if message[0] == DATA:
                start, server_end, _clock = DATA_HEADER.unpack_from(message)
                return WALData(start, message[DATA_HEADER.size :], server_end)
            if message[0] == KEEPALIVE:
                server_end, _clock, wanted = KEEPALIVE_BODY.unpack_from(message)
                return Keepalive(server_end, bool(wanted))
            raise interrupted(f"the server sent a message of unknown type {message[0]}")

    def confirm(self, received: int, flushed: int, *, ask: bool = False) -> None:
        """Tells how far WAL was received and how far it is safe; `ask` wants a sign of life. Raises TaskError."""
        clock = int((time.time() - POSTGRES_EPOCH) * 1_000_000)
        try:
            self._connection.put_copy_data(STATUS_UPDATE.pack(b"r", received, flushed, 0, clock, ask))
            self._connection.flush()
        except psycopg.Error as error:
            raise interrupted(str(error)) from error

    def close(self) -> None:
        """Ends the connection; the server notices at once."""
        self._connection.finish()

    def _command(self, command: sql.Composed) -> abc.PGresult:
        try:
            self._connection.send_query(command.as_bytes(None))
            while self._connection.flush():
                self._wait()
            return self._result()
        except psycopg.Error as error:
            raise interrupted(str(error)) from error

    def _result(self) -> abc.PGresult:
        while self._connection.is_busy():
            self._wait()
        result = self._connection.get_result()
        if result is None:
            raise interrupted("the server ended the command early")
        return result

    def _wait(self) -> None:
        if not self._poll.poll(int(COMMAND_SECONDS * 1000)):
            raise interrupted(f"the server did not answer a command within {COMMAND_SECONDS:.0f} s")
        self._connection.consume_input()

    def _finish_command(self) -> None:
        while self._connection.is_busy():
            self._wait()
        while self._connection.get_result() is not None:
            pass

    def _end_of_copy(self) -> TimelineEnd:
        """What ended the copy stream: the end of the timeline, or an error."""
        try:
            result = self._result()
            if result.status == pq.ExecStatus.COPY_IN:
                self._connection.put_copy_end()
                self._connection.flush()
                result = self._result()
        except psycopg.Error as error:
            raise interrupted(str(error)) from error
        if result.status == pq.ExecStatus.TUPLES_OK:
            return self._timeline_end(result)
        if result.status == pq.ExecStatus.COMMAND_OK:
            raise TaskError("ServerShuttingDown", "the server shut down, and had sent all its WAL", retryable=True)
        raise refused(result)

    def _timeline_end(self, result: abc.PGresult) -> TimelineEnd:
        timeline, switch = result.get_value(0, 0), result.get_value(0, 1)
        if timeline is None or switch is None:
            raise interrupted("the server did not name the next timeline")
        return TimelineEnd(int(timeline), parse_lsn(switch.decode()))


def sqlstate(result: abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()


def interrupted(said: str) -> TaskError:
    return TaskError(
        "ReplicationInterrupted",
        f"the replication connection broke: {' '.join(said.split())}",
        remedy="It is tried again by itself. The server's log tells why it ended the connection.",
        retryable=True,
    )


def refused(result: abc.PGresult) -> TaskError:
    """The TaskError for a server's refusal, its reason by SQLSTATE."""
    state = sqlstate(result)
    said = " ".join(result.error_message.decode(errors="replace").split()) or pq.ExecStatus(result.status).name
    reason, remedy = REFUSALS.get(state, ("ReplicationInterrupted", "The server's log tells more."))
    return TaskError(
        reason, f"the server refused to send WAL: {said} (SQLSTATE {state})", remedy=remedy, retryable=True
    )


REFUSALS = {
    UNDEFINED_FILE: ("WALRemoved", "What is missing is noted in the archive as a gap; a new full backup closes it."),
    "55006": ("SlotInUse", "Another archiver uses the slot: there must be one only. It is tried again by itself."),
    "42704": ("SlotMissing", "The slot is made again by itself."),
    "55000": ("SlotInvalidated", "The slot is made again by itself."),
    "57P01": ("ServerShuttingDown", "It is tried again by itself."),
    "57P02": ("ServerShuttingDown", "It is tried again by itself."),
    "57P03": ("ServerShuttingDown", "It is tried again by itself."),
}
