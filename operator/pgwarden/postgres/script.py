"""Runs a script of many statements as PostgreSQL's simple query protocol does, and says which of them failed.

The text goes to the server as it is, in one message. The server first parses the whole of it, then runs one statement
after the other and answers each with one result, so the number of results before an error tells the failing
statement where the error carries no position. PostgreSQL documentation: "Frontend/Backend Protocol > Message Flow >
Multiple Statements in a Simple Query".
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq

from pgwarden.api.masking import masked
from pgwarden.jobs.errors import TaskError

POLL_SECONDS = 0.1
LOST_REMEDY = "Nothing: it is run again, and the history tells what is done by then."
QUERY_REMEDY = "Look up the SQLSTATE in the server's log, where the whole statement stands."

COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


class DatabaseError(TaskError):
    """What PostgreSQL answered instead of doing what it was asked; reason ConnectionLost or QueryFailed."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str = "",
        detail: str = "",
        hint: str = "",
        context: str = "",
        position: int | None = None,
        completed: int | None = None,
    ) -> None:
        self.lost = sqlstate == "" or sqlstate.startswith(("08", "57P0"))
        """Whether the connection is gone (class 08) or the server is going away."""
        super().__init__(
            "ConnectionLost" if self.lost else "QueryFailed",
            f"{message} (SQLSTATE {sqlstate})" if sqlstate else message,
            remedy=LOST_REMEDY if self.lost else QUERY_REMEDY,
            retryable=self.lost,
        )
        self.primary = masked(message)
        """What the server said, and no more."""
        self.sqlstate = sqlstate
        """Empty when the connection was lost before the server said anything."""
        self.detail = masked(detail)
        """May hold values of rows: never for a status or a log."""
        self.hint = masked(hint)
        self.context = masked(context)
        self.position = position
        """Where in the script, in characters counted from 0; None where the server did not say."""
        self.completed = completed
        """How many statements of the script were done before."""

    @classmethod
    def of(cls, error: psycopg.Error) -> DatabaseError:
        """What psycopg raised for a query of ours."""
        diagnostic = error.diag
        message = diagnostic.message_primary or " ".join(str(error).split())
        return cls(
            message,
            sqlstate=error.sqlstate or "",
            detail=diagnostic.message_detail or "",
            hint=diagnostic.message_hint or "",
        )


class Cancelled(Exception):
    """The script was told to end, and was cancelled before it was done."""


def run_script(connection: psycopg.Connection[tuple[Any, ...]], text: str, stop: Callable[[], bool]) -> None:
    """Sends `text` in one message and waits for its end, asking several times a second whether to cancel it.

    Raises DatabaseError, Cancelled.
    """
    pgconn = connection.pgconn
    failure: DatabaseError | None = None
    completed, cancelled = 0, False
    try:
        pgconn.send_query(text.encode())
        send_all(pgconn)
        while True:
            while pgconn.is_busy():
                if not cancelled and stop():
                    # A cancel that does not get through is tried again at the next look.
                    with suppress(psycopg.Error):
                        connection.cancel_safe(timeout=5)
                        cancelled = True
                if select.select([pgconn.socket], [], [], POLL_SECONDS)[0]:
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = failure or failure_of(result, completed)
            elif result.status in COPYING:
                refuse_copy(pgconn, pq.ExecStatus(result.status))
            else:
                completed += 1
    except psycopg.OperationalError as error:
        raise DatabaseError(" ".join(str(error).split()), completed=completed) from error
    if failure is None:
        return
    if cancelled and failure.sqlstate == "57014":
        raise Cancelled from failure
    raise failure


def send_all(pgconn: pq.abc.PGconn) -> None:
    """Hands the whole message to the network; reads meanwhile, or both sides could wait for the other to read."""
    while pgconn.flush():
        if select.select([pgconn.socket], [pgconn.socket], [], POLL_SECONDS)[0]:
            pgconn.consume_input()


def refuse_copy(pgconn: pq.abc.PGconn, status: pq.ExecStatus) -> None:
    """Ends a COPY that wants a client to exchange rows with: nobody is there to send or take them."""
    if status == pq.ExecStatus.COPY_OUT:
        while pgconn.get_copy_data(0)[0] > 0:
            pass
    else:
        pgconn.put_copy_end(b"a migration has no client that could send rows")


def failure_of(result: pq.abc.PGresult, completed: int) -> DatabaseError:
    """The error a result carries."""

    def field(name: pq.DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode(errors="replace")

    position = field(pq.DiagnosticField.STATEMENT_POSITION)
    return DatabaseError(
        field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode(errors="replace").strip(),
        sqlstate=field(pq.DiagnosticField.SQLSTATE),
        detail=field(pq.DiagnosticField.MESSAGE_DETAIL),
        hint=field(pq.DiagnosticField.MESSAGE_HINT),
        context=field(pq.DiagnosticField.CONTEXT),
        position=int(position) - 1 if position else None,
        completed=completed,
    )
