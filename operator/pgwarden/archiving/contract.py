"""What the operator tells an archiver, and the document in which the archiver answers."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgwarden.jobs.files import ArchiveIdentity, DatabaseAddress, StoreLocation
from pgwarden.jobs.task import ContractModel, ReportModel

SETTINGS_FILE = "/pgwarden/archiver/settings.json"
PORT = 8080
STATUS_PATH = "/status"
SLOT_PATTERN = r"pgwarden_[0-9a-f]{12}"


class ArchiverSettings(ContractModel):
    """All an archiver needs to know; read again when the file changes. Secrets stand in files it only names."""

    policy: str
    """Name of the BackupPolicy, for messages."""
    digest: str = ""
    """Of everything else: tells whether a report was made with the present settings."""
    archive: ArchiveIdentity
    endpoints: Annotated[list[DatabaseAddress], Field(min_length=1)]
    """The primary's address first, then those of the replicas: after a failover one of them is the primary. WAL is
    only taken from a server that is not in recovery."""
    expected_system_identifier: str | None = None
    """None until the operator has seen the server."""
    store: StoreLocation
    slot: Annotated[str, Field(pattern=SLOT_PATTERN)]
    compression_level: Annotated[int, Field(ge=1, le=19)] = 2
    tail_seconds: Annotated[float, Field(gt=0, le=3600)] = 5
    """How long bytes of an unfinished segment wait at most until they go up."""
    spool_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20
    """WAL in memory that the store has not acknowledged yet; beyond it the server is not read from. At least one
    segment is always held."""
    uploads: Annotated[int, Field(ge=1, le=16)] = 4
    """At a time."""
    retired: bool = False
    """The policy wants no WAL any more: the slots are dropped, and nothing is archived."""


def slot_name(policy_uid: str) -> str:
    """The name of a policy's replication slot: the same for every archiver of it, and nobody else's."""
    return f"pgwarden_{hashlib.sha256(policy_uid.encode()).hexdigest()[:12]}"


class ArchiverState(StrEnum):
    """What an archiver is about."""

    STARTING = "Starting"
    STREAMING = "Streaming"
    STORE_UNREACHABLE = "StoreUnreachable"
    """The store takes nothing: the server keeps the WAL meanwhile, and uploads are tried again and again."""
    WAITING_FOR_PRIMARY = "WaitingForPrimary"
    """No endpoint is a primary that lets us in."""
    SLOT_IN_USE = "SlotInUse"
    """Another archiver has the slot."""
    SLOT_LOST = "SlotLost"
    """The slot cannot be had: none is left, or the role may not make one."""
    SYNCHRONOUS_STANDBY = "SynchronousStandby"
    """PostgreSQL would wait for us at each commit: we keep away."""
    WRONG_SYSTEM = "WrongSystem"
    """The server, or the archive, is another cluster's."""
    CONFLICT = "Conflict"
    """The archive holds other WAL at the same position: nothing is written or acknowledged."""
    STOPPING = "Stopping"
    RETIRED = "Retired"
    """WAL is turned off, and the slot is on no server any more."""


class ArchiveGap(ReportModel):
    """WAL from `start` up to `end` that the archive never got; also the form of `gaps/*.json`."""

    schema_version: int = 1
    timeline: int
    start: str
    end: str
    reason: str
    message: str
    time: datetime
    """When it was noticed."""


class SlotReport(ReportModel):
    """What pg_replication_slots says of our slot."""

    name: str
    server: str = ""
    """host:port, where it is not the primary."""
    exists: bool = False
    active: bool = False
    wal_status: str = ""
    """reserved, extended, unreserved or lost."""
    restart_lsn: str = ""
    safe_wal_bytes: int | None = None
    """WAL that may still be written before the server gives the slot up; None without such a limit."""


class ArchiverReport(ReportModel):
    """The archiver's document."""

    schema_version: int = 1
    time: datetime
    policy: str
    digest: str = ""
    state: ArchiverState = ArchiverState.STARTING
    reason: str = "Starting"
    message: str = ""
    remedy: str = ""
    since: datetime
    """When the state was entered."""
    archive: str = ""
    """Id of the archive that is written to: 0001 at first."""
    archive_since: datetime | None = None
    """When it took the place of another one; None for the first."""
    archive_reason: str = ""
    """Why it did."""
    server: str = ""
    """host:port that WAL is taken from."""
    system_identifier: str = ""
    timeline: int = 0
    archived_timeline: int = 0
    """The newest timeline of which the archive holds the history file, and all WAL from its beginning to where the
    server was when it was connected to."""
    received_lsn: str = ""
    acknowledged_lsn: str = ""
    """The store holds all WAL of the timeline up to here (but for the gaps)."""
    flushed_lsn: str = ""
    """What the server was last told; never beyond what the store acknowledged."""
    server_lsn: str = ""
    lag_bytes: int | None = None
    """From what is acknowledged to what the server has written; None until both are known."""
    recovery_point_time: datetime | None = None
    """The newest moment, by the server's clock, all of whose WAL is in the store."""
    lag_seconds: float | None = None
    """Its age: the recovery point's."""
    spool_bytes: int = 0
    segments_archived: int = 0
    """By this process."""
    stored_bytes: int = 0
    """By this process, as they lie in the store."""
    last_archived_time: datetime | None = None
    slot: SlotReport | None = None
    replica_slots: list[SlotReport] = Field(default_factory=list)
    """Ours on the replicas that answer: should one be promoted, no WAL is missing."""
    unlimited_slot: bool = False
    """max_slot_wal_keep_size is -1: while nothing is archived, WAL piles up on the server until its disk is full."""
    gaps: list[ArchiveGap] = Field(default_factory=list)
    """The newest 20."""
    gaps_total: int = 0
    warnings: list[str] = Field(default_factory=list)
