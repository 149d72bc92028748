"""A snapshot of one database that pg_dump takes part in, and who stands in the way of its locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect
from pgwarden.postgres.statements import PermissionDenied, query

AS_LONG_AS_IT_TAKES = {"idle_in_transaction_session_timeout": "0", "statement_timeout": "0"}


@dataclass(frozen=True)
class Snapshot:
    """What was exported."""

    name: str
    """For `pg_dump --snapshot`."""
    time: datetime
    """The server's: what was committed before it is seen."""
    lsn: str | None
    """WAL position right before it; None where the server does not tell (some managed ones don't)."""
    relations: int
    """Tables whose contents a dump of everything holds."""
    bytes: int
    """About how much their contents are on disk, without indexes, as VACUUM and ANALYZE last saw them."""
    extensions: list[tuple[str, str]]
    """Name and version."""


@contextmanager
def exported_snapshot(address: DatabaseAddress, operation: str, database: str) -> Iterator[Snapshot]:
    """A snapshot that others can take part in as long as the block lasts.

    Raises TaskError as `pgwarden.postgres.connection.connect` does, and QueryFailed.
    """
    with connect(address, operation, database=database, settings=AS_LONG_AS_IT_TAKES) as connection:
        lsn = wal_position(connection)
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        exported, time = query(connection, "export_snapshot")[0]
        relations, size = query(connection, "dumped_relations")[0]
        extensions = [(str(name), str(version)) for name, version in query(connection, "extensions")]
        yield Snapshot(str(exported), time, lsn, int(relations), int(size), extensions)
        with suppress(psycopg.Error):  # it was only read: a session that was lost meanwhile lost nothing
            connection.rollback()


def wal_position(connection: Connection) -> str | None:
    """Where the server's WAL is, None where it does not tell."""
    try:
        return str(query(connection, "wal_position")[0][0])
    except (TaskError, PermissionDenied):
        return None


class Blockers:
    """Who holds locks that sessions of a certain application_name wait for; asked over a connection of its own."""

    def __init__(self, address: DatabaseAddress, operation: str, database: str, watched: str) -> None:
        self._connection = connect(address, operation, database=database)
        self._watched = watched
        self.last: list[str] = []
        """Who was in the way when last looked at: process id, user, application."""

    def look(self) -> None:
        """Looks now. A connection that was lost is done without: it is not worth a failure."""
        with suppress(TaskError, psycopg.Error):
            found = [str(row[0]) for row in query(self._connection, "blockers", [self._watched])]
            self.last = found or self.last

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()
