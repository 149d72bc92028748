"""backup.json of a logical backup: its dumps, and how to load them without pgwarden. Pure.

It lies in `logical/<backup id>/`, is written last and thereby commits the backup, as that of a physical one does.
Each dump is a list of objects; their plain contents, one after the other, are what `format` says.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pgwarden.backups.record import BackupId, DatabaseFacts, Extension, Record, RecordModel, StoredObject, read_as

NO_COMMON_MOMENT = (
    "each database is consistent in itself, at its snapshot time; there is no moment at which all of them are:"
    " PostgreSQL has no snapshot across databases"
)


class DumpFormat(StrEnum):
    """What the plain contents of a dump's objects are, one after the other."""

    CUSTOM = "custom"
    """The custom format of pg_dump, as pg_restore reads it from standard input."""
    DIRECTORY = "directory"
    """A tar archive of the folder that pg_dump wrote; unpacked, pg_restore reads it with several jobs."""


class DatabaseDump(DatabaseFacts):
    """The dump of one database."""

    owner: str
    extensions: list[Extension] = Field(default_factory=list)
    snapshot_time: datetime
    """The server's time of the snapshot: what was committed before it is in the dump."""
    snapshot_lsn: str | None = None
    """WAL position right before the snapshot; None where the server does not tell."""
    relations: int
    """Tables whose contents are in the dump."""
    duration_seconds: float
    format: DumpFormat
    objects: Annotated[list[StoredObject], Field(min_length=1)]


class LeftOut(RecordModel):
    """A database that is not in the backup."""

    name: str
    why: str


class LogicalServer(RecordModel):
    """The server the dumps were taken from."""

    version: str
    """For example `17.10`."""
    version_num: int
    """For example 170010."""
    version_text: str
    """What version() says: compiler, operating system."""
    from_standby: bool


class LogicalRecord(Record):
    """backup.json of a logical backup."""

    WHAT = "the record of a logical backup"

    backup_id: BackupId
    type: Literal["logical"] = "logical"
    system_identifier: str = ""
    """Empty where the role may not ask."""
    server: LogicalServer
    pg_dump_version: str
    """For example `17.10`."""
    consistency: str = NO_COMMON_MOMENT
    databases: Annotated[list[DatabaseDump], Field(min_length=1)]
    left_out: list[LeftOut] = Field(default_factory=list)
    globals: StoredObject | None = None
    """SQL of roles and tablespaces, as pg_dumpall --globals-only prints it; None when it was not asked for."""
    password_hashes: bool = False
    """Whether the roles in it have their passwords' hashes."""
    options: list[str] = Field(default_factory=list)
    """Options of pg_dump that chose what is in the dumps."""

    @property
    def objects(self) -> list[StoredObject]:
        dumps = [stored for database in self.databases for stored in database.objects]
        return [*dumps, self.globals] if self.globals is not None else dumps


def read_logical_record(content: bytes, name: str) -> LogicalRecord:
    """The record of a logical backup; as `pgwarden.backups.record.read_as`."""
    return read_as(LogicalRecord, content, name)
