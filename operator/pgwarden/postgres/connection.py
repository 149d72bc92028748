"""Connections to PostgreSQL servers that pgwarden does not own.

Every connection pins its search_path in the startup packet, before any query can run: a function planted in a schema
that comes earlier in somebody's search_path must never be called in our name. It names itself
`pgwarden/<operation>` in pg_stat_activity, and asks the server to notice within 500 ms when this process is gone, so
that a killed agent leaves no backend behind that holds locks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
from psycopg import pq
from psycopg.pq import abc

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.failure import VERIFYING_MODES, credentials_missing, diagnose

CONNECT_TIMEOUT_SECONDS = 10
OLDEST_SERVER = 150000
"""server_version_num of the oldest major version pgwarden works with."""

# PostgreSQL documentation: "Server Configuration > Client Connection Defaults" and "Connections and Authentication".
STARTUP_SETTINGS: Mapping[str, str] = {
    "search_path": "pg_catalog,pg_temp",
    "client_connection_check_interval": "500ms",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
}
# PostgreSQL documentation: "libpq > Database Connection Control Functions". Dead peers are noticed after 30 + 3 * 10 s.
KEEPALIVES: Mapping[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(
    address: DatabaseAddress,
    operation: str,
    *,
    database: str | None = None,
    autocommit: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Connection:
    """Opens a connection for SQL.

    `operation` becomes part of application_name, `database` replaces the address's, `settings` are set at connection
    start beside those that always are (for example `lock_timeout`). Raises TaskError as
    `pgwarden.postgres.failure.diagnose` describes it.
    """
    parameters = connection_parameters(address, operation, database=database, settings=settings)
    try:
        return psycopg.connect(autocommit=autocommit, **parameters)
    except psycopg.OperationalError as error:
        raise diagnose(address, error, database=database) from error


def connect_for_replication(address: DatabaseAddress, operation: str) -> abc.PGconn:
    """Opens a physical replication connection, which speaks the commands of the streaming replication protocol.

    The caller calls `finish()`. Raises TaskError as `pgwarden.postgres.failure.diagnose` describes it.
    """
    parameters = connection_parameters(address, operation) | {"replication": "true"}
    connection = pq.PGconn.connect(psycopg.conninfo.make_conninfo("", **parameters).encode())
    if connection.status != pq.ConnStatus.OK:
        message = connection.get_error_message()
        connection.finish()
        raise diagnose(address, psycopg.OperationalError(message), replication=True)
    return connection


def connection_parameters(
    address: DatabaseAddress,
    operation: str,
    *,
    database: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """libpq's parameters for an address; reads user name and password now, so that a rotated Secret is seen.

    Raises TaskError with reason CredentialsMissing.
    """
    parameters: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "dbname": database or address.database,
        "user": read_secret(Path(address.username_file), "user name"),
        "password": read_secret(Path(address.password_file), "password"),
        "sslmode": address.tls_mode,
        "application_name": f"pgwarden/{operation}",
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": startup_options({**STARTUP_SETTINGS, **(settings or {})}),
        # Nothing of the machine's own configuration may change where we connect to or as whom.
        "passfile": "/dev/null",
        "gssencmode": "disable",
        **KEEPALIVES,
    }
    if address.tls_mode not in VERIFYING_MODES:
        # The server has not proved who it is: whoever answers could ask for the password in clear text.
        parameters["require_auth"] = "!password"
    if address.ca_file is not None:
        parameters["sslrootcert"] = address.ca_file
    return parameters


def startup_options(settings: Mapping[str, str]) -> str:
    """The `options` parameter that sets `settings` at session start: `-c name=value`, blanks and backslashes escaped.

    PostgreSQL documentation: "libpq > Parameter Key Words > options".
    """
    return " ".join(f"-c {name}={escape_option(value)}" for name, value in settings.items())


def escape_option(value: str) -> str:
    return "".join(f"\\{character}" if character in " \\\t\n" else character for character in value)


def read_secret(path: Path, what: str) -> str:
    """The content of a secret file without its final newline. Raises TaskError with reason CredentialsMissing."""
    try:
        text = path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise credentials_missing(path, what, error) from error
    if not text:
        raise credentials_missing(path, what, None)
    return text


def server_version(connection: Connection) -> str:
    """The server's version as people write it, for example `17.10`."""
    number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"


def refuse_old_server(server_version_num: int, address: DatabaseAddress) -> None:
    """Raises TaskError with reason ServerTooOld for a server below PostgreSQL 15."""
    if server_version_num < OLDEST_SERVER:
        raise TaskError(
            "ServerTooOld",
            f"the server {address.host}:{address.port} is PostgreSQL {server_version_num // 10000}; "
            "pgwarden works with 15 and later",
            remedy="Upgrade PostgreSQL.",
        )
