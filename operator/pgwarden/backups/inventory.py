"""What a backup's record remembers of the server, asked over an ordinary connection.

Whatever the role may not read is left out, and the record says so. Values of settings that may hold a secret are
never recorded: backup.json is not encrypted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pgwarden.backups.record import Database, DatabaseFacts, Extension, RuleFile, Server, Setting
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect, server_version
from pgwarden.postgres.databases import ServerDatabase, list_databases
from pgwarden.postgres.statements import PermissionDenied, query

OPERATION = "backup"
MAY_HOLD_A_SECRET = re.compile(r"conninfo|_command$|passw|secret|token|credential|_key$", re.IGNORECASE)
SECRET_OPTIONS = ("ldapbindpasswd=", "radiussecrets=", "ldapurl=")
RULES_REMEDY = "the grants in docs/sql/backup-role.sql let the role read it"


@dataclass(frozen=True)
class Inventory:
    """What was asked before the backup began."""

    system_identifier: str
    tablespace_names: dict[int, str]
    server: Server


def take_inventory(address: DatabaseAddress, check_stop: Callable[[], None]) -> Inventory:
    """Asks the server, and each of its databases for its extensions. Raises TaskError."""
    with connect(address, OPERATION) as connection:
        facts = query(connection, "server_facts")[0]
        names = {int(oid): str(name) for oid, name in query(connection, "tablespaces")}
        known = list_databases(connection)
        server = Server(
            version=server_version(connection),
            version_num=connection.info.server_version,
            version_text=facts[0],
            from_standby=facts[2],
            block_size=facts[3],
            wal_segment_bytes=facts[4],
            data_checksums=facts[5],
            data_directory_mode=facts[6],
            data_directory=facts[7],
            bootstrap_superuser=facts[8],
            settings=[setting(*row) for row in query(connection, "settings")],
            hba=_rule_file(connection, "hba_rules", hba_line),
            ident=_rule_file(connection, "ident_mappings", ident_line),
        )
    for each in known:
        check_stop()
        server.databases.append(_database(address, each))
    return Inventory(system_identifier=str(facts[1]), tablespace_names=names, server=server)


def setting(name: str, value: str, source: str) -> Setting:
    """A setting for the record, without its value where that may be secret."""
    return Setting(name=name, value=None if MAY_HOLD_A_SECRET.search(name) else value, source=source)


def hba_line(row: tuple[Any, ...]) -> str:
    """One row of pg_hba_file_rules as a line of pg_hba.conf."""
    number, kind, databases, users, address, netmask, method, options, error = row
    if error is not None:
        return f"# line {number}: {error}"
    shown = [option for option in options or [] if not option.startswith(SECRET_OPTIONS)]
    left_out = len(options or []) - len(shown)
    words = [kind, ",".join(databases or []), ",".join(users or []), address, netmask, method, *shown]
    return " ".join(word for word in words if word) + (f" # {left_out} secret options left out" if left_out else "")


def ident_line(row: tuple[Any, ...]) -> str:
    """One row of pg_ident_file_mappings as a line of pg_ident.conf."""
    number, name, system_user, database_user, error = row
    return f"# line {number}: {error}" if error is not None else f"{name} {system_user} {database_user}"


def _rule_file(connection: Connection, statement: str, line: Callable[[tuple[Any, ...]], str]) -> RuleFile:
    try:
        return RuleFile(readable=True, rules=[line(row) for row in query(connection, statement)])
    except PermissionDenied as denied:
        return RuleFile(readable=False, why_not=f"{str(denied).strip()}; {RULES_REMEDY}")


def _database(address: DatabaseAddress, known: ServerDatabase) -> Database:
    facts = {name: getattr(known, name) for name in DatabaseFacts.model_fields}
    database = Database(oid=known.oid, **facts)
    if not (known.allows_connections and known.lets_us_in):
        database.why_no_extensions = "connections to it are not allowed"
        return database
    try:
        with connect(address, OPERATION, database=known.name) as connection:
            rows = query(connection, "extensions")
    except (TaskError, PermissionDenied) as error:
        database.why_no_extensions = str(error)
        return database
    database.extensions = [Extension(name=extension, version=found) for extension, found in rows]
    return database
