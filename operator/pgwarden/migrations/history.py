"""The table pgwarden.migrations: one row for each migration that was applied, reverted, or tried in vain.

It belongs to the role that first migrated the database. Whoever owns a table can hang triggers on it that run with
the rights of whoever writes, so a schema or table of this name that belongs to a stranger is not written to: anybody
who may create schemas in the database could have put it there first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.failures import Failure
from pgwarden.migrations.files import Direction
from pgwarden.migrations.steps import Record, RecordedError, RecordState, Step
from pgwarden.postgres.script import DatabaseError
from pgwarden.postgres.session import Session

TABLE = "pgwarden.migrations"
LOCK_NOT_AVAILABLE = "55P03"

# Trusted: ourselves, a superuser (who needs no trick), and, unless we are superuser, a role we were made a member of.
LOOK_UP = """
    WITH trusted AS (
        SELECT owner.oid
        FROM pg_catalog.pg_roles AS owner, pg_catalog.pg_roles AS me
        WHERE me.rolname = CURRENT_USER
          AND (owner.oid = me.oid OR owner.rolsuper
               OR (NOT me.rolsuper AND pg_catalog.pg_has_role(owner.oid, 'USAGE')))
    )
    SELECT relation.relkind::text,
           schema.nspowner IN (SELECT oid FROM trusted),
           pg_catalog.pg_get_userbyid(schema.nspowner),
           relation.relowner IN (SELECT oid FROM trusted),
           pg_catalog.pg_get_userbyid(relation.relowner)
    FROM pg_catalog.pg_namespace AS schema
    LEFT JOIN pg_catalog.pg_class AS relation
        ON relation.relnamespace = schema.oid AND relation.relname = 'migrations'
    WHERE schema.nspname = 'pgwarden'
"""

CREATE_SCHEMA = "CREATE SCHEMA pgwarden"
CREATE_TABLE = """
    CREATE TABLE pgwarden.migrations (
        version numeric PRIMARY KEY CHECK (version > 0 AND version = pg_catalog.trunc(version)),
        name text NOT NULL,
        state text NOT NULL CHECK (state IN ('applied', 'failed', 'reverted')),
        file text NOT NULL,
        checksum text NOT NULL,
        down_script text,
        down_checksum text,
        applied_by text NOT NULL,
        applied_role text NOT NULL,
        attempts integer NOT NULL DEFAULT 1,
        started_at timestamptz NOT NULL,
        finished_at timestamptz NOT NULL,
        duration_ms double precision NOT NULL,
        lock_wait_ms double precision NOT NULL,
        error_direction text,
        error_sqlstate text,
        error_message text,
        error_detail text,
        error_line integer,
        error_statement text
    )
"""
COMMENT = "COMMENT ON TABLE pgwarden.migrations IS 'What pgwarden has migrated in this database; written by it alone.'"

READ = """
    SELECT version, name, state, checksum, down_script, down_checksum, applied_by, started_at, finished_at,
           duration_ms, lock_wait_ms, error_direction, error_sqlstate, error_message, error_line, error_statement
    FROM pgwarden.migrations ORDER BY version
"""

# clock_timestamp() and not now(): the row is written at the end of the migration's own transaction.
APPLIED = """
    INSERT INTO pgwarden.migrations AS row (version, name, state, file, checksum, down_script, down_checksum,
        applied_by, applied_role, started_at, finished_at, duration_ms, lock_wait_ms)
    VALUES (%s, %s, 'applied', %s, %s, %s, %s, %s, SESSION_USER,
        clock_timestamp() - %s * interval '1 millisecond', clock_timestamp(), %s, %s)
    ON CONFLICT (version) DO UPDATE SET
        name = EXCLUDED.name, state = EXCLUDED.state, file = EXCLUDED.file, checksum = EXCLUDED.checksum,
        down_script = EXCLUDED.down_script, down_checksum = EXCLUDED.down_checksum,
        applied_by = EXCLUDED.applied_by, applied_role = EXCLUDED.applied_role, attempts = row.attempts + 1,
        started_at = EXCLUDED.started_at, finished_at = EXCLUDED.finished_at,
        duration_ms = EXCLUDED.duration_ms, lock_wait_ms = EXCLUDED.lock_wait_ms,
        error_direction = NULL, error_sqlstate = NULL, error_message = NULL, error_detail = NULL,
        error_line = NULL, error_statement = NULL
    WHERE row.state <> 'applied'
    RETURNING version
"""
REVERTED = """
    UPDATE pgwarden.migrations SET
        state = 'reverted', applied_by = %s, applied_role = SESSION_USER, attempts = attempts + 1,
        started_at = clock_timestamp() - %s * interval '1 millisecond', finished_at = clock_timestamp(),
        duration_ms = %s, lock_wait_ms = %s,
        error_direction = NULL, error_sqlstate = NULL, error_message = NULL, error_detail = NULL,
        error_line = NULL, error_statement = NULL
    WHERE version = %s AND state = 'applied'
    RETURNING version
"""
# A failed up leaves a row of its own; a failed down leaves an applied migration applied, with the error beside it.
FAILED = """
    INSERT INTO pgwarden.migrations AS row (version, name, state, file, checksum, applied_by, applied_role,
        started_at, finished_at, duration_ms, lock_wait_ms,
        error_direction, error_sqlstate, error_message, error_detail, error_line, error_statement)
    VALUES (%s, %s, 'failed', %s, %s, %s, SESSION_USER,
        clock_timestamp() - %s * interval '1 millisecond', clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (version) DO UPDATE SET
        state = CASE row.state WHEN 'applied' THEN 'applied' ELSE 'failed' END, attempts = row.attempts + 1,
        error_direction = EXCLUDED.error_direction, error_sqlstate = EXCLUDED.error_sqlstate,
        error_message = EXCLUDED.error_message, error_detail = EXCLUDED.error_detail,
        error_line = EXCLUDED.error_line, error_statement = EXCLUDED.error_statement
"""


@dataclass(frozen=True)
class Run:
    """How running one step went."""

    duration_ms: float
    lock_wait_ms: float
    applied_by: str


@dataclass(frozen=True)
class Found:
    """What stands in the database under our names."""

    exists: bool
    schema_exists: bool
    stranger: str | None = None
    """Whom the schema or the table belongs to, when that is nobody we trust."""


def look_up(session: Session) -> Found:
    """Whether the history exists, and whose it is. Raises TaskError with reason HistoryNotTrusted for a non-table."""
    rows = session.rows(LOOK_UP)
    if not rows:
        return Found(exists=False, schema_exists=False)
    kind, schema_trusted, schema_owner, table_trusted, table_owner = rows[0]
    stranger = None if schema_trusted else schema_owner
    if kind is None:
        return Found(exists=False, schema_exists=True, stranger=stranger)
    if kind != "r":
        raise TaskError(
            "HistoryNotTrusted",
            f"{TABLE} in {session.server} is not a table but something that runs code of its owner {table_owner}",
            remedy="Find out who made it, and drop or rename it.",
        )
    return Found(exists=True, schema_exists=True, stranger=stranger or (None if table_trusted else table_owner))


def refuse_stranger(session: Session, found: Found) -> None:
    """Raises TaskError with reason HistoryNotTrusted when somebody else's triggers could run in our name."""
    if found.stranger is not None:
        raise TaskError(
            "HistoryNotTrusted",
            f"schema pgwarden or table {TABLE} in {session.server} belongs to {found.stranger}, whose triggers would "
            f"run with the rights of {session.server.user}",
            remedy=f"Migrate as {found.stranger}; or look at what stands there and give schema and table to "
            f"{session.server.user} with ALTER ... OWNER TO.",
        )


def read(session: Session, found: Found) -> list[Record]:
    """All rows, ordered by version; none when there is no table. Raises TaskError: HistoryUnreadable, HistoryLocked."""
    if not found.exists:
        return []
    try:
        return [record(row) for row in session.rows(READ)]
    except DatabaseError as error:
        if error.sqlstate == LOCK_NOT_AVAILABLE:
            raise TaskError(
                "HistoryLocked",
                f"{TABLE} in {session.server} is locked by another session, so what is applied cannot be read",
                remedy="Find out who holds the lock (pg_locks), or try again later.",
                retryable=True,
            ) from error
        raise TaskError(
            "HistoryUnreadable",
            f"{TABLE} in {session.server} cannot be read: {error.primary} (SQLSTATE {error.sqlstate})",
            remedy="Grant USAGE on schema pgwarden and SELECT on its table, or connect as their owner.",
        ) from error


def record(row: tuple[Any, ...]) -> Record:
    error = None if row[11] is None else RecordedError(row[11], row[12], row[13], row[14], row[15])
    return Record(
        version=int(row[0]),
        name=row[1],
        state=RecordState(row[2]),
        checksum=row[3],
        down_script=row[4],
        down_checksum=row[5],
        applied_by=row[6],
        started_at=row[7],
        finished_at=row[8],
        duration_ms=row[9],
        lock_wait_ms=row[10],
        error=error,
    )


def create(session: Session, found: Found) -> None:
    """Makes schema and table where they are missing. Raises TaskError: HistoryNotTrusted, HistoryNotCreated."""
    refuse_stranger(session, found)
    if found.exists:
        return
    try:
        if not found.schema_exists:
            session.rows(CREATE_SCHEMA)
        session.rows(CREATE_TABLE)
        session.rows(COMMENT)
    except DatabaseError as error:
        raise TaskError(
            "HistoryNotCreated",
            f"{TABLE} cannot be created in {session.server} as {session.server.user}: {error.primary} "
            f"(SQLSTATE {error.sqlstate})",
            remedy="Give the role CREATE on the database, as docs/sql/migration-role.sql does.",
        ) from error


def write_done(session: Session, step: Step, run: Run) -> bool:
    """Writes the row of a step that ran, inside its transaction; false when another runner has done it already."""
    migration = step.migration
    if step.direction is Direction.DOWN:
        times = (run.duration_ms, run.duration_ms, run.lock_wait_ms)
        return bool(session.rows(REVERTED, (run.applied_by, *times, migration.version)))
    down = migration.down
    return bool(
        session.rows(
            APPLIED,
            (
                migration.version,
                migration.name,
                file_of(step),
                migration.checksum,
                down.text if down else None,
                down.checksum if down else None,
                run.applied_by,
                run.duration_ms,
                run.duration_ms,
                run.lock_wait_ms,
            ),
        )
    )


def write_failed(session: Session, step: Step, run: Run, failure: Failure) -> None:
    """Writes down why a step failed, after it was rolled back. Raises DatabaseError."""
    migration = step.migration
    session.rows(
        FAILED,
        (
            migration.version,
            migration.name,
            file_of(step),
            migration.checksum,
            run.applied_by,
            run.duration_ms,
            run.duration_ms,
            run.lock_wait_ms,
            step.direction.value,
            failure.sqlstate,
            failure.message,
            failure.detail,
            failure.line,
            failure.statement,
        ),
    )


def file_of(step: Step) -> str:
    return step.script.file if step.script else ""
