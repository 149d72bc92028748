"""A session that belongs to one runner: our own queries, and scripts of the user's in transactions we open.

The first query is written so that no search_path matters (every name qualified, no operators) and tells whether
a pooler stands between; only then the session is set up, because a SET through a transaction pooler would stay behind
in a server connection that others use. The settings stand in SET commands and not in the startup packet, so
that a script can be given back what the role and the database define: DEFAULT goes back to the startup packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.lock_wait import LockWatch
from pgwarden.postgres.script import DatabaseError, run_script

if TYPE_CHECKING:  # pydantic models: not needed to connect by DSN, and costly to import
    from pgwarden.jobs.files import DatabaseAddress

CONNECT_TIMEOUT_SECONDS = 10
IDLE_IN_TRANSACTION_TIMEOUT = "60s"
POOLER_ROUNDS = 10

# What our own queries run with. PINNED holds for the session, BACK_TO_OWN for what is left of a script's transaction;
# a script runs with what the role, the database and the server define for each of these.
PINNED: LiteralString = """
    SET search_path = pg_catalog, pg_temp;
    SET row_security = off;
    SET DateStyle = ISO;
    SET IntervalStyle = postgres;
    SET TimeZone = 'UTC';
    SET lock_timeout = '5s'
"""
TO_DEFAULT: LiteralString = """
    SET LOCAL search_path TO DEFAULT;
    SET LOCAL row_security TO DEFAULT;
    SET LOCAL DateStyle TO DEFAULT;
    SET LOCAL IntervalStyle TO DEFAULT;
    SET LOCAL TimeZone TO DEFAULT;
    SET LOCAL standard_conforming_strings = on
"""
BACK_TO_OWN: LiteralString = """
    SET SESSION AUTHORIZATION DEFAULT;
    RESET ROLE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL row_security = off;
    SET LOCAL DateStyle = ISO;
    SET LOCAL IntervalStyle = postgres;
    SET LOCAL TimeZone = 'UTC'
"""
# Nothing a script left in the session may reach the next one. This is DISCARD ALL but for the advisory locks.
CLEAN: LiteralString = """
    CLOSE ALL;
    SET SESSION AUTHORIZATION DEFAULT;
    RESET ROLE;
    RESET ALL;
    DEALLOCATE ALL;
    UNLISTEN *;
    DISCARD TEMP;
    DISCARD SEQUENCES;
"""
CHECK_CLIENT: LiteralString = "SET client_connection_check_interval = '500ms'"


@dataclass(frozen=True)
class ScriptSettings:
    """What a script's transaction runs under."""

    role: str | None = None
    lock_timeout_ms: int = 0
    statement_timeout_ms: int = 0


@dataclass(frozen=True)
class Server:
    """Whom the session is connected to, and as whom."""

    database: str
    user: str
    version: str
    """For example 17.10."""
    in_recovery: bool

    def __str__(self) -> str:
        return f"database {self.database}"


class Session:
    """One connection in autocommit mode, set up for us. Close it, or use it as a context manager."""

    def __init__(self, connect: Callable[[], psycopg.Connection[tuple[Any, ...]]]) -> None:
        self._connect = connect
        self._connection = connect()
        self.locks = LockWatch(connect, self._connection.info.backend_pid)
        try:
            self.server = self._look()
            self._execute(PINNED)
            self._notice_dead_client()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.locks.close()
        self._connection.close()

    @property
    def backend_pid(self) -> int:
        """The backend's process id, as the server itself sees it."""
        return self._connection.info.backend_pid

    @property
    def lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return bool(self._connection.closed) or self._connection.info.transaction_status == TransactionStatus.UNKNOWN

    def rows(self, query: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Runs one query of ours and returns its rows. Raises DatabaseError."""
        try:
            cursor = self._connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise DatabaseError.of(error) from error

    def begin(self, settings: ScriptSettings) -> str:
        """Opens the transaction of a script, in which DEFAULT settings hold; returns its id. Raises DatabaseError."""
        role = sql.SQL("SET LOCAL ROLE {};").format(sql.Identifier(settings.role)) if settings.role else sql.SQL("")
        opening = sql.SQL(
            "BEGIN; {defaults}; SET LOCAL standard_conforming_strings = on; SET LOCAL lock_timeout = {lock};"
            "SET LOCAL statement_timeout = {statement}; SET LOCAL idle_in_transaction_session_timeout = {idle};"
            "{role} SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text"
        ).format(
            defaults=sql.SQL(TO_DEFAULT),
            lock=sql.Literal(f"{settings.lock_timeout_ms}ms"),
            statement=sql.Literal(f"{settings.statement_timeout_ms}ms"),
            idle=sql.Literal(IDLE_IN_TRANSACTION_TIMEOUT),
            role=role,
        )
        cursor = self._execute(opening)
        while cursor.nextset():
            pass
        return str(cursor.fetchall()[0][0])

    def script(self, text: str, stop: Callable[[], bool] = lambda: False) -> None:
        """Sends a whole script in one simple-query message, byte for byte. Raises DatabaseError and Cancelled.

        `stop` is asked several times a second and cancels the script when it is true. What the script waits for is
        in `locks` afterwards.
        """
        self.locks.restart()

        def look_and_ask() -> bool:
            self.locks.look()
            return stop()

        run_script(self._connection, text, look_and_ask)

    def end_script(self, transaction: str) -> bool:
        """Checks deferred constraints and takes the session back for our own queries, in the same transaction.

        Returns whether this still is the transaction that `begin` opened. Raises DatabaseError.
        """
        if self._connection.info.transaction_status != TransactionStatus.INTRANS:
            return False
        self._execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._execute(BACK_TO_OWN)
        current = self.rows("SELECT pg_current_xact_id_if_assigned()::text")[0][0]
        return bool(current == transaction)

    def commit(self) -> None:
        """Commits, and clears away what the script left in the session. Raises DatabaseError."""
        self._execute("COMMIT")
        self._clean()

    def rollback(self) -> None:
        """Rolls back where there is something to roll back; never raises: a lost connection has rolled back too."""
        with suppress(DatabaseError):
            if self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._execute("ROLLBACK")
            self._clean()

    def _clean(self) -> None:
        self._execute(CLEAN + PINNED)
        self._notice_dead_client()

    def _notice_dead_client(self) -> None:
        """Has the server end this backend soon after our process is gone, with its locks and its transaction.

        A server on a platform that cannot do that refuses the setting, and goes without.
        """
        with suppress(DatabaseError):
            self._execute(CHECK_CLIENT)

    def _execute(self, statement: LiteralString | sql.Composed) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement)
        except psycopg.Error as error:
            raise DatabaseError.of(error) from error

    def _look(self) -> Server:
        """Asks who the server is, with nothing that a search_path could redirect. Raises TaskError, DatabaseError."""
        cursor = self._execute(
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_database(), CURRENT_USER,"
            " pg_catalog.pg_is_in_recovery()"
        )
        pid, database, user, in_recovery = cursor.fetchall()[0]
        if pid != self.backend_pid and self._pooled_by_transaction(pid):
            raise TaskError(
                "TransactionPooler",
                f"the connection to database {database} goes through a pooler that gives each transaction another "
                "server session; advisory locks and settings do not hold there",
                remedy="Connect to the primary itself, or to a pool in session mode.",
            )
        number = self._connection.info.server_version
        return Server(database, user, f"{number // 10000}.{number % 10000}", in_recovery)

    def _pooled_by_transaction(self, pid: int) -> bool:
        """Whether sessions are shared, asked when a proxy has told another backend id than the server did.

        A session-mode pool shows the same difference, so it must be proved: another client of ours is given our
        backend while we are connected, or we are given another one than before.
        """
        query: LiteralString = "SELECT pg_catalog.pg_backend_pid()"
        with self._connect() as other:
            for _ in range(POOLER_ROUNDS):
                with other.transaction():
                    theirs = other.execute(query).fetchall()[0][0]
                    ours = self._connection.execute(query).fetchall()[0][0]
                if theirs == pid or ours != pid:
                    return True
        return False


def open_address(address: DatabaseAddress) -> Session:
    """A session at a task's address. Raises TaskError as `pgwarden.postgres.connection.connect` does."""
    from pgwarden.postgres.connection import connection_parameters
    from pgwarden.postgres.failure import diagnose

    def connect() -> psycopg.Connection[tuple[Any, ...]]:
        parameters = connection_parameters(address, "migrate")
        parameters.pop("options")
        try:
            return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters, client_encoding="utf8")
        except psycopg.OperationalError as error:
            raise diagnose(address, error) from error

    return Session(connect)


def open_dsn(dsn: str) -> Session:
    """A session at a connection string or URI; what it leaves out comes from PGHOST, PGPASSFILE, PGSERVICE, ... .

    PostgreSQL documentation: "libpq > Connection Strings" and "Environment Variables".
    Raises TaskError: InvalidDsn, ConnectionFailed.
    """

    def connect() -> psycopg.Connection[tuple[Any, ...]]:
        try:
            return psycopg.connect(
                dsn,
                autocommit=True,
                prepare_threshold=None,
                client_encoding="utf8",
                application_name="pgwarden/migrate",
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
            )
        except psycopg.ProgrammingError as error:
            raise TaskError(
                "InvalidDsn",
                "the DSN is no connection string that libpq understands",
                remedy="Write it as postgresql://user@host:5432/database, or as host=... dbname=... user=...",
            ) from error
        except psycopg.OperationalError as error:
            raise TaskError(
                "ConnectionFailed",
                f"no connection to the database: {' '.join(str(error).split())}",
                remedy="Check host, port, user and database of the DSN, and the password in PGPASSWORD or PGPASSFILE.",
            ) from error

    return Session(connect)
