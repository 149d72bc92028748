"""Takes one logical backup: each database dumped at a moment of its own, the globals, then the record.

Nothing is staged on disk but dumps in directory format. backup.json is written last, by the caller.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pgwarden
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tools import find_tool, tool_version
from pgwarden.logical.by_hand import restore_script
from pgwarden.logical.contract import LogicalBackupTask
from pgwarden.logical.dump import OPERATION, Place, Share, Tools, dump_database, dump_globals
from pgwarden.logical.record import DatabaseDump, LogicalRecord, LogicalServer
from pgwarden.logical.selection import chosen, dump_options
from pgwarden.postgres.client_files import client_files
from pgwarden.postgres.connection import connect, refuse_old_server, server_version
from pgwarden.postgres.databases import ServerDatabase, list_databases
from pgwarden.postgres.statements import PermissionDenied, query
from pgwarden.storage import layout
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.objects import Packing
from pgwarden.storage.store import Store


@dataclass(frozen=True)
class Seen:
    """What the server told before the first dump."""

    server: LogicalServer
    system_identifier: str
    databases: list[ServerDatabase]


def take_logical_backup(task: LogicalBackupTask, store: Store, location: str, context: AgentContext) -> LogicalRecord:
    """Uploads everything of a logical backup and returns its record, which the caller commits.

    Raises TaskError: ServerTooOld, SystemIdentifierMismatch, AgentImageMismatch, DatabaseNotFound, NothingToDump, those
    of `dump_database`, InvalidRecipient, and what connections and stores raise.
    """
    packing = Packing(task.compression_level, task.compression_threads, parse_recipients(task.store.recipients))
    started = datetime.now(UTC)
    seen = look(task)
    databases, left_out = chosen(seen.databases, task.databases)
    major = seen.server.version_num // 10000
    pg_dump = find_tool("pg_dump", major)
    pg_dumpall = find_tool("pg_dumpall", major)
    place = Place(store, location, layout.attempt_folder(task.attempt, secrets.token_hex(4)), packing)
    session = f"{OPERATION}/{secrets.token_hex(4)}"
    dumps: list[DatabaseDump] = []
    with client_files(task.database, session, Path(task.private_folder), major) as files:
        tools = Tools(pg_dump, files, f"pgwarden/{session}")
        # First what takes seconds: a role that may not read it is told before hours of dumping.
        kept = dump_globals(task, pg_dumpall, tools, place, context) if task.globals else None
        for number, database in enumerate(databases):
            dumps.append(dump_database(task, database, number, tools, place, context, share(databases, number)))
    encrypted = bool(task.store.recipients)
    return LogicalRecord(
        pgwarden_version=pgwarden.__version__,
        backup_id=task.backup_id,
        attempt=task.attempt,
        policy=task.policy,
        cluster_uid=task.archive.cluster_uid,
        system_identifier=seen.system_identifier,
        start_time=started,
        stop_time=datetime.now(UTC),
        server=seen.server,
        pg_dump_version=tool_version(pg_dump),
        databases=dumps,
        left_out=left_out,
        globals=kept,
        password_hashes=task.globals and task.password_hashes,
        options=dump_options(task),
        recipients=task.store.recipients,
        compression=f"zstd level {task.compression_level}",
        restore_by_hand=restore_script(
            backup_id=task.backup_id,
            location=location,
            version=seen.server.version,
            databases=dumps,
            globals_object=kept,
            encrypted=encrypted,
        ),
    )


def look(task: LogicalBackupTask) -> Seen:
    """Asks the server who it is and which databases it has. Raises TaskError."""
    with connect(task.database, OPERATION) as connection:
        refuse_old_server(connection.info.server_version, task.database)
        try:
            identifier = str(query(connection, "system_identifier")[0][0])
        except PermissionDenied:
            identifier = ""
        expected = task.expected_system_identifier
        if identifier and expected not in (None, "", identifier):
            raise TaskError(
                "SystemIdentifierMismatch",
                f"the server {task.database.host}:{task.database.port} has system identifier {identifier}, not "
                f"{expected}: it is another cluster than the one this archive belongs to",
                remedy="Correct the address in the DatabaseCluster. After pg_upgrade or a new initdb, make a new "
                "DatabaseCluster, or wait until the operator has seen the new identifier.",
            )
        text, standby = query(connection, "server_version_text")[0]
        server = LogicalServer(
            version=server_version(connection),
            version_num=connection.info.server_version,
            version_text=text,
            from_standby=standby,
        )
        return Seen(server, identifier, list_databases(connection))


def share(databases: list[ServerDatabase], number: int) -> Share:
    """The part of the work that one of the databases is."""
    sizes = [database.size_bytes or 1 for database in databases]
    return Share(before=sum(sizes[:number]), own=sizes[number], total=sum(sizes))
