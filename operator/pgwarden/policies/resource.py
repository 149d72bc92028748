"""BackupPolicy: when a cluster is backed up, what is kept, and whether the objectives hold."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.durations import Duration
from pgwarden.api.model import LSN, Column, KindInfo, Model, ObjectName, Resource, Word
from pgwarden.api.references import JobTemplate, LocalReference, ResourceRequirements, rules
from pgwarden.api.status import WorkStatus
from pgwarden.backups.resource import BackupSource, Compression
from pgwarden.logical.resource import LOGICAL_RULES, Logical
from pgwarden.policies.drill_resource import DrillPlan, DrillStatus
from pgwarden.policies.schedule_resource import ScheduleSpec, ScheduleStatus

MORE_THAN_NOTHING = rules(
    ("self.matches('[1-9]')", "an objective of nothing at all is missed at every moment; give one that can be kept: 5m")
)


class Schedules(Model):
    """When which backups are taken."""

    full: ScheduleSpec | None = None
    """Full physical backups, for example daily."""
    incremental: ScheduleSpec | None = None
    """What changed since an earlier backup, for example hourly; PostgreSQL 17 and later."""
    logical: ScheduleSpec | None = None
    """pg_dump of the databases, for example weekly."""


class IncrementalChain(StrEnum):
    FULL = "Full"
    PREVIOUS = "Previous"


class IncrementalOptions(Model):
    """What incremental backups are taken on."""

    chain: IncrementalChain = IncrementalChain.FULL
    """Full: on the last full backup, so that a restore combines two. Previous: on the last backup, which is smaller
    each time, and a restore combines all since the full."""
    max_chain: Annotated[int, Field(ge=1, le=62)] = 24
    """Previous: so many incrementals at most stand on one another; then one is taken on the full again."""


class WAL(Model):
    """Continuous archiving: makes every moment between two backups recoverable."""

    enabled: bool = False
    """Runs an archiver for this policy. When it is turned off, the archiver drops its replication slots and goes; when
    the policy is deleted they stay, and the DatabaseCluster's condition SlotsInUse names them."""
    tail_seconds: Annotated[int, Field(ge=1, le=3600)] = 5
    """How long WAL waits at most until it goes to the store."""
    spool_mib: Annotated[int, Field(ge=16, le=4096)] = 64
    """Most MiB of WAL in memory that the store has not taken yet; beyond it the server keeps the WAL."""
    uploads: Annotated[int, Field(ge=1, le=16)] = 4
    """Uploads at a time."""
    compression_level: Annotated[int, Field(ge=1, le=19)] = 2
    """zstd level. Of WAL, level 3 takes twice the processor time of level 2 and gains less than a tenth."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the archiver."""


class Retention(Model):
    """What is kept. Nothing is deleted before a newer backup can take its place."""

    window: Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[0-9]{1,6}[smhdw]$")] = "30d"
    """Every moment of it stays recoverable, for example 30d. 0d keeps minimumFulls and what came after the oldest of
    them."""
    minimum_fulls: Annotated[int, Field(ge=1, le=1000)] = 2
    """So many restorable full backups are kept, however old they are."""
    daily: Annotated[int, Field(ge=0, le=1000)] = 0
    """Beyond the window, the last full backup of each of so many days."""
    weekly: Annotated[int, Field(ge=0, le=1000)] = 0
    """The same for weeks."""
    monthly: Annotated[int, Field(ge=0, le=1000)] = 0
    """The same for months."""
    yearly: Annotated[int, Field(ge=0, le=1000)] = 0
    """The same for years."""


class Verification(Model):
    """Reading stored objects again, to find what has rotted."""

    schedule: ScheduleSpec | None = None
    """When; without it never."""
    backups: Annotated[int, Field(ge=1, le=100)] = 1
    """So many backups each time: those that were not read for the longest."""
    max_rate_kib: Annotated[int, Field(ge=0, le=1048576)] = 0
    """Most KiB read a second; 0 is no limit."""


class Objectives(Model):
    """What the backups are for; judged all the time."""

    recovery_point: Annotated[Duration | None, Field(json_schema_extra=MORE_THAN_NOTHING)] = None
    """How much may be lost at most: the age of the newest recoverable moment. Without it what the policy can keep: an
    hour with WAL; else one and a half times the time between two backups, or that and what the longest of them takes.
    """
    recovery_time: Annotated[Duration, Field(json_schema_extra=MORE_THAN_NOTHING)] = "30m"
    """How long a restore may take; judged by the last restore or drill that succeeded, as long as it took."""


class BackupPolicySpec(Model):
    """When which backups are taken of what, where to, and how long they are kept."""

    cluster_ref: LocalReference
    """The DatabaseCluster."""
    store_ref: LocalReference
    """The BackupStore."""
    schedules: Schedules
    """When which backups are taken."""
    incremental: IncrementalOptions = Field(default_factory=IncrementalOptions)
    """What incremental backups are taken on."""
    logical: Annotated[Logical | None, Field(json_schema_extra=LOGICAL_RULES)] = None
    """How logical backups are taken."""
    wal: WAL = Field(default_factory=WAL)
    """Continuous archiving."""
    compression: Compression = Field(default_factory=Compression)
    """How backups are compressed."""
    max_rate_kib: Annotated[int, Field(ge=0, le=1048576)] = 0
    """Most KiB a second that PostgreSQL sends for a backup (MAX_RATE): 0 is no limit, else at least 32."""
    from_: BackupSource = BackupSource.PRIMARY
    """PreferReplica: from the first of the cluster's replicas that can serve; the primary when none can."""
    retention: Retention = Field(default_factory=Retention)
    """What is kept."""
    verification: Verification = Field(default_factory=Verification)
    """Reading stored objects again."""
    drill: DrillPlan | None = None
    """Restores that are measured and thrown away; without it none are made."""
    objectives: Objectives = Field(default_factory=Objectives)
    """What the backups are for."""
    history_limit: Annotated[int, Field(ge=0, le=1000)] = 24
    """So many DatabaseBackup objects are kept beside the running, the failed, and the fulls of the window. The backups
    themselves are retention's."""
    failed_history_days: Annotated[int, Field(ge=0, le=365)] = 7
    """So long objects of failed backups are kept."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the pods of backups, of the archiver and of looks into the archive get."""
    suspend: bool = False
    """Stops new backups and deletions. WAL archiving goes on: without it WAL would pile up on the server."""


class LastBackup(Model):
    """The newest successful backup of a type."""

    name: Annotated[str, Field(max_length=253)] = ""
    """Its DatabaseBackup."""
    backup_id: Word = ""
    """Name of its folder in the store."""
    time: datetime
    """When it ended."""
    stored_bytes: int = 0
    """Its size in the store."""
    size: Word = ""
    """The same for people."""


class RecoverablePoint(Model):
    """A moment that the data can be brought back to."""

    time: datetime
    """By the server's clock."""
    lsn: LSN | None = None
    """The WAL position."""


class WALStatus(Model):
    """The archiver as it was last heard of; numbers may be two minutes old."""

    state: Word = ""
    """Streaming when all is well."""
    since: datetime | None = None
    """Since when."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What happened and what to do now."""
    archive: Word = ""
    """Id of the archive that is written to: 0001 at first. The next one takes its place when a server's volume was
    rolled back, or when it has become another PostgreSQL cluster, as by pg_upgrade."""
    archive_since: datetime | None = None
    """When it took the place of another one."""
    archive_reason: Annotated[str, Field(max_length=1024)] = ""
    """Why it did."""
    server: Annotated[str, Field(max_length=260)] = ""
    """Where WAL is taken from."""
    timeline: int | None = None
    """Of the server."""
    archived_timeline: int | None = None
    """The newest timeline of which the store holds the history file and the WAL from its beginning on."""
    acknowledged: LSN | None = None
    """The store holds all WAL up to here."""
    lag: Word = ""
    """How old the newest recoverable moment is, roughly."""
    lag_seconds: int | None = None
    """The same in seconds."""
    lag_bytes: int | None = None
    """WAL that the store does not hold yet, rounded."""
    spool_bytes: int | None = None
    """Of it in the archiver's memory, rounded."""
    slot: Word = ""
    """The replication slot."""
    slot_state: Word = ""
    """reserved, extended, unreserved or lost."""
    gaps: int = 0
    """How many gaps the archive has."""
    last_gap: Annotated[str, Field(max_length=1024)] = ""
    """The newest one: from where to where, and why."""
    last_gap_end: LSN | None = None
    """Where it ends."""
    last_gap_timeline: int | None = None
    """On which timeline."""
    warnings: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=8)] = Field(default_factory=list)
    """Settings of the server that will hurt one day."""


class ObjectivesStatus(Model):
    """The numbers behind ObjectivesMet."""

    recovery_point_seconds: int = 0
    """What is wanted."""
    recovery_time_seconds: int = 0
    """What is wanted."""
    measured_recovery_seconds: int | None = None
    """How long the last restore or drill of this cluster took."""
    measured_time: datetime | None = None
    """When that was."""
    measured_by: Annotated[str, Field(max_length=253)] = ""
    """The RestoreRequest."""
    measured_loss_seconds: int | None = None
    """How much the last drill to the latest moment would have lost."""
    measured_loss_time: datetime | None = None
    """When that was."""
    measured_loss_by: Annotated[str, Field(max_length=253)] = ""
    """The RestoreRequest."""


class CatalogueStatus(Model):
    """What the last look into the archive found."""

    time: datetime | None = None
    """When it was."""
    next_time: datetime | None = None
    """When the next one is due."""
    job: Annotated[str, Field(max_length=63)] = ""
    """The Job that looks, or looked last."""
    what: Word = ""
    """prune, or verify where objects were read again."""
    failures: int = 0
    """How often it has failed in a row."""
    fulls: int = 0
    """Full backups in the archive."""
    incrementals: int = 0
    """Incremental backups in the archive."""
    logicals: int = 0
    """Logical backups in the archive."""
    restorable: int = 0
    """Physical backups that can be restored now."""
    looked_from: datetime | None = None
    """When the look began that these numbers are of: what ended later is not in them."""
    newest_full: datetime | None = None
    """When the newest full backup ended that can be restored."""
    newest_incremental: datetime | None = None
    """The same of incremental backups."""
    newest_logical: datetime | None = None
    """The same of logical backups."""
    stored_bytes: int = 0
    """Size of backups and WAL in the store, rounded."""
    size: Word = ""
    """The same for people."""
    gaps: int = 0
    """Gaps in the archived WAL."""
    flawed: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=8)] = Field(default_factory=list)
    """Backups that cannot be relied upon, each with why; the first few."""
    troubles: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=8)] = Field(default_factory=list)
    """Objects in the archive that could not be understood or believed; the first few."""
    deleted_backups: int = 0
    """Backups that the last look deleted because they had expired."""
    deleted_bytes: int = 0
    """Bytes that it freed."""
    held: Annotated[str, Field(max_length=1024)] = ""
    """Why nothing expires, or what the store would not delete; empty when all is as it should be."""
    last_check_time: datetime | None = None
    """When objects were last read again."""
    last_check_backup: Word = ""
    """Of which backup."""
    last_check_passed: bool | None = None
    """Whether they were as they had been written."""


class BackupPolicyStatus(WorkStatus):
    """What is in force, and what came of it."""

    schedules: Annotated[
        list[ScheduleStatus],
        Field(
            max_length=5, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """The schedules as they are in force."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What is to be known first: why the policy is not in force, where it is not; else what ObjectivesMet says."""
    next_run: Annotated[str, Field(max_length=128)] = ""
    """The next backup, for people: type and time."""
    running: Annotated[list[ObjectName], Field(max_length=8)] = Field(default_factory=list)
    """DatabaseBackups that have not ended."""
    last_full: LastBackup | None = None
    """The newest restorable full backup."""
    last_incremental: LastBackup | None = None
    """The newest restorable incremental backup."""
    last_logical: LastBackup | None = None
    """The newest complete logical backup."""
    store: Annotated[str, Field(max_length=253)] = ""
    """The BackupStore that all of this is of; with another storeRef it is found out anew."""
    earliest_recoverable: RecoverablePoint | None = None
    """The data can be brought back to any moment from here ..."""
    latest_recoverable: RecoverablePoint | None = None
    """... up to here, but for gaps. At most two minutes older than it is; the metrics tell it exactly."""
    wal: WALStatus | None = None
    """The archiver."""
    drill: DrillStatus | None = None
    """What came of the drills."""
    objectives: ObjectivesStatus | None = None
    """The numbers behind ObjectivesMet."""
    catalogue: CatalogueStatus | None = None
    """What the last look into the archive found."""
    retention: Annotated[str, Field(max_length=512)] = ""
    """What is kept, in words."""


class BackupPolicy(Resource):
    """When a cluster is backed up, what is kept, and whether the objectives hold. Deleting it deletes no backup."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="BackupPolicy",
        plural="backuppolicies",
        short_names=("bkp",),
        summary="When a cluster is backed up, what is kept, and whether the objectives hold. Deleting it deletes no"
        " backup.",
        columns=(
            Column(name="Cluster", path=".spec.clusterRef.name"),
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Reason", path='.status.conditions[?(@.type=="Ready")].reason'),
            Column(name="Last Full", path=".status.lastFull.time", type="date"),
            Column(name="Last Incr", path=".status.lastIncremental.time", type="date"),
            Column(name="From", path=".status.earliestRecoverable.time", type="date"),
            Column(name="To", path=".status.latestRecoverable.time", type="date"),
            Column(name="WAL Lag", path=".status.wal.lag"),
            Column(name="Objectives", path='.status.conditions[?(@.type=="ObjectivesMet")].status'),
            Column(name="Last Drill", path=".status.drill.lastSuccess.time", type="date"),
            Column(name="Next Run", path=".status.nextRun"),
            Column(name="Store", path=".spec.storeRef.name", priority=1),
            Column(name="Last Logical", path=".status.lastLogical.time", type="date", priority=1),
            Column(name="Last Backup", path='.status.conditions[?(@.type=="LastBackupSucceeded")].reason', priority=1),
            Column(name="WAL", path='.status.conditions[?(@.type=="WALArchiving")].reason', priority=1),
            Column(name="Drill", path='.status.conditions[?(@.type=="LastDrillSucceeded")].reason', priority=1),
            Column(name="Recovery", path=".status.drill.lastSuccess.recovery", priority=1),
            Column(name="In Store", path=".status.catalogue.size", priority=1),
            Column(name="Message", path=".status.message", priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        BackupPolicySpec,
        Field(
            json_schema_extra=rules(
                (
                    "self.clusterRef == oldSelf.clusterRef",
                    "clusterRef of a BackupPolicy cannot be changed; make a new policy for the other cluster",
                ),
                (
                    "has(self.schedules.full) || has(self.schedules.logical)",
                    "give schedules.full or schedules.logical: without either nothing is ever backed up",
                ),
                (
                    "!has(self.schedules.incremental) || has(self.schedules.full)",
                    "incremental backups stand on full ones: add schedules.full",
                ),
                (
                    "!self.wal.enabled || has(self.schedules.full)",
                    "archived WAL is of use only after a full backup: add schedules.full",
                ),
                (
                    "self.maxRateKiB == 0 || self.maxRateKiB >= 32",
                    "maxRateKiB is 0 (no limit) or at least 32, the least that PostgreSQL accepts",
                ),
            )
        ),
    ]
    """What is wanted."""
    status: BackupPolicyStatus = Field(default_factory=BackupPolicyStatus)
    """What is."""
