"""What a restore asks of the server it has just recovered, over a Unix socket that only it can reach.

The data come from a server whose users may have planted anything: functions and operators in schemas, settings on
roles and databases, event triggers. So the superuser's sessions pin what those could change, in the startup packet,
and a user's own queries run as a role that may read everything and do nothing else.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import psycopg.conninfo
from psycopg import pq, sql

from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.connection import (
    CONNECT_TIMEOUT_SECONDS,
    STARTUP_SETTINGS,
    Connection,
    read_secret,
    startup_options,
)

PORT = 5432
ANSWER_POLL_SECONDS = 0.1
BOOTSTRAP_SUPERUSER_OID = 10
CHECK_TIMEOUT = "10min"
APPLICATION_NAME = "pgwarden/recover"
NO_PASSWORDS = "no-passwords"
"""Nothing of the machine's own may be read; this file does not exist."""
# What ALTER ROLE ... SET and ALTER DATABASE ... SET could otherwise change for the superuser's sessions.
SUPERUSER_SETTINGS: Mapping[str, str] = {
    **STARTUP_SETTINGS,
    "role": "none",
    "row_security": "off",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
}
# The check role's sessions otherwise see what an application would: the database's and the server's own settings.
CHECK_SETTINGS: Mapping[str, str] = {
    "client_connection_check_interval": "500ms",
    "default_transaction_read_only": "on",
    "statement_timeout": CHECK_TIMEOUT,
}


@dataclass(frozen=True)
class RestoredDatabase:
    name: str
    connectable: bool
    """False for those that nobody may connect to, such as template0, and those left half by DROP DATABASE."""


@dataclass(frozen=True)
class Answer:
    """What a user's query answered."""

    value: str | None = None
    """First column of the first row as text; None for NULL and where there was no row."""
    rows: int = 0
    error: str = ""
    """PostgreSQL's message when the query failed, else empty."""


@dataclass(frozen=True)
class RestoredServer:
    """The recovered server: the folder of its socket, the role to connect as and the database to begin with."""

    socket_folder: Path
    superuser: str
    database: str

    def connect(self, database: str | None = None) -> Connection:
        """A superuser's session in autocommit mode. Raises TaskError with reason DatabaseNotConnectable."""
        database = database or self.database
        try:
            return self._connect(database, self.superuser, SUPERUSER_SETTINGS)
        except psycopg.OperationalError as error:
            raise TaskError(
                "DatabaseNotConnectable",
                f"the recovered server refuses connections to database {database!r}: {one_line(error)}",
                remedy="See the log of the container `postgres`; restore another backup if the data are at fault.",
            ) from error

    def connection_string(self, database: str) -> str:
        """Names a database for a tool that has `variables` in its environment, whatever characters are in the name."""
        return psycopg.conninfo.make_conninfo("", dbname=database)

    def variables(self) -> dict[str, str]:
        """The environment in which a tool of PostgreSQL's connects as `connect` does."""
        return {
            "PGHOST": str(self.socket_folder),
            "PGPORT": str(PORT),
            "PGUSER": self.superuser,
            "PGDATABASE": self.database,
            "PGOPTIONS": startup_options(SUPERUSER_SETTINGS),
            "PGAPPNAME": APPLICATION_NAME,
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS),
            "PGPASSFILE": str(self.socket_folder / NO_PASSWORDS),
        }

    def ask(self, database: str, role: str, query: str) -> Answer:
        """Runs one statement of a user as `role`, read-only and with a time limit of 10 minutes.

        Rows are read one by one, so that a large answer takes no memory.
        """
        try:
            connection = self._connect(database, role, CHECK_SETTINGS)
        except psycopg.OperationalError as error:
            return Answer(error=one_line(error))
        with connection:
            # The extended protocol takes one statement only.
            connection.pgconn.send_query_params(query.encode(), [])
            connection.pgconn.set_single_row_mode()
            return read_answer(connection.pgconn)

    def _connect(self, database: str, user: str, settings: Mapping[str, str]) -> Connection:
        return psycopg.connect(
            host=str(self.socket_folder),
            port=PORT,
            user=user,
            dbname=database,
            options=startup_options(settings),
            application_name=APPLICATION_NAME,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            passfile=str(self.socket_folder / NO_PASSWORDS),
            autocommit=True,
        )


def read_answer(connection: pq.abc.PGconn) -> Answer:
    """Reads the results of a query in single-row mode to their end."""
    value, rows, error = None, 0, ""
    while (result := next_result(connection)) is not None:
        if result.status == pq.ExecStatus.SINGLE_TUPLE:
            if not rows and result.nfields:
                first = result.get_value(0, 0)
                value = None if first is None else first.decode(errors="replace")
            rows += 1
        elif result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            error = one_line(result.get_error_message())
            if result.status in (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_BOTH):
                return Answer(error="a check is a query that answers rows, not COPY")
    return Answer(value, rows, error)


def next_result(connection: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result, waited for outside libpq: a blocking libpq call would hold up every other thread, and with
    them the heartbeat without which the server is shut down.
    """
    while connection.is_busy():
        if select.select([connection.socket], [], [], ANSWER_POLL_SECONDS)[0]:
            connection.consume_input()
    return connection.get_result()


def one_line(error: object) -> str:
    return " ".join(str(error).split())


def databases(connection: Connection) -> list[RestoredDatabase]:
    """All databases, in the order of their names. datconnlimit -2 marks what an interrupted DROP DATABASE left."""
    rows = connection.execute("SELECT datname, datallowconn AND datconnlimit <> -2 FROM pg_database ORDER BY datname")
    return [RestoredDatabase(str(name), bool(connectable)) for name, connectable in rows]


def superuser_name(connection: Connection) -> str:
    """Name of the bootstrap superuser."""
    row = connection.execute("SELECT rolname FROM pg_roles WHERE oid = %s::oid", (BOOTSTRAP_SUPERUSER_OID,)).fetchone()
    return str(row[0]) if row else ""


def in_recovery(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


@dataclass(frozen=True)
class Replay:
    """How far a server in recovery is."""

    lsn: str
    paused: bool


def replay_of(connection: Connection) -> Replay:
    """Raises psycopg.Error on a server that is not in recovery any more."""
    row = connection.execute("SELECT pg_last_wal_replay_lsn(), pg_get_wal_replay_pause_state()").fetchone()
    return Replay(lsn=str(row[0] or "0/0"), paused=row[1] == "paused") if row else Replay("0/0", paused=False)


def resume(connection: Connection) -> None:
    """Has a paused recovery go on."""
    connection.execute("SELECT pg_wal_replay_resume()")


def promote(connection: Connection) -> None:
    """Ends all other sessions, and has recovery end, where it is or where the WAL ends; does not wait for it."""
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    connection.execute("SELECT pg_promote(false)")


def system_identifier(connection: Connection) -> str:
    row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    return str(row[0]) if row else ""


def current_timeline(connection: Connection) -> int:
    """The timeline that WAL is written to now. The first eight digits of a segment's name are its timeline."""
    row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
    return int(str(row[0])[:8], 16) if row else 0


def last_replayed_commit(connection: Connection) -> datetime | None:
    """When the last transaction that recovery replayed was committed, None when it replayed none since the server
    began."""
    row = connection.execute("SELECT pg_last_xact_replay_timestamp()").fetchone()
    return row[0] if row and isinstance(row[0], datetime) else None


def invalid_indexes(connection: Connection) -> list[str]:
    """Indexes of this database that queries do not use because their building failed, as `schema.index`."""
    rows = connection.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1"
    )
    return [str(name) for (name,) in rows]


def subscriptions(connection: Connection) -> list[str]:
    """Names of this database's subscriptions."""
    rows = connection.execute(
        "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
        "WHERE d.datname = current_database() ORDER BY s.subname"
    )
    return [str(name) for (name,) in rows]


def disable_subscriptions(connection: Connection) -> list[str]:
    """Disables this database's subscriptions and takes their slots from them; returns their names.

    A copy that is subscribed consumes the stream of the publisher's slot, and the real subscriber loses rows. The slot
    is taken away so that dropping the subscription in the copy doesn't drop it at the publisher.
    """
    names = subscriptions(connection)
    for name in names:
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(sql.Identifier(name)))
    return names


def foreign_servers(connection: Connection) -> list[str]:
    """Names of this database's foreign servers."""
    return [str(name) for (name,) in connection.execute("SELECT srvname FROM pg_foreign_server ORDER BY srvname")]


def scheduled_jobs(connection: Connection) -> int:
    """How many jobs pg_cron holds in this database; 0 where it isn't installed."""
    row = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_cron'").fetchone()
    if row is None:
        return 0
    count = connection.execute("SELECT count(*) FROM cron.job").fetchone()
    return int(count[0]) if count else 0


def prepared_transactions(connection: Connection) -> list[str]:
    """Names of the prepared transactions of all databases, with their database."""
    rows = connection.execute("SELECT gid, database FROM pg_prepared_xacts ORDER BY prepared")
    return [f"{gid} in {database}" for gid, database in rows]


def present_libraries(connection: Connection) -> set[str]:
    """Names of the libraries in the server's image, without their ending."""
    row = connection.execute("SELECT setting FROM pg_config() WHERE name = 'PKGLIBDIR'").fetchone()
    if row is None:
        return set()
    files = connection.execute("SELECT pg_ls_dir(%s)", (row[0],))
    return {str(name).removesuffix(".so") for (name,) in files if str(name).endswith(".so")}


def has_extension(connection: Connection, name: str) -> bool:
    """Whether the server's image has the files of an extension."""
    return connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", (name,)).fetchone() is not None


def set_password(connection: Connection, role: str, password_file: Path) -> None:
    """Gives a role the password in a file and lets it log in.

    The server gets a SCRAM verifier, never the password, and doesn't log it. Raises TaskError with reason
    CredentialsMissing.
    """
    password = read_secret(password_file, "password of the new instance's superuser")
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


@contextmanager
def check_role(connection: Connection, name: str, wanted_databases: list[str]) -> Iterator[None]:
    """A role that may read all tables, for as long as the block lasts.

    It logs in by itself: a superuser's session that only says SET ROLE could be turned back by a planted function.
    BYPASSRLS, because counts are to be true, and policies are code of the original's users.
    """
    drop_check_role(connection, name)
    role = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS IN ROLE pg_read_all_data").format(role))
    for database in wanted_databases:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role))
    try:
        yield
    finally:
        drop_check_role(connection, name)


def drop_check_role(connection: Connection, name: str) -> None:
    """Removes the role, also one that a killed attempt left."""
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    if row is None:
        return
    # Takes back its rights on databases; it owns nothing, because it could only read.
    connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
