"""backup.json of a logical backup: its dumps, and how to load them without pgwarden. Pure.

It lies in `logical/<backup id>/`, is written last and thereby commits the backup, as that of a physical one does.
Each dump is a list of objects; their plain contents, one after the other, are what `format` says.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from pgwarden.backups.record import RECORD_VERSION, Authentication, BackupId, Extension, RecordModel, StoredObject
from pgwarden.jobs.errors import TaskError

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


class DatabaseDump(RecordModel):
    """The dump of one database."""

    name: str
    owner: str
    encoding: str
    locale_provider: str
    """libc, icu or builtin."""
    collate: str
    ctype: str
    locale: str | None = None
    """The provider's own locale name, where it has one."""
    collation_version: str | None = None
    """Version the database's text was sorted with."""
    size_bytes: int | None = None
    """Of the database on the server's disk, indexes included; None where the role may not ask."""
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

    @property
    def plain_bytes(self) -> int:
        return sum(stored.plain_bytes for stored in self.objects)

    @property
    def stored_bytes(self) -> int:
        return sum(stored.stored_bytes for stored in self.objects)


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


class LogicalRecord(RecordModel):
    """backup.json of a logical backup."""

    schema_version: Annotated[int, Field(ge=1)] = RECORD_VERSION
    pgwarden_version: str
    backup_id: BackupId
    attempt: int
    type: Literal["logical"] = "logical"
    policy: str = ""
    """Name of the BackupPolicy that asked for it; empty when a person did."""
    cluster_uid: str
    """UID of the DatabaseCluster the archive belongs to."""
    system_identifier: str = ""
    """Empty where the role may not ask."""
    start_time: datetime
    stop_time: datetime
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
    recipients: list[str] = Field(default_factory=list)
    """age recipients the objects are encrypted to; empty means not encrypted."""
    compression: str
    """For example `zstd level 3`."""
    restore_by_hand: list[str]
    """A bash script, line by line, that loads the dumps with age, zstd, tar and PostgreSQL's own tools."""
    authentication: Authentication | None = None
    """None when it was written without the store's catalogue key."""

    @property
    def encrypted(self) -> bool:
        return bool(self.recipients)

    @property
    def objects(self) -> list[StoredObject]:
        """Every object of the backup beside backup.json itself."""
        dumps = [stored for database in self.databases for stored in database.objects]
        return [*dumps, self.globals] if self.globals is not None else dumps

    @property
    def plain_bytes(self) -> int:
        return sum(stored.plain_bytes for stored in self.objects)

    @property
    def stored_bytes(self) -> int:
        return sum(stored.stored_bytes for stored in self.objects)

    def to_bytes(self) -> bytes:
        """The content of backup.json: indented, because people read it on a bad night."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True).encode() + b"\n"


def read_logical_record(content: bytes, name: str) -> LogicalRecord:
    """The record in `content`, which was read from the object `name`.

    Raises TaskError: RecordTooNew when a later pgwarden wrote it, ObjectDamaged when it is not a logical record.
    """
    try:
        version = _Versioned.model_validate_json(content).schema_version
        if version <= RECORD_VERSION:
            return LogicalRecord.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TaskError(
            "ObjectDamaged",
            f"{name} is not the record of a logical backup: {where}: {first['msg']}",
            remedy="Restore from another backup; look at who else writes into the store.",
        ) from error
    raise TaskError(
        "RecordTooNew",
        f"{name} has schema version {version}; this pgwarden reads up to {RECORD_VERSION}",
        remedy="Use the version of pgwarden that wrote the backup, or a later one.",
    )


class _Versioned(RecordModel):
    """The one field that every version has."""

    schema_version: Annotated[int, Field(ge=1)]
