"""What the operator asks an agent to migrate, and what the agent answers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import SOURCES, DatabaseAddress
from pgwarden.jobs.task import Operation, Payload, Report


class MigrateTask(Payload):
    """Bring one database to a version with the migration files found in a folder."""

    OPERATION: ClassVar[Operation] = Operation.MIGRATE

    database: DatabaseAddress
    sources: str = SOURCES
    """Folder with one subfolder per source, searched in the order of their names."""
    source_digest: str | None = None
    """SHA-256 over the files as pgwarden.migrations.source computes it; a different one is refused (reason
    SourceChanged): files may change between planning and starting."""
    target_version: str | None = None
    """Version to arrive at; None is the latest of the files; "0" is before the first."""
    allow_down: bool = False
    role: str | None = None
    """Role to SET before each migration; None keeps the one that connects."""
    lock_timeout_ms: Annotated[int, Field(ge=0)] = 5000
    statement_timeout_ms: Annotated[int, Field(ge=0)] = 0
    """0 is none."""
    advisory_lock_wait_seconds: Annotated[int, Field(ge=0)] = 300
    """How long to poll for the lock another runner holds before giving up (retryable)."""
    applied_by: str = ""
    """Written into the history: who or what asked for it."""


class FailedStatement(Report):
    """The statement that failed, and what PostgreSQL said."""

    version: str
    file: str
    line: int = 0
    sqlstate: str = ""
    statement: str = ""
    """Cut to a few hundred characters; never with values of other statements."""
    error: str = ""


class MigrateReport(Report):
    """Where the database stands now; the details stand in its table pgwarden.migrations."""

    current_version: str = ""
    """Empty when nothing is applied."""
    latest_version: str = ""
    applied: int = 0
    """How many files of the sources are applied after this run."""
    pending: int = 0
    """How many files up to the target are not applied after this run."""
    ran: list[str] = Field(default_factory=list)
    """Versions this run applied or reverted, in order, the last 20 of them."""
    direction: str = "up"
    duration_seconds: float = 0.0
    failed: FailedStatement | None = None
    server_version: str = ""
