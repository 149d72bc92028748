"""DatabaseMigration: a set of migrations wanted at a version on one database."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import Column, Identifier, KindInfo, Model, Resource, Word
from pgwarden.api.references import JobTemplate, LocalReference, immutable
from pgwarden.api.status import WorkStatus


class MigrationSource(Model):
    """Where migration files come from."""

    config_map: LocalReference
    """ConfigMap whose keys are file names: <number>_<name>.up.sql and <number>_<name>.down.sql."""


class Down(Model):
    """Rules for going back."""

    allow: bool = False
    """Whether a lower version than the current one may be reached by running down files."""


class DatabaseMigrationSpec(Model):
    """What is wanted of one database."""

    cluster_ref: Annotated[LocalReference, Field(json_schema_extra=immutable("clusterRef"))]
    """The DatabaseCluster."""
    database: Annotated[Identifier, Field(json_schema_extra=immutable("database"))]
    """The database."""
    sources: Annotated[list[MigrationSource], Field(min_length=1, max_length=16)]
    """Where the files come from; together they are one set, ordered by number."""
    version: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[0-9]+$")] | None = None
    """Version to arrive at. Without it the latest of the files; 0 is before the first."""
    down: Down = Field(default_factory=Down)
    """Rules for going back."""
    role: Identifier | None = None
    """Role that migrations are run as (SET ROLE); without it the role that connects."""
    lock_timeout_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """How long a statement waits for a lock before its migration is rolled back; 0 waits for ever."""
    statement_timeout_seconds: Annotated[int, Field(ge=0, le=604800)] = 0
    """How long a statement may run; 0 is no limit."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the Job's pod gets."""
    suspend: bool = False
    """Stops new work; a running migration goes on."""


class MigrationFailure(Model):
    """What failed, and what PostgreSQL said."""

    version: Word = ""
    """Version of the migration."""
    file: Annotated[str, Field(max_length=253)] = ""
    """Name of the file."""
    line: int = 0
    """Line in the file; 0 when unknown."""
    sqlstate: Annotated[str, Field(max_length=5)] = ""
    """PostgreSQL's error code (Appendix A of its documentation)."""
    statement: Annotated[str, Field(max_length=512)] = ""
    """The statement that failed, shortened."""
    error: Annotated[str, Field(max_length=1024)] = ""
    """PostgreSQL's message."""


class DatabaseMigrationStatus(WorkStatus):
    """Where the database stands."""

    current_version: Word = ""
    """Version the database is at; empty when nothing is applied."""
    target_version: Word = ""
    """Version that is wanted, worked out from spec.version and the files."""
    latest_version: Word = ""
    """Highest version of the files."""
    applied: int | None = None
    """How many migrations of the files are applied; absent until a run has told."""
    pending: int | None = None
    """How many are to be run; absent until a run with these files and settings has told."""
    failed: MigrationFailure | None = None
    """The migration that failed last; absent when none did."""
    source_digest: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 over the files that were last looked at."""
    applied_digest: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 over files and settings of the last run that succeeded."""
    tried_digest: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 over files and settings of the last run; a run that failed for good is repeated when this changes."""
    completion_time: datetime | None = None
    """When the last run ended."""
    duration_seconds: float = 0
    """How long the last run took."""


class DatabaseMigration(Resource):
    """A set of migrations wanted at a version on one database."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="DatabaseMigration",
        plural="databasemigrations",
        short_names=("dbm",),
        summary="A set of migrations wanted at a version on one database.",
        columns=(
            Column(name="Cluster", path=".spec.clusterRef.name"),
            Column(name="Database", path=".spec.database"),
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Current", path=".status.currentVersion"),
            Column(name="Target", path=".status.targetVersion"),
            Column(name="Pending", path=".status.pending", type="integer"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Ready")].reason'),
            Column(name="SQLSTATE", path=".status.failed.sqlstate", priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Ready")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: DatabaseMigrationSpec
    """What is wanted."""
    status: DatabaseMigrationStatus = Field(default_factory=DatabaseMigrationStatus)
    """What is."""
