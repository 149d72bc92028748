"""What to do about a DatabaseMigration, and what to say about it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgwarden.api.conditions import Judgment, in_progress, ready, stalled
from pgwarden.api.status import Status
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import Decision, Verdict, decide, sentence
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import Plan, report_of, told, with_progress
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Progress, Result, shorten
from pgwarden.migrations.contract import MigrateReport
from pgwarden.migrations.files import REMEDIES, Parsed, digest
from pgwarden.migrations.resource import DatabaseMigration, DatabaseMigrationStatus, MigrationFailure

TAKEN = "DatabaseTaken"
RETRY_ANNOTATION = "pgwarden.dev/retry"
LOOK_AGAIN_SECONDS = 60.0
"""How often the ConfigMaps are looked at: they are not watched."""
WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class ObservedMigration:
    """What is known about a DatabaseMigration beside its own object."""

    files: Parsed
    job: JobState
    missing: Sequence[str] = ()
    """Sentences about ConfigMaps, Secrets or keys that are not there."""
    obstacle: Obstacle | None = None
    """Why work on the cluster cannot begin now."""
    busy: str = ""
    """Why a Job cannot begin now although the cluster is fine: limits, other operations."""
    progress: Progress | None = None
    taken_by: str = ""
    """<namespace>/<name> of the DatabaseMigration that has the database."""


@dataclass
class MigrationPlan(Plan):
    """A Plan, and the number of the attempt to start."""

    attempt: int | None = None
    wanted: str = field(default="")


def wanted_digest(migration: DatabaseMigration, files: Parsed) -> str:
    """Digest of files and settings: when it changes, there is something new to do.

    The annotation pgwarden.dev/retry counts as a setting: a new value repeats a run that failed for good.
    """
    spec = migration.spec
    relevant = [
        digest(files.migrations),
        spec.version,
        spec.down.allow,
        spec.role,
        spec.lock_timeout_seconds,
        spec.statement_timeout_seconds,
        migration.metadata.annotations.get(RETRY_ANNOTATION, ""),
    ]
    return hashlib.sha256(json.dumps(relevant).encode()).hexdigest()


def migration_job(migration: DatabaseMigration, wanted: str, attempt: int) -> str:
    """Name of the Job of one attempt at what is wanted."""
    return job_name(migration.metadata.name, "DatabaseMigration", migration.metadata.uid, wanted, str(attempt))


def last_attempt(migration: DatabaseMigration, wanted: str) -> int:
    """Number of the attempt at what is wanted whose Job is to be looked at."""
    attempts = migration.status.attempts if migration.status.tried_digest == wanted else []
    return attempts[-1].number if attempts else 1


def plan(migration: DatabaseMigration, observed: ObservedMigration, now: datetime) -> MigrationPlan:
    """The status of a DatabaseMigration, and whether a run is to be started."""
    alone = plan_alone(migration, observed, now)
    # What runs already is waited for: its result has to be told.
    at_work = observed.job.phase in (JobPhase.QUEUED, JobPhase.RUNNING)
    return taken(migration, alone, observed.taken_by) if observed.taken_by and not at_work else alone


def taken(migration: DatabaseMigration, alone: MigrationPlan, by: str) -> MigrationPlan:
    """`alone`, kept from starting anything: an older DatabaseMigration has the database."""
    database = migration.spec.database
    message = (
        f"DatabaseMigration {by} is older and migrates database {database} of the same PostgreSQL cluster, so nothing"
        " is run for this one: two sets of files would fight over one history. Put all files into the sources of one of"
        " the two and delete the other; this one goes on by itself when the older one is gone"
    )
    status = alone.status.model_copy(update={"progress": None})
    return said(migration, status, stalled(TAKEN, message), LOOK_AGAIN_SECONDS)


def plan_alone(migration: DatabaseMigration, observed: ObservedMigration, now: datetime) -> MigrationPlan:
    """The plan as if nobody else migrated the database."""
    before = migration.status
    if observed.missing:
        return said(migration, before, in_progress("SourceMissing", "; ".join(observed.missing)), 15.0)
    if observed.files.problems:
        first, *_ = observed.files.problems
        message = sentence("; ".join(str(problem) for problem in observed.files.problems[:5]), REMEDIES[first.reason])
        return said(migration, before, stalled(first.reason.value, message), LOOK_AGAIN_SECONDS)
    wanted = wanted_digest(migration, observed.files)
    status = described(migration, observed.files)
    refusal = unknown_version(migration, observed.files)
    if refusal is not None:
        return said(migration, status, refusal, LOOK_AGAIN_SECONDS)
    if before.applied_digest == wanted:
        status = status.model_copy(update={"progress": None})
        return said(migration, status, done(status), LOOK_AGAIN_SECONDS)
    if before.tried_digest != wanted:
        # What another set of files came to says nothing about this one.
        unknown = {"failed": None, "applied": None, "pending": None}
        status = status.model_copy(update={"attempts": [], "tried_digest": wanted, **unknown})
    decision = decide(status.attempts, observed.job, now=now)
    status = status.model_copy(update={"attempts": decision.attempts})
    return by_decision(migration, status, decision, observed, wanted, now)


def by_decision(
    migration: DatabaseMigration,
    status: DatabaseMigrationStatus,
    decision: Decision,
    observed: ObservedMigration,
    wanted: str,
    now: datetime,
) -> MigrationPlan:
    """The plan for a migration whose run is due, under way or ended."""
    if decision.verdict == Verdict.START:
        return start(migration, status, decision, observed, wanted)
    if decision.verdict == Verdict.WAIT:
        running = with_progress(status, observed.progress, now)
        message = decision.message or f"migrations run as Job {observed.job.name}"
        reason = "Migrating" if observed.job.phase == JobPhase.RUNNING else decision.reason
        return said(migration, running, in_progress(reason, message), WAIT_SECONDS)
    status = status.model_copy(update={"progress": None, **ran(status, decision.result, observed)})
    if decision.verdict == Verdict.BACK_OFF:
        return said(migration, status, in_progress(decision.reason, decision.message), decision.seconds)
    if decision.verdict == Verdict.SUCCEEDED:
        status = status.model_copy(update={"applied_digest": wanted, "failed": None})
        return said(migration, status, done(status), LOOK_AGAIN_SECONDS)
    return said(migration, status, stalled(decision.reason, decision.message), LOOK_AGAIN_SECONDS)


def start(
    migration: DatabaseMigration,
    status: DatabaseMigrationStatus,
    decision: Decision,
    observed: ObservedMigration,
    wanted: str,
) -> MigrationPlan:
    """The plan that starts a run, or says what it waits for."""
    if migration.spec.suspend:
        return said(migration, status, in_progress("Suspended", "no migration is started (spec.suspend)"), None)
    if observed.obstacle is not None:
        return said(migration, status, in_progress(observed.obstacle.reason, observed.obstacle.message), WAIT_SECONDS)
    if observed.busy:
        return said(migration, status, in_progress("Queued", observed.busy), WAIT_SECONDS)
    message = f"attempt {decision.number} at version {status.target_version} of {migration.spec.database} begins"
    begun = said(migration, status, in_progress("Starting", message), WAIT_SECONDS)
    begun.attempt, begun.wanted = decision.number, wanted
    return begun


def described(migration: DatabaseMigration, files: Parsed) -> DatabaseMigrationStatus:
    """The status with what the files tell."""
    latest = str(files.migrations[-1].version)
    target = str(int(migration.spec.version)) if migration.spec.version is not None else latest
    return migration.status.model_copy(
        update={
            "target_version": shorten(target, 63),
            "latest_version": shorten(latest, 63),
            "source_digest": digest(files.migrations),
        }
    )


def unknown_version(migration: DatabaseMigration, files: Parsed) -> list[Judgment] | None:
    """Judgments when spec.version names no migration of the files."""
    version = migration.spec.version
    if version is None or int(version) == 0 or any(m.version == int(version) for m in files.migrations):
        return None
    message = (
        f"spec.version {version} stands in no file of the sources; the latest is {files.migrations[-1].version}."
        " Correct spec.version or add the file"
    )
    return stalled("UnknownVersion", message)


def ran(status: DatabaseMigrationStatus, result: Result | None, observed: ObservedMigration) -> dict[str, object]:
    """Status fields that a run's result tells; nothing when the result is lost."""
    report = report_of(MigrateReport, result)
    if report is None:
        return {}
    failed = report.failed
    return {
        "current_version": shorten(report.current_version, 63),
        "applied": report.applied,
        "pending": report.pending,
        "duration_seconds": round(report.duration_seconds, 3),
        "completion_time": observed.job.finished or status.completion_time,
        "failed": MigrationFailure(
            version=shorten(failed.version, 63),
            file=shorten(failed.file, 253),
            line=failed.line,
            sqlstate=failed.sqlstate[:5],
            statement=shorten(failed.statement, 512),
            error=shorten(failed.error, 1024),
        )
        if failed is not None
        else None,
    }


def done(status: DatabaseMigrationStatus) -> list[Judgment]:
    """Judgments of a database that stands where it should."""
    return ready("UpToDate", f"the database is at version {status.current_version or 0}")


def said(
    migration: DatabaseMigration,
    status: Status,
    judgments: list[Judgment],
    again_after: float | None,
) -> MigrationPlan:
    """A plan with an Event where Ready turned."""
    notices = told(judgments, migration.status)
    return MigrationPlan(status=status, judgments=judgments, notices=notices, again_after=again_after)
