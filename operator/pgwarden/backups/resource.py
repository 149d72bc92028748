"""DatabaseBackup: one backup."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import LSN, Column, KindInfo, Model, Resource, Word
from pgwarden.api.references import JobTemplate, LocalReference, rules
from pgwarden.api.status import WorkStatus
from pgwarden.logical.resource import LOGICAL_RULES, Logical


class BackupType(StrEnum):
    FULL = "Full"
    INCREMENTAL = "Incremental"
    LOGICAL = "Logical"


class BackupSource(StrEnum):
    PRIMARY = "Primary"
    PREFER_REPLICA = "PreferReplica"


class Compression(Model):
    """zstd."""

    level: Annotated[int, Field(ge=1, le=19)] = 3
    """Higher is smaller and slower."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that compress."""


class DatabaseBackupSpec(Model):
    """What is to be backed up, and where to."""

    cluster_ref: LocalReference
    """The DatabaseCluster."""
    store_ref: LocalReference
    """The BackupStore."""
    type: BackupType = BackupType.FULL
    """Full: a physical copy of the whole cluster, with the WAL that makes it consistent. Incremental: what changed
    since an earlier backup, which a restore needs as well. Logical: a dump of each database, which needs no right to
    replicate, and knows no point in time but its own."""
    parent: Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9_][-A-Za-z0-9._]*)?$")] = ""
    """Incremental: id of the backup in the same store that it holds the changes since (status.backupID of a
    DatabaseBackup). Without it the newest full in the store that can be relied on serves."""
    from_: BackupSource = BackupSource.PRIMARY
    """PreferReplica: from the first of the cluster's replicas that can serve; the primary when none can."""
    logical: Annotated[Logical | None, Field(json_schema_extra=LOGICAL_RULES)] = None
    """Logical: what is dumped and how; without it every database."""
    compression: Compression = Field(default_factory=Compression)
    """How it is compressed."""
    max_rate_kib: Annotated[int, Field(ge=0, le=1048576)] = 0
    """Most KiB a second that PostgreSQL sends (MAX_RATE): 0 is no limit, else at least 32."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the Job's pod gets."""
    suspend: bool = False
    """Holds the backup back until this is false."""
    cancel: bool = False
    """Ends the backup; a finished one stays as it is."""
    expire: bool = False
    """Deletes the backup's data from the store, before retention would. Refused, as the condition Expired tells, while
    another backup builds upon it, while a restore reads it, or when moments of the policy's window would be lost."""
    pinned: bool = False
    """Keeps the backup in the store, with all it builds upon, until this is false: no retention lets it go, also when
    this object is gone. The condition Pinned tells whether the store knows."""


class DatabaseBackupStatus(WorkStatus):
    """What became of it."""

    backup_id: Word = ""
    """Name of the backup's folder in the store."""
    location: Annotated[str, Field(max_length=1024)] = ""
    """Path of that folder inside the store; backup.json in it tells everything, and how to restore by hand."""
    start_time: datetime | None = None
    """When PostgreSQL began to send it."""
    completion_time: datetime | None = None
    """When backup.json had been written."""
    start_lsn: LSN | None = None
    """WAL is needed from here."""
    stop_lsn: LSN | None = None
    """WAL is needed up to here."""
    timeline: int | None = None
    """Timeline it was taken on."""
    postgres_version: Word = ""
    """For example 17.10."""
    system_identifier: Word = ""
    """Of the cluster it was taken from."""
    plain_bytes: int | None = None
    """Size before compression."""
    stored_bytes: int | None = None
    """Size in the store."""
    size: Word = ""
    """Size in the store, for people."""
    duration_seconds: float | None = None
    """How long it took."""
    objects: int | None = None
    """How many objects it is made of."""
    databases: int | None = None
    """Logical: how many databases are in it."""
    tablespaces: int | None = None
    """How many tablespaces it holds beside the default one."""
    superuser: Annotated[str, Field(max_length=63)] = ""
    """Name of the cluster's bootstrap superuser: the one a restored instance is entered with."""
    encrypted: bool | None = None
    """Whether an identity is needed to read it."""
    parent: Word = ""
    """Incremental: id of the backup that it holds the changes since."""
    chain_length: int | None = None
    """How many backups a restore needs, this one included."""
    expiry_judged: datetime | None = None
    """When it was last found out whether its data may be deleted (spec.expire)."""
    pin_answered: datetime | None = None
    """When the store was last told whether the backup is pinned (spec.pinned)."""
    note: Annotated[str, Field(max_length=1024)] = ""
    """What should be known although it succeeded: no replica could serve."""


class DatabaseBackup(Resource):
    """One backup of a DatabaseCluster in a BackupStore. Deleting the object does not delete the backup."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="DatabaseBackup",
        plural="databasebackups",
        short_names=("dbb",),
        summary="One backup of a DatabaseCluster in a BackupStore. Deleting the object does not delete the backup.",
        columns=(
            Column(name="Cluster", path=".spec.clusterRef.name"),
            Column(name="Store", path=".spec.storeRef.name"),
            Column(name="Type", path=".spec.type"),
            Column(name="Restorable", path='.status.conditions[?(@.type=="Restorable")].status'),
            Column(name="Progress", path=".status.progress.text"),
            Column(name="Size", path=".status.size"),
            Column(name="Completed", path=".status.completionTime", type="date"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Ready")].reason'),
            Column(name="Version", path=".status.postgresVersion", priority=1),
            Column(name="Parent", path=".status.parent", priority=1),
            Column(name="Stop LSN", path=".status.stopLSN", priority=1),
            Column(name="Location", path=".status.location", priority=1),
            Column(name="Expired", path='.status.conditions[?(@.type=="Expired")].reason', priority=1),
            Column(name="Pinned", path='.status.conditions[?(@.type=="Pinned")].status', priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Ready")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        DatabaseBackupSpec,
        Field(
            json_schema_extra=rules(
                (
                    "self.clusterRef == oldSelf.clusterRef && self.storeRef == oldSelf.storeRef"
                    " && self.type == oldSelf.type && self.parent == oldSelf.parent && self.from == oldSelf.from"
                    " && self.compression == oldSelf.compression && has(self.logical) == has(oldSelf.logical)"
                    " && (!has(self.logical) || self.logical == oldSelf.logical)"
                    " && self.maxRateKiB == oldSelf.maxRateKiB && self.jobTemplate == oldSelf.jobTemplate",
                    "a DatabaseBackup describes one backup and cannot be changed, but for suspend, cancel, expire and"
                    " pinned; make a new one instead",
                ),
                (
                    "!(self.pinned && self.expire)",
                    "pinned keeps the backup and expire deletes it: set one of them to false",
                ),
                (
                    "self.parent == '' || self.type == 'Incremental'",
                    "parent is what an incremental backup is taken on: it needs type Incremental",
                ),
                (
                    "!has(self.logical) || self.type == 'Logical'",
                    "logical says what a logical backup is made of: it needs type Logical",
                ),
                ("!oldSelf.cancel || self.cancel", "cancel cannot be taken back; make a new DatabaseBackup instead"),
                (
                    "self.maxRateKiB == 0 || self.maxRateKiB >= 32",
                    "maxRateKiB is 0 (no limit) or at least 32, the least that PostgreSQL accepts",
                ),
            )
        ),
    ]
    """What is wanted."""
    status: DatabaseBackupStatus = Field(default_factory=DatabaseBackupStatus)
    """What is."""
