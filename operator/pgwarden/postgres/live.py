"""What putting restored databases into a live server asks of that server.

A database is made under a name that holds the UID of the request, and gets its own name when it is whole: whoever looks
meanwhile never takes half a database for a whole one, and an attempt after one that was killed knows what to delete by
the name alone. A comment on the finished database says whose it is, so that a repeat finds it done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect
from pgwarden.postgres.databases import ServerDatabase, list_databases
from pgwarden.postgres.statements import PermissionDenied, query

OPERATION = "restore-parts"
AS_LONG_AS_IT_TAKES = {"statement_timeout": "0", "idle_session_timeout": "0", "row_security": "off"}
MARK = "pgwarden restored this database for RestoreRequest "
SET_OPTION_SINCE = 160000
"""Since then a membership may be without the right to SET ROLE."""


@dataclass(frozen=True)
class LiveServer:
    """The server, and what our role may do there."""

    version_num: int
    user: str
    superuser: bool
    creates_databases: bool
    in_recovery: bool
    system_identifier: str
    """Empty where the role may not ask."""

    @property
    def major(self) -> int:
        return self.version_num // 10000


@dataclass(frozen=True)
class NewDatabase:
    """What a database is made like."""

    name: str
    owner: str | None
    """None leaves it to the role that makes it."""
    encoding: str
    locale_provider: str
    collate: str
    ctype: str
    locale: str | None


@dataclass
class RoleTrouble:
    """Roles that stand in the way."""

    missing: list[str] = field(default_factory=list)
    not_ours: list[str] = field(default_factory=list)
    """Owners that our role may not hand objects over to."""


@contextmanager
def talking(address: DatabaseAddress, database: str | None = None) -> Iterator[Connection]:
    """A connection whose queries may take their time.

    What the server refuses becomes a TaskError with reason LiveServerRefused; raises what connecting raises.
    """
    with connect(address, OPERATION, database=database, settings=AS_LONG_AS_IT_TAKES) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise refused(address, database or address.database, error) from error


def refused(address: DatabaseAddress, database: str, error: psycopg.Error) -> TaskError:
    """What the live server did not do; a connection that was lost may come back."""
    lost = isinstance(error, psycopg.OperationalError)
    return TaskError(
        "LiveServerRefused",
        f"{address.host}:{address.port} refused in database {database}: {' '.join(str(error).split())}",
        remedy="Look at the server's log at that moment."
        if lost
        else "docs/sql/restore-role.sql makes a role that may do all this; or name a superuser's Secret in "
        "credentials.restore of the DatabaseCluster.",
        retryable=lost,
    )


def look(connection: Connection) -> LiveServer:
    """Who the server is, and who we are."""
    row = connection.execute(
        "SELECT current_user, rolsuper, rolcreatedb OR rolsuper, pg_is_in_recovery() FROM pg_roles"
        " WHERE rolname = current_user"
    ).fetchall()[0]
    try:
        identifier = str(query(connection, "system_identifier")[0][0])
    except PermissionDenied:
        identifier = ""
    user, superuser, creates, standby = row
    return LiveServer(connection.info.server_version, str(user), superuser, creates, standby, identifier)


def present_databases(connection: Connection) -> dict[str, ServerDatabase]:
    """All databases by name."""
    return {each.name: each for each in list_databases(connection)}


def marked_for(connection: Connection, name: str, request_uid: str) -> Mapping[str, Any] | None:
    """What the comment on a finished database of this request tells; None where it is not one, or does not exist."""
    rows = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
    ).fetchall()
    comment = str(rows[0][0] or "") if rows else ""
    before, _, told = comment.partition(": ")
    if before != f"{MARK}{request_uid}":
        return None
    try:
        found = json.loads(told)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def make(connection: Connection, wanted: NewDatabase) -> None:
    """Makes a database with the encoding and locale wanted, which nobody but its owner may enter as yet."""
    options: list[sql.Composable] = [sql.SQL("TEMPLATE template0")]
    if wanted.owner is not None:
        options.append(sql.SQL("OWNER {}").format(sql.Identifier(wanted.owner)))
    for keyword, value in (
        (sql.SQL("ENCODING {}"), wanted.encoding),
        (sql.SQL("LOCALE_PROVIDER {}"), wanted.locale_provider),
        (sql.SQL("LC_COLLATE {}"), wanted.collate),
        (sql.SQL("LC_CTYPE {}"), wanted.ctype),
    ):
        options.append(keyword.format(sql.Literal(value)))
    if wanted.locale is not None and wanted.locale_provider in ("icu", "builtin"):
        keyword = sql.SQL("ICU_LOCALE {}" if wanted.locale_provider == "icu" else "BUILTIN_LOCALE {}")
        options.append(keyword.format(sql.Literal(wanted.locale)))
    name = sql.Identifier(wanted.name)
    connection.execute(sql.SQL("CREATE DATABASE {} {}").format(name, sql.SQL(" ").join(options)))
    connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))


def drop(connection: Connection, name: str) -> None:
    """Deletes a database with the sessions that a killed attempt has left in it, if it is there."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def open_to(connection: Connection, name: str, grants: Sequence[tuple[str, str]] | None) -> None:
    """Gives the privileges on a database: name of the role (empty for PUBLIC) and privilege; None those of any new
    one."""
    database = sql.Identifier(name)
    if grants is None:
        grants = [("", "CONNECT"), ("", "TEMPORARY")]
    for role, privilege in grants:
        to = sql.Identifier(role) if role else sql.SQL("PUBLIC")
        connection.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(PRIVILEGES[privilege]), database, to)
        )


# What aclexplode() calls the privileges on a database.
PRIVILEGES = {"CONNECT": "CONNECT", "CREATE": "CREATE", "TEMPORARY": "TEMPORARY"}


def publish(connection: Connection, name: str, new_name: str, request_uid: str, told: Mapping[str, Any]) -> None:
    """Marks a database that is whole, and gives it its name, which nothing may bear by now."""
    comment = f"{MARK}{request_uid}: {json.dumps(told)}"
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(comment)))
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(rename.format(sql.Identifier(name), sql.Identifier(new_name)))


def role_trouble(connection: Connection, owners: Sequence[str], others: Sequence[str]) -> RoleTrouble:
    """Which of the roles that own something, or that are named otherwise, are not there, or are not ours to give to."""
    right = "SET" if connection.info.server_version >= SET_OPTION_SINCE else "MEMBER"
    rows = connection.execute(
        "SELECT wanted.name, r.oid IS NULL,"
        " r.oid IS NOT NULL AND wanted.owns AND NOT (pg_has_role(r.oid, %s) AND pg_has_role(r.oid, 'USAGE'))"
        " FROM (SELECT unnest(%s::text[]) AS name, true AS owns UNION SELECT unnest(%s::text[]), false) AS wanted"
        " LEFT JOIN pg_roles AS r ON r.rolname = wanted.name ORDER BY 1",
        (right, list(owners), [each for each in others if each not in owners]),
    ).fetchall()
    return RoleTrouble([str(name) for name, absent, _ in rows if absent], [str(n) for n, _, alien in rows if alien])


def role_names(connection: Connection) -> list[str]:
    """Names of all roles."""
    return [str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles ORDER BY 1").fetchall()]


def unavailable_extensions(connection: Connection, wanted: Sequence[str]) -> list[str]:
    """Those of the extensions that the server does not have."""
    rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    return sorted(set(wanted) - {str(name) for (name,) in rows})


def forbidden_extensions(connection: Connection, wanted: Sequence[str]) -> list[str]:
    """Those that only a superuser may make."""
    rows = connection.execute(
        "SELECT e.name FROM pg_available_extensions AS e JOIN pg_available_extension_versions AS v"
        " ON v.name = e.name AND v.version = e.default_version WHERE v.superuser AND NOT v.trusted"
    ).fetchall()
    return sorted(set(wanted) & {str(name) for (name,) in rows})


def other_versions(connection: Connection, wanted: Mapping[str, str]) -> list[str]:
    """Extensions that come in another version here, as sentences."""
    rows = connection.execute("SELECT extname, extversion FROM pg_extension ORDER BY extname").fetchall()
    return [
        f"extension {name} is version {here} here, and was {wanted[name]}"
        for name, here in rows
        if wanted.get(name, here) != here
    ]


def grants_on(connection: Connection, database: str) -> list[tuple[str, str]] | None:
    """Privileges on a database: role (empty for PUBLIC) and privilege; None where they are those of a new one."""
    rows = connection.execute(
        "SELECT coalesce(r.rolname, ''), a.privilege_type FROM pg_database AS d, aclexplode(d.datacl) AS a"
        " LEFT JOIN pg_roles AS r ON r.oid = a.grantee"
        " WHERE d.datname = %s AND a.grantee <> d.datdba ORDER BY 1, 2",
        (database,),
    ).fetchall()
    default = connection.execute("SELECT datacl IS NULL FROM pg_database WHERE datname = %s", (database,)).fetchall()
    return None if default[0][0] else [(str(role), str(privilege)) for role, privilege in rows]


def settings_of(connection: Connection, database: str) -> list[str]:
    """What ALTER DATABASE ... SET has set for a database, as name=value."""
    rows = connection.execute(
        "SELECT unnest(s.setconfig) FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase"
        " WHERE d.datname = %s AND s.setrole = 0 ORDER BY 1",
        (database,),
    ).fetchall()
    return [str(each) for (each,) in rows]


def analyze(connection: Connection) -> None:
    """Statistics for the planner, of all tables of the database."""
    connection.execute("ANALYZE")


def size_of(connection: Connection) -> int:
    """Bytes of the database we are connected to."""
    return int(connection.execute("SELECT pg_database_size(current_database())").fetchall()[0][0])
