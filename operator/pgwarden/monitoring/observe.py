"""Looks at the servers of one DatabaseCluster, over one connection a server that is kept between two looks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.resources import files
from typing import Any, LiteralString

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.monitoring.contract import (
    ClusterObservation,
    DatabaseObservation,
    EndpointObservation,
    SlotObservation,
    WatchedCluster,
)
from pgwarden.postgres.connection import Connection, connect, server_version
from pgwarden.postgres.errors import Error, InsufficientPrivilege, OperationalError
from pgwarden.postgres.failure import diagnose

SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    "default_transaction_read_only": "on",
}
OPERATION = "monitor"


def sql(name: str) -> LiteralString:
    """The text of a named query of this room."""
    return files("pgwarden.monitoring").joinpath("sql", f"{name}.sql").read_text()


SERVER = sql("server")
DATABASES = sql("databases")
SLOTS = sql("slots")


class Observer:
    """Looks at one DatabaseCluster again and again. Not for several threads at once."""

    def __init__(self, watched: WatchedCluster, clock: Callable[[], datetime]) -> None:
        self.watched = watched
        self.clock = clock
        self._connections: dict[tuple[str, int], Connection] = {}
        self._pool = ThreadPoolExecutor(max(1, len(watched.replicas)), thread_name_prefix=f"look-{watched.name}")

    def look(self) -> ClusterObservation:
        """One look at the primary and all replicas; an unreachable one is told, never raised."""
        # All at once: servers that do not answer must not add up to a look that comes too late.
        asked = [self._pool.submit(self.look_at, address) for address in self.watched.replicas]
        primary, databases = self.look_at(self.watched.primary, with_databases=True)
        replicas = [each.result()[0] for each in asked]
        names = {database.name for database in databases}
        return ClusterObservation(
            name=self.watched.name,
            uid=self.watched.uid,
            digest=self.watched.digest,
            time=self.clock(),
            primary=primary,
            replicas=replicas,
            databases=databases,
            missing_databases=[n for n in self.watched.databases if n not in names] if primary.reachable else [],
        )

    def look_at(
        self, address: DatabaseAddress, *, with_databases: bool = False
    ) -> tuple[EndpointObservation, list[DatabaseObservation]]:
        """What one server answers."""
        try:
            try:
                connection = self.connection(address)
                return self.ask(address, connection, with_databases=with_databases)
            except OperationalError:
                # The kept connection may have died of a restart; a new one tells what is true now.
                self.drop(address)
                return self.ask(address, self.connection(address), with_databases=with_databases)
        except InsufficientPrivilege as error:
            self.drop(address)
            return unreachable(address, not_permitted(address, error)), []
        except Error as error:
            self.drop(address)
            return unreachable(address, diagnose(address, error)), []
        except TaskError as error:
            self.drop(address)
            return unreachable(address, error), []

    def ask(
        self, address: DatabaseAddress, connection: Connection, *, with_databases: bool
    ) -> tuple[EndpointObservation, list[DatabaseObservation]]:
        row: Any = connection.execute(SERVER).fetchone()
        in_recovery, system_identifier, timeline = row
        slots: list[Any] = connection.execute(SLOTS).fetchall()
        seen = EndpointObservation(
            host=address.host,
            port=address.port,
            reachable=True,
            in_recovery=in_recovery,
            version=server_version(connection),
            system_identifier=system_identifier,
            timeline=timeline,
            slots=[SlotObservation(name=name, active=active, kept_bytes=calm(kept)) for name, active, kept in slots],
        )
        if not with_databases:
            return seen, []
        rows: list[Any] = connection.execute(DATABASES).fetchall()
        return seen, [DatabaseObservation(name=name, size_bytes=size) for name, size in rows]

    def connection(self, address: DatabaseAddress) -> Connection:
        """The kept connection to that server, or a new one. Raises TaskError."""
        where = (address.host, address.port)
        if where not in self._connections:
            self._connections[where] = connect(address, OPERATION, settings=SETTINGS)
        return self._connections[where]

    def drop(self, address: DatabaseAddress) -> None:
        """Closes the kept connection, if there is one."""
        connection = self._connections.pop((address.host, address.port), None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Closes all connections."""
        self._pool.shutdown()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def calm(size: int | None) -> int:
    """The greatest power of two that is no more than a size, which so is another one seldom; 0 below a MiB."""
    return 1 << (size.bit_length() - 1) if size is not None and size >= 1 << 20 else 0


def not_permitted(address: DatabaseAddress, error: Error) -> TaskError:
    """What is told when the role may connect but not look."""
    return TaskError(
        "PermissionDenied",
        f"{address.host}:{address.port} refuses what the monitor asks: {error}",
        remedy="GRANT pg_monitor to the role of credentials.monitor.",
    )


def unreachable(address: DatabaseAddress, error: TaskError) -> EndpointObservation:
    """What is told of a server that does not answer."""
    return EndpointObservation(
        host=address.host,
        port=address.port,
        reachable=False,
        reason=error.reason,
        message=error.message,
        remedy=error.remedy,
    )
