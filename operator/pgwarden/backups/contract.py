"""What the operator asks an agent to back up, and what the agent answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pgwarden.jobs.files import ArchiveIdentity, DatabaseAddress, StoreLocation
from pgwarden.jobs.task import Operation, Payload, Report


class BackupTask(Payload):
    """One physical backup with the WAL that makes it consistent."""

    OPERATION: ClassVar[Operation] = Operation.BACKUP

    backup_id: str
    """Folder under `backups/`: the same for every attempt of one DatabaseBackup."""
    attempt: int = 1
    type: Literal["full", "incremental"] = "full"
    parent_id: str | None = None
    """Incrementals: what it is taken on; None is the newest full in the store that can be relied on."""
    policy: str = ""
    """Name of the BackupPolicy that asks for it."""
    archive: ArchiveIdentity
    database: DatabaseAddress
    """The primary, where the advisory lock of backups is."""
    replicas: list[DatabaseAddress] = Field(default_factory=list)
    """Servers to take it from, the first that can serve; the primary when none can."""
    expected_system_identifier: str | None = None
    """The backup is refused when the server's differs: a wrong address must not fill an archive."""
    store: StoreLocation
    compression_level: Annotated[int, Field(ge=1, le=19)] = 3
    compression_threads: Annotated[int, Field(ge=1, le=64)] = 2
    max_rate_kib: Annotated[int, Field(ge=0)] = 0
    """MAX_RATE of BASE_BACKUP in KiB/s; 0 is unlimited."""
    object_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Plain size at which an archive is cut into the next object."""


class BackupReport(Report):
    """What stands in the store now; the whole record is backup.json."""

    backup_id: str
    location: str
    """Path of the backup's folder inside the store, without a leading slash."""
    start_time: datetime
    stop_time: datetime
    start_lsn: str
    stop_lsn: str
    timeline: int
    system_identifier: str
    postgres_version: str
    """For example 17.10."""
    plain_bytes: int
    stored_bytes: int
    objects: int
    tablespaces: int = 0
    superuser: str = ""
    """Name of the bootstrap superuser; empty when the role that backed up could not see it."""
    encrypted: bool = False
    damaged: bool = False
    """The server found checksum failures: stored, but never to be relied on."""
    untrusted: str = ""
    """Why an incremental is not to be relied on, as is known now; empty when it is."""
    parent_id: str = ""
    """Incrementals: what it holds the changes since."""
    chain: int = 1
    """How many backups a restore needs, this one included."""
    no_parent: str = ""
    """Why no incremental can be taken on it; empty when one can."""
    note: str = ""
    """What people should know although it succeeded: no replica could serve."""
    repeated: bool = False
    """True when an earlier attempt had committed this backup and it was only read back."""


class NothingNewReport(Report):
    """Nothing was written since the parent, so nothing was backed up."""

    parent_id: str
