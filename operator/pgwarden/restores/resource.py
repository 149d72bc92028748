"""RestoreRequest: one restore."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import LSN, Column, Identifier, ImageName, KindInfo, Model, Quantity, Resource, Word
from pgwarden.api.references import JobTemplate, LocalReference, ResourceRequirements, SecretKey, rules
from pgwarden.api.status import Attempt, WorkStatus
from pgwarden.clusters.resource import Dependent


class RecoveryPoint(Model):
    """The moment to restore to: exactly one of time, lsn, xid, name, latest and immediate."""

    time: datetime | None = None
    """What was committed until then."""
    lsn: LSN | None = None
    """A WAL position, such as 16/B374D848."""
    xid: Annotated[str | None, Field(max_length=20, pattern=r"^[0-9]{1,20}$")] = None
    """A transaction."""
    name: Annotated[str | None, Field(min_length=1, max_length=63)] = None
    """A restore point that was made with pg_create_restore_point."""
    latest: bool = False
    """All that is in the archive."""
    immediate: bool = False
    """The end of the backup, and nothing after it."""
    timeline: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """The timeline to recover along; without it the latest one."""
    inclusive: bool = True
    """Whether what lies exactly at time, lsn or xid is restored as well."""


class RestoreSource(Model):
    """What is restored: one backup, or a moment out of the archive of a cluster."""

    backup_ref: LocalReference | None = None
    """The DatabaseBackup to begin with; without a target its end is restored."""
    policy_ref: LocalReference | None = None
    """The BackupPolicy whose archive holds the moment; the backup to begin with is chosen."""
    cluster_ref: LocalReference | None = None
    """The DatabaseCluster whose archive holds the moment, together with storeRef."""
    store_ref: LocalReference | None = None
    """The BackupStore with that archive."""
    target: Annotated[
        RecoveryPoint | None,
        Field(
            json_schema_extra=rules(
                (
                    "(has(self.time) ? 1 : 0) + (has(self.lsn) ? 1 : 0) + (has(self.xid) ? 1 : 0)"
                    " + (has(self.name) ? 1 : 0) + (self.latest ? 1 : 0) + (self.immediate ? 1 : 0) == 1",
                    "exactly one of time, lsn, xid, name, latest and immediate says what to restore to",
                ),
            )
        ),
    ] = None
    """The moment to restore to."""


class NewInstanceStorage(Model):
    """The claim that the new instance runs on."""

    size: Quantity
    """Size of the claim."""
    storage_class_name: Annotated[str | None, Field(max_length=253)] = None
    """StorageClass; without it the default one."""


class NewInstance(Model):
    """A PostgreSQL server side by side with the old one: StatefulSet, claim, Service and Secret of this name."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """Name of StatefulSet and Service; the Secret is <name>-superuser, the claim data-<name>-0."""
    image: ImageName | None = None
    """Image of the PostgreSQL server; without it the one of the DatabaseCluster."""
    storage: NewInstanceStorage
    """The claim."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server."""
    database_cluster: bool = True
    """Whether a DatabaseCluster of this name is made as well, with the credentials of the one that the data are of, so
    that the new instance is watched and can be backed up."""


class DrillStorage(Model):
    """The volume of a copy that is thrown away; it goes with the Job's pod."""

    size: Quantity | None = None
    """Size of the volume; without it what the backup needs, and a quarter more."""
    storage_class_name: Annotated[str | None, Field(max_length=253)] = None
    """StorageClass; without it the default one. "" is none: an emptyDir on the node's disk, limited to the size."""


class Drill(Model):
    """A restore that is carried out to be measured and checked, and thrown away."""

    image: ImageName | None = None
    """Image of the PostgreSQL server; without it the one of the DatabaseCluster."""
    storage: DrillStorage = Field(default_factory=DrillStorage)
    """The volume."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server."""


class InPlace(Model):
    """The data of the cluster's own server are replaced where they lie; the old ones are kept beside them."""

    replaces: Annotated[str, Field(max_length=64, pattern=r"^[0-9]{1,20}-[0-9]{1,10}$")]
    """What is replaced: restoreToken as it stands in the status of the DatabaseCluster now. A finished restore has
    another one, so that the same request applied again replaces nothing."""
    stop: Annotated[list[Dependent], Field(max_length=32)] = Field(default_factory=list)
    """Workloads to stop meanwhile, beside dependentServices of the DatabaseCluster."""
    connections_timeout_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """How long connections may remain once these have stopped. Whoever still has one then is named, and the restore
    ends with everything as it was."""
    disconnect: bool = False
    """Nobody is asked who is still connected: all connections end with the server."""


class RestoredTable(Model):
    """One table, by its exact name."""

    schema_name: Identifier = "public"
    """Its schema."""
    table_name: Identifier
    """Its name; partitions come with their parent."""


class RestoredDatabase(Model):
    """What is taken out of one database, and the new one that is made of it."""

    database: Identifier
    """Name of the database in the backup."""
    new_name: Identifier
    """Name of the new one; none of that name may exist."""
    schemas: Annotated[list[Identifier], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """Schemas to take; without schemas and tables the whole database."""
    tables: Annotated[
        list[RestoredTable],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["schemaName", "tableName"],
            },
        ),
    ] = Field(default_factory=list)
    """Tables to take, beside those of the schemas."""


class Into(Model):
    """Databases, schemas or tables come into a server that runs, each into a new database; nothing that is there is
    changed."""

    cluster_ref: LocalReference
    """The DatabaseCluster to load into: that of the source or another one."""
    databases: Annotated[
        list[RestoredDatabase],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                # The copy is thinned to what is wanted of it, and that can be done once.
                "x-kubernetes-list-map-keys": ["database"],
                **rules(("self.all(a, self.exists_one(b, a.newName == b.newName))", "each newName can be given once")),
            },
        ),
    ]
    """What is taken, each database once."""
    without_owners: bool = False
    """Everything belongs to the role that loads it, and privileges are left out: for servers without these roles."""
    image: ImageName | None = None
    """Image of the PostgreSQL server that recovers the copy; without it the one of the source's DatabaseCluster."""
    storage: DrillStorage = Field(default_factory=DrillStorage)
    """The volume that the copy is recovered on; it goes with the Job's pod."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server that recovers the copy."""


class RestoreTarget(Model):
    """Where to: exactly one of them."""

    new_instance: NewInstance | None = None
    """A new PostgreSQL server side by side with the old one."""
    drill: Drill | None = None
    """Nowhere: it is measured, checked with pg_amcheck as well, and thrown away."""
    in_place: InPlace | None = None
    """The cluster's own server, in the place of the data it has."""
    into: Into | None = None
    """New databases of a server that runs."""


class Inspection(Model):
    """The recovered copy waits, open for reading only, until somebody who has looked at it says to go on."""

    time_limit_seconds: Annotated[int, Field(ge=60, le=604800)] = 14400
    """How long it waits. After that the restore fails, as if it had been cancelled."""


class RestoreCheck(Model):
    """A question the restored data must answer before the restore counts as done."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """What is checked, for the report; no two checks share a name."""
    database: Identifier
    """Database the query runs in, read-only."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """A query; the first column of its first row is the answer."""
    expect: Annotated[str | None, Field(max_length=1024)] = None
    """The answer as text; without it the query only has to succeed."""


class RestoreRequestSpec(Model):
    """What is to be restored, and where to."""

    source: Annotated[
        RestoreSource,
        Field(
            json_schema_extra=rules(
                (
                    "(has(self.backupRef) ? 1 : 0) + (has(self.policyRef) ? 1 : 0)"
                    " + (has(self.clusterRef) ? 1 : 0) == 1 && has(self.clusterRef) == has(self.storeRef)",
                    "exactly one source must be given: backupRef, policyRef, or clusterRef with storeRef",
                ),
                (
                    "has(self.backupRef) || has(self.target)",
                    "policyRef and clusterRef name an archive; target must say which moment of it to restore to",
                ),
            )
        ),
    ]
    """What is restored."""
    target: Annotated[
        RestoreTarget,
        Field(
            json_schema_extra=rules(
                (
                    "(has(self.newInstance) ? 1 : 0) + (has(self.drill) ? 1 : 0) + (has(self.inPlace) ? 1 : 0)"
                    " + (has(self.into) ? 1 : 0) == 1",
                    "exactly one target must be given: newInstance, drill, inPlace or into",
                ),
            )
        ),
    ]
    """Where to."""
    identity: SecretKey | None = None
    """age identity that decrypts the backup; without it the BackupStore's."""
    checks: Annotated[
        list[RestoreCheck],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """Questions the restored data must answer."""
    inspect: Inspection | None = None
    """Opens the recovered copy to be looked at before the restore goes on; without it the restore goes on by itself."""
    requested_by: Annotated[str, Field(max_length=253)] = ""
    """Who asked for it; stands in the report."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the Job's pod gets."""
    suspend: bool = False
    """Holds the restore back until this is false."""
    cancel: bool = False
    """Ends the restore; a finished one stays as it is. What was made for a new instance is left and named; in place the
    old data are put back, unless the restored ones have taken their place already."""
    proceed: bool = False
    """A copy that is looked at (inspect) is the right one: the restore goes on."""
    discard_old: bool = False
    """Deletes the old data that a finished restore in place has kept."""


class StepState(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


class Step(Model):
    """One step of the restore."""

    name: Word
    """What it does."""
    state: StepState = StepState.PENDING
    """Pending, Running, Done or Failed."""
    start_time: datetime | None = None
    """When it began."""
    completion_time: datetime | None = None
    """When it ended."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What came of it."""


class ResolvedPoint(Model):
    """Where the restore begins, and which way it goes: found out once by the Job."""

    target: Annotated[str, Field(max_length=256)] = ""
    """The target as it was understood."""
    backup_id: Word = ""
    """The backup that recovery begins with."""
    chain: Annotated[list[Word], Field(max_length=64)] = Field(default_factory=list)
    """All backups that are fetched: the full, its incrementals, that backup."""
    timeline: int | None = None
    """The timeline that recovery follows."""
    lsn: LSN | None = None
    """Recovery must come at least here."""
    time: datetime | None = None
    """When the server was known to be there."""
    archived_lsn: LSN | None = None
    """The last position on this way of which the archive tells the time ..."""
    archived_time: datetime | None = None
    """... and that time, by the server's clock."""
    known_until: datetime | None = None
    """The last moment of the original that the archive told of then."""


class CheckOutcome(Model):
    """One question that the restored data were asked."""

    name: Word
    """What was checked."""
    passed: bool
    """Whether the answer was the expected one."""
    answer: Annotated[str, Field(max_length=256)] = ""
    """What they answered."""
    built_in: bool = False
    """Whether it is one that every restore makes."""
    advisory: bool = False
    """Whether data that fail it are handed over all the same; what to do stands among the findings."""

    @property
    def verdict(self) -> str:
        """How it went, in a word."""
        return "passed" if self.passed else "look at it" if self.advisory else "FAILED"


class FiledReport(Model):
    """Where the incident report stands."""

    config_map: Annotated[str, Field(max_length=253)] = ""
    """ConfigMap that holds it; it stays when the RestoreRequest goes."""
    job: Word = ""
    """Job that puts it into the store, or did."""
    path: Annotated[str, Field(max_length=1024)] = ""
    """Where it lies in the store; empty where it is not there."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why it is not in one of these places."""
    complete: bool = False
    """Whether nothing more is done about it."""


Attempts = Annotated[list[Attempt], Field(max_length=16)]


class InPlaceStatus(Model):
    """What a restore in place has done to the cluster's own server, and what it is to do."""

    claim: Word = ""
    """The claim with the data; of several members the primary's, once it is known which one that is."""
    members: Annotated[list[Word], Field(max_length=16)] = Field(default_factory=list)
    """The claims of all members, when there are several."""
    data_directory: Annotated[str, Field(max_length=253)] = ""
    """The data directory, as the server's container sees it."""
    preflight: Attempts = Field(default_factory=list)
    """Jobs that looked whether the restore can succeed, before anything stopped."""
    connections: Attempts = Field(default_factory=list)
    """Jobs that waited until nobody was connected any more, before the server stopped."""
    look: Attempts = Field(default_factory=list)
    """Jobs that looked which of several members is the primary, where that could not be seen before they stopped."""
    hand_over: Attempts = Field(default_factory=list)
    """Jobs that put the restored data in the place of the old ones."""
    put_back: Attempts = Field(default_factory=list)
    """Jobs that put the old data back."""
    discard: Attempts = Field(default_factory=list)
    """Jobs that deleted the old data."""
    stopped: Annotated[list[Annotated[str, Field(max_length=400)]], Field(max_length=64)] = Field(default_factory=list)
    """Workloads that were stopped."""
    failure_reason: Word = ""
    """Why the old data are put back, as one word; empty when they are not."""
    failure_message: Annotated[str, Field(max_length=1024)] = ""
    """The same as a sentence."""
    old_data: Annotated[str, Field(max_length=400)] = ""
    """Where the old data are kept since the restored ones took their place; empty before, and once they are deleted."""
    old_claims: Annotated[list[Word], Field(max_length=16)] = Field(default_factory=list)
    """Of several members: the claims on which old data are kept."""
    handed_over: bool = False
    """Whether the restored data are in their place. From then on nothing is put back."""
    fulls: Annotated[list[Word], Field(max_length=8)] = Field(default_factory=list)
    """DatabaseBackups that policies take of the restored data by themselves."""


class RowCount(Model):
    """How many rows a restored table has."""

    table: Annotated[str, Field(max_length=256)]
    """Schema and table, quoted where SQL needs it."""
    rows: int
    """Its rows."""


class LoadedDatabase(Model):
    """One database that a restore has made in a server that runs."""

    database: Identifier
    """Name of the one it was taken out of."""
    new_name: Identifier
    """Its name."""
    tables: int
    """How many tables it has, partitions not counted."""
    rows: int
    """Rows of all of them."""
    size_bytes: int
    """Its size on disk."""
    counts: Annotated[list[RowCount], Field(max_length=50)] = Field(default_factory=list)
    """Rows of the largest tables."""
    swap: Annotated[str, Field(max_length=32768)] = ""
    """What a person runs to put it in the place of what it was taken out of."""


class RestoreRequestStatus(WorkStatus):
    """Where it stands."""

    steps: Annotated[
        list[Step],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """The steps in order."""
    step: Word = ""
    """The step that is worked on now."""
    target: Annotated[str, Field(max_length=300)] = ""
    """What is restored into, in short: the new instance, the claim of the server whose data are replaced, a drill."""
    backup_id: Word = ""
    """The backup that is restored."""
    location: Annotated[str, Field(max_length=1024)] = ""
    """Its folder in the store."""
    resolved: ResolvedPoint | None = None
    """Where it begins, and which way it goes."""
    restored_to: LSN | None = None
    """WAL position the data were recovered to."""
    restored_time: datetime | None = None
    """The moment the data are of: the target, the last one that recovery is known to have come to, or when the backup
    ended."""
    in_place: InPlaceStatus | None = None
    """Of a restore in place: what was done to the cluster's own server."""
    loaded: Annotated[list[LoadedDatabase], Field(max_length=8)] = Field(default_factory=list)
    """Of a restore into a server that runs: the new databases, once they are whole."""
    timeline: int | None = None
    """Timeline of the restored server."""
    host: Annotated[str, Field(max_length=253)] = ""
    """Where the new instance listens."""
    secret_name: Annotated[str, Field(max_length=253)] = ""
    """Secret with user name and password of its superuser."""
    checks_passed: int | None = None
    """How many of the checks passed."""
    checks: Annotated[
        list[CheckOutcome],
        Field(
            max_length=40, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """What was asked and answered; the first ones, the failed ones before the others."""
    findings: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=32)] = Field(default_factory=list)
    """What a person should know of the restored data: subscriptions, foreign servers, prepared transactions."""
    report: FiledReport | None = None
    """The incident report; None until the restore has ended."""
    start_time: datetime | None = None
    """When work began."""
    completion_time: datetime | None = None
    """When the new instance was reachable, or the drill was over."""
    duration_seconds: float | None = None
    """How long it took."""
    recovery_seconds: int | None = None
    """Drill: how long a restore takes, from the start of the Job that succeeded; without pg_amcheck, which a restore
    leaves out."""
    data_loss_seconds: int | None = None
    """Drill to the latest moment: how much older the restored data were than the moment the drill looked for them. So
    much would have been lost."""


class RestoreRequest(Resource):
    """One restore. It is carried out once; applied again it does nothing."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="RestoreRequest",
        plural="restorerequests",
        short_names=("rr",),
        summary="One restore. It is carried out once; applied again it does nothing.",
        columns=(
            Column(name="Backup", path=".spec.source.backupRef.name"),
            Column(name="Restore Point", path=".status.resolved.target"),
            Column(name="Target", path=".status.target"),
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Step", path=".status.step"),
            Column(name="Progress", path=".status.progress.text"),
            Column(name="Completed", path=".status.completionTime", type="date"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Ready")].reason'),
            Column(name="Host", path=".status.host", priority=1),
            Column(name="Restored To", path=".status.restoredTo", priority=1),
            Column(name="Recovery Seconds", path=".status.recoverySeconds", type="integer", priority=1),
            Column(name="Lost Seconds", path=".status.dataLossSeconds", type="integer", priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Ready")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        RestoreRequestSpec,
        Field(
            json_schema_extra=rules(
                (
                    "self.source == oldSelf.source && self.target == oldSelf.target"
                    # Optional access (`self.?checks`) has no bounded cost, and the API server refuses such a rule.
                    " && has(self.identity) == has(oldSelf.identity)"
                    " && (!has(self.identity) || self.identity == oldSelf.identity)"
                    " && has(self.checks) == has(oldSelf.checks)"
                    " && (!has(self.checks) || self.checks == oldSelf.checks)"
                    " && has(self.inspect) == has(oldSelf.inspect)"
                    " && (!has(self.inspect) || self.inspect == oldSelf.inspect)"
                    " && self.requestedBy == oldSelf.requestedBy && self.jobTemplate == oldSelf.jobTemplate",
                    "a RestoreRequest describes one restore and cannot be changed, but for suspend, cancel,"
                    " proceed and discardOld; make a new one instead",
                ),
                ("!oldSelf.cancel || self.cancel", "cancel cannot be taken back; make a new RestoreRequest instead"),
                ("!oldSelf.proceed || self.proceed", "proceed cannot be taken back; cancel the restore instead"),
                (
                    "!has(self.inspect) || has(self.target.newInstance) || has(self.target.inPlace)",
                    "inspect is for a new instance or a restore in place; no other copy is there to be looked at",
                ),
            )
        ),
    ]
    """What is wanted."""
    status: RestoreRequestStatus = Field(default_factory=RestoreRequestStatus)
    """What is."""
