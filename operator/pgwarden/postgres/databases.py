"""The databases of a server, as it tells of them over an ordinary connection."""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.postgres.connection import Connection
from pgwarden.postgres.statements import query


@dataclass(frozen=True)
class ServerDatabase:
    """One database of the server."""

    oid: int
    name: str
    owner: str
    encoding: str
    locale_provider: str
    """libc, icu or builtin."""
    collate: str
    ctype: str
    locale: str | None
    """The provider's own locale name, where it has one."""
    collation_version: str | None
    """Version the database's text was sorted with."""
    size_bytes: int | None
    """Of its files, indexes included; None where the role may not ask."""
    template: bool
    allows_connections: bool
    lets_us_in: bool
    """Whether the role has CONNECT on it."""
    half_dropped: bool


def list_databases(connection: Connection) -> list[ServerDatabase]:
    """All of them, by name. Raises as `query`."""
    return [ServerDatabase(*row) for row in query(connection, "databases")]
