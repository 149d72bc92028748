"""DatabaseCluster: how to reach one PostgreSQL cluster, and how it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import (
    Column,
    DataKey,
    HostName,
    Identifier,
    ImageName,
    KindInfo,
    LabelName,
    Model,
    ObjectName,
    Reason,
    Resource,
    SystemIdentifier,
    Word,
)
from pgwarden.api.references import CertificateSource, LocalReference, rules
from pgwarden.api.status import Status


class Endpoint(Model):
    """Where one PostgreSQL server listens."""

    host: HostName
    """Host name or address, as seen from a pod in this namespace."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    """TCP port."""


class Credential(Model):
    """User name and password of one PostgreSQL role, in a Secret of this namespace."""

    secret_name: ObjectName
    """Name of the Secret."""
    username_key: DataKey = "username"
    """Key that holds the role's name."""
    password_key: DataKey = "password"  # noqa: S105 - a key's name
    """Key that holds the role's password."""


class Credentials(Model):
    """One role for each kind of work, so that each can have the least privilege it needs (docs/sql)."""

    monitor: Credential
    """Role of the monitor: a member of pg_monitor."""
    backup: Credential | None = None
    """Role of backups: REPLICATION, and membership in pg_read_all_settings."""
    migration: Credential | None = None
    """Role of migrations: usually the owner of the databases."""
    restore: Credential | None = None
    """Role that loads restored databases beside those that are there: CREATEDB, and membership in their owners."""


class TLSMode(StrEnum):
    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class TLS(Model):
    """How connections are protected."""

    mode: TLSMode = TLSMode.PREFER
    """As libpq's sslmode. Only verify-full makes sure that the server is the one that was meant."""
    ca: CertificateSource | None = None
    """Certificate authorities that the server's certificate is checked against."""


class WorkloadKind(StrEnum):
    STATEFUL_SET = "StatefulSet"


class WorkloadReference(Model):
    """The workload that holds the cluster's data."""

    kind: WorkloadKind = WorkloadKind.STATEFUL_SET
    """Kind of the workload."""
    name: LabelName
    """Name of the workload."""
    container: LabelName = "postgres"
    """Container in which PostgreSQL runs."""
    data_directory: Annotated[str | None, Field(max_length=253, pattern=r"^(/[-A-Za-z0-9_.]+)+$")] = None
    """PGDATA as that container sees it; a restore in place needs it. Without it the container's variable PGDATA."""


class DependentKind(StrEnum):
    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    CRON_JOB = "CronJob"


class Dependent(Model):
    """A workload that uses the cluster: stopped before its data are replaced, and started again afterwards."""

    kind: DependentKind = DependentKind.DEPLOYMENT
    """Kind of the workload."""
    name: ObjectName
    """Name of the workload."""
    namespace: LabelName | None = None
    """Its namespace, where it is another one: there it must carry the annotation pgwarden.dev/stopped-for, with the
    value <namespace>/<name of the DatabaseCluster>."""


class DatabaseClusterSpec(Model):
    """How to reach one PostgreSQL cluster."""

    primary: Endpoint
    """The primary, or an address that always leads to it."""
    replicas: Annotated[list[Endpoint], Field(max_length=16)] = Field(default_factory=list)
    """Standbys, each by itself."""
    maintenance_database: Identifier = "postgres"
    """Database that is connected to where none is named."""
    databases: Annotated[
        list[Identifier], Field(max_length=128, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(default_factory=list)
    """Databases that must exist. All databases are measured, also those not named here."""
    credentials: Credentials
    """Secrets of the roles that pgwarden connects as."""
    tls: TLS = Field(default_factory=TLS)
    """How connections are protected."""
    image: ImageName | None = None
    """Image of the PostgreSQL server, in which copies of its data are recovered and checked. Without it the
    image of workloadRef serves."""
    workload_ref: WorkloadReference | None = None
    """The workload that holds the data, when it runs in this namespace."""
    copy_of: LocalReference | None = None
    """The DatabaseCluster that this one is a restored copy of. Both have one system identifier: without this, the
    younger would be refused as a second object for one cluster."""
    dependent_services: Annotated[list[Dependent], Field(max_length=32)] = Field(default_factory=list)
    """Workloads that use the cluster. A restore in place stops them before it begins, and starts them again."""
    suspend: bool = False
    """Stops new work on this cluster; what runs goes on."""


class EndpointStatus(Model):
    """What the monitor last saw of one server."""

    host: Annotated[str, Field(max_length=253)]
    """Host name or address."""
    port: int
    """TCP port."""
    role: Word = ""
    """Primary or Replica; empty when unknown."""
    reachable: bool
    """Whether a query was answered."""
    reason: Reason = "Reachable"
    """Why it was not."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What happened and what to do now."""


class DatabaseStatus(Model):
    """One database."""

    name: Identifier
    """Its name."""
    size_bytes: int
    """Size on disk, rounded to three digits."""


class DatabaseClusterStatus(Status):
    """How the cluster is."""

    version: Word = ""
    """Version of PostgreSQL, for example 17.10."""
    role: Word = ""
    """Primary, or Replica when the primary endpoint leads to a standby."""
    system_identifier: SystemIdentifier = "0"
    """What initdb gave the cluster; a physical copy has the same."""
    timeline: int = 0
    """Timeline of the primary; each promotion and each restore begins a new one."""
    restore_token: Annotated[str, Field(max_length=64)] = ""
    """System identifier and timeline: what a restore in place names as what it replaces."""
    size_bytes: int = 0
    """Size of all databases, rounded to three digits."""
    size: Word = ""
    """The same for people."""
    databases: Annotated[list[DatabaseStatus], Field(max_length=128)] = Field(default_factory=list)
    """The largest databases, largest first."""
    endpoints: Annotated[list[EndpointStatus], Field(max_length=17)] = Field(default_factory=list)
    """The primary and the replicas, as the monitor last saw them."""


class DatabaseCluster(Resource):
    """How to reach one PostgreSQL cluster that pgwarden looks after, and how it is."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="DatabaseCluster",
        plural="databaseclusters",
        short_names=("dbc",),
        summary="How to reach one PostgreSQL cluster that pgwarden looks after, and how it is.",
        columns=(
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Reachable", path='.status.conditions[?(@.type=="Reachable")].status'),
            Column(name="Version", path=".status.version"),
            Column(name="Role", path=".status.role"),
            Column(name="Size", path=".status.size"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Reachable")].reason'),
            Column(name="Timeline", path=".status.timeline", type="integer", priority=1),
            Column(name="Host", path=".spec.primary.host", priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Reachable")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        DatabaseClusterSpec,
        Field(
            json_schema_extra=rules(
                (
                    "!(self.tls.mode in ['verify-ca', 'verify-full']) || has(self.tls.ca)",
                    "tls.mode verify-ca and verify-full need tls.ca: the certificate authorities to check against",
                ),
            )
        ),
    ]
    """What is wanted."""
    status: DatabaseClusterStatus = Field(default_factory=DatabaseClusterStatus)
    """What is."""
