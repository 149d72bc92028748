"""Replication slots as a data directory holds them, and how they are made anew.

`pg_replslot/<name>/state` (PostgreSQL 15 to 18, src/backend/replication/slot.c, ReplicationSlotOnDisk, in the machine's
own byte order): magic, checksum, version and length of 4 bytes each; then name (64 bytes), OID of the database, what
kind of persistence (4 bytes each), ..., at 112 whether two-phase commits are decoded, at 113 the output plugin (64
bytes), and from version 5 (PostgreSQL 17) at 178 whether the slot fails over with the primary.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from pgwarden.postgres.connection import Connection

FOLDER = "pg_replslot"
MAGIC = 0x1051CA1
HEADER = struct.Struct("=IIII")
SLOT = struct.Struct("=64sII40x?64s")
FAILOVER_SINCE, FAILOVER_AT = 5, 178
LARGEST = 4096
"""A state file has 200 bytes or so."""
PERSISTENT = 0
"""Others go with the session that made them."""


@dataclass(frozen=True)
class Slot:
    """One replication slot."""

    name: str
    database: int = 0
    """OID of the database of a logical slot; 0 for a physical one."""
    plugin: str = ""
    two_phase: bool = False
    failover: bool = False
    readable: bool = True
    """False where the file tells nothing that is understood, so that only its name is known."""

    @property
    def making(self) -> str:
        """The statement that makes it, for people."""
        name = sql.Literal(self.name)
        if not self.database:
            return sql.SQL("SELECT pg_create_physical_replication_slot({})").format(name).as_string(None)
        options = [sql.SQL(", twophase => true")] if self.two_phase else []
        options += [sql.SQL(", failover => true")] if self.failover else []
        template = sql.SQL("SELECT pg_create_logical_replication_slot({}, {}{})")
        return template.format(name, sql.Literal(self.plugin), sql.SQL("").join(options)).as_string(None)


def slots_in(pgdata: Path) -> list[Slot]:
    """The persistent slots of a server that does not run, by name; none where there is no such folder."""
    folder = pgdata / FOLDER
    files = sorted(folder.glob("*/state")) if folder.is_dir() else []
    found = [(path.parent.name, beginning(path)) for path in files]
    return [slot for name, content in found if (slot := slot_of(name, content)) is not None]


def beginning(path: Path) -> bytes:
    """The first bytes of a file, empty where they cannot be had: a superuser may have put anything there, a pipe say,
    and no restore waits for that."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, LARGEST)
    except OSError:
        return b""
    finally:
        os.close(file)


def slot_of(name: str, content: bytes) -> Slot | None:
    """The slot that a state file describes; None for one that was not meant to last."""
    if len(content) < HEADER.size + SLOT.size:
        return Slot(name, readable=False)
    magic, _checksum, version, _length = HEADER.unpack_from(content)
    raw_name, database, persistence, two_phase, plugin = SLOT.unpack_from(content, HEADER.size)
    if magic != MAGIC or text(raw_name) != name:
        return Slot(name, readable=False)
    if persistence != PERSISTENT:
        return None
    at = HEADER.size + FAILOVER_AT
    failover = version >= FAILOVER_SINCE and len(content) > at and bool(content[at])
    return Slot(name, database, text(plugin), two_phase, failover)


def text(padded: bytes) -> str:
    return padded.split(b"\0", 1)[0].decode(errors="replace")


def database_names(connection: Connection) -> Mapping[int, str]:
    """The databases by their OID."""
    return {int(oid): str(name) for oid, name in connection.execute("SELECT oid, datname FROM pg_database")}


def create_physical_slots(connection: Connection, names: Sequence[str]) -> None:
    """Makes physical replication slots, those that are there left as they are. They keep no WAL before they are used
    for the first time."""
    connection.execute(
        "SELECT pg_create_physical_replication_slot(name) FROM unnest(%s::text[]) AS name"
        " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = name)",
        (list(names),),
    )
