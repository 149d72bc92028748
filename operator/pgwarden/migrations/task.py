"""Operation `migrate`: brings one database to a version, and tells where it stands, also when that fails.

The history in the database is the memory: a repeated attempt reads it first, and when nothing is left to do it
answers without having written anything.
"""

from __future__ import annotations

import time
from pathlib import Path

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.migrations import source
from pgwarden.migrations.contract import FailedStatement, MigrateReport, MigrateTask
from pgwarden.migrations.files import Direction
from pgwarden.migrations.runner import Request, Standing, migrate
from pgwarden.migrations.steps import Step, count, parse_version
from pgwarden.postgres.session import ScriptSettings, Session, open_address

__all__ = ["MigrateTask", "run"]

SHOWN_VERSIONS = 20
REPORT_BYTES = 2200
"""What a report may take of the termination message, so that message and remedy have room beside it."""


def run(payload: MigrateTask, context: AgentContext) -> Done:
    """Reads the files, migrates, and answers Migrated, Reverted or, skipped, UpToDate.

    Raises TaskError with a report, as `source.read`, `open_address` and `migrate` do.
    """
    began = time.monotonic()
    standing = Standing(migrations=[])
    try:
        standing.migrations = source.read(Path(payload.sources), expected_digest=payload.source_digest)
        request = request_of(payload, context, standing)
        with open_address(payload.database) as session:
            return carry_out(session, request, standing, began)
    except TaskError as error:
        error.report = report(standing, began).model_dump(mode="json", by_alias=True, exclude_none=True)
        raise


def request_of(payload: MigrateTask, context: AgentContext, standing: Standing) -> Request:
    def progress(done: int, total: int, step: Step) -> None:
        context.progress(f"migrate {step.direction}", done, total, unit="files", detail=str(step.migration)[:200])

    return Request(
        migrations=standing.migrations,
        target=parse_version(payload.target_version),
        allow_down=payload.allow_down,
        settings=ScriptSettings(payload.role, payload.lock_timeout_ms, payload.statement_timeout_ms),
        advisory_lock_wait_seconds=payload.advisory_lock_wait_seconds,
        applied_by=payload.applied_by or str(context.task.object),
        stop=context.stop,
        progress=progress,
    )


def carry_out(session: Session, request: Request, standing: Standing, began: float) -> Done:
    migrate(session, request, standing)
    where = f"{session.server} is at version {standing.current or 0}"
    if standing.current is not None and standing.current > standing.latest:
        where += f", above {standing.latest}, the latest of the files"
    if not standing.ran:
        return Done("UpToDate", f"nothing to do: {where}", report(standing, began), skipped=True)
    if standing.direction is Direction.DOWN:
        message = f"reverted {count(len(standing.ran), 'migration')}; {where}"
        return Done("Reverted", message, report(standing, began))
    return Done("Migrated", f"applied {count(len(standing.ran), 'migration')}; {where}", report(standing, began))


def report(standing: Standing, began: float) -> MigrateReport:
    """Where the database stands, cut to what a termination message has room for."""
    for versions, characters in ((SHOWN_VERSIONS, 300), (SHOWN_VERSIONS, 120), (5, 60), (1, 20)):
        made = whole_report(standing, began, versions, characters)
        if len(made.model_dump_json(by_alias=True).encode()) <= REPORT_BYTES:
            break
    return made


def whole_report(standing: Standing, began: float, versions: int, characters: int) -> MigrateReport:
    return MigrateReport(
        current_version="" if standing.current is None else str(standing.current),
        latest_version=str(standing.latest) if standing.migrations else "",
        applied=standing.applied,
        pending=standing.pending,
        ran=[str(version) for version in standing.ran[-versions:]],
        direction=standing.direction.value,
        duration_seconds=round(time.monotonic() - began, 3),
        failed=failed_statement(standing, characters),
        server_version=standing.server_version,
    )


def failed_statement(standing: Standing, characters: int) -> FailedStatement | None:
    step, failure = standing.failed_step, standing.failure
    if step is None or failure is None:
        return None
    return FailedStatement(
        version=str(step.migration.version),
        file=(step.script.file if step.script else "")[-min(characters, 253) :],
        line=failure.line,
        sqlstate=failure.sqlstate,
        statement=failure.statement[:characters],
        error=failure.message[:characters],
    )
