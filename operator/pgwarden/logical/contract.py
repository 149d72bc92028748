"""What the operator asks an agent to dump, and what the agent answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import PRIVATE, SCRATCH, ArchiveIdentity, DatabaseAddress, StoreLocation
from pgwarden.jobs.task import ContractModel, Operation, Payload, Report


class Selection(ContractModel):
    """What to include (empty: all) and what to exclude."""

    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class LogicalBackupTask(Payload):
    """A dump of each database, and the globals."""

    OPERATION: ClassVar[Operation] = Operation.LOGICAL_BACKUP

    backup_id: str
    """Folder under `logical/`: the same for every attempt of one DatabaseBackup."""
    attempt: int = 1
    archive: ArchiveIdentity
    database: DatabaseAddress
    """Its database is the one that is asked for the others."""
    expected_system_identifier: str | None = None
    """The backup is refused when the server's differs: a wrong address must not fill an archive."""
    store: StoreLocation
    databases: Selection = Field(default_factory=Selection)
    schemas: Selection = Field(default_factory=Selection)
    tables: Selection = Field(default_factory=Selection)
    globals: bool = True
    password_hashes: bool = False
    directory_format: bool = False
    parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that dump one database, in directory format."""
    lock_timeout_seconds: Annotated[int, Field(ge=1)] = 60
    compression_level: Annotated[int, Field(ge=1, le=19)] = 3
    compression_threads: Annotated[int, Field(ge=1, le=64)] = 2
    object_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Plain size at which a dump is cut into the next object."""
    private_folder: str = PRIVATE
    """In memory: where the password file is written."""
    scratch_folder: str = SCRATCH
    """Where dumps in directory format are written."""
    policy: str = ""


class LogicalBackupReport(Report):
    """What stands in the store now; the whole record is backup.json."""

    backup_id: str
    location: str
    """Path of the backup's folder inside the store, without a leading slash."""
    start_time: datetime
    stop_time: datetime
    system_identifier: str = ""
    postgres_version: str
    """For example 17.10."""
    databases: int
    globals: bool
    plain_bytes: int
    stored_bytes: int
    objects: int
    encrypted: bool = False
    repeated: bool = False
    """True when an earlier attempt had committed this backup and it was only read back."""
