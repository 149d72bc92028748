"""One line for each migration that the files or the history know: what `pgwarden migrate status` shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgwarden.migrations.files import Migration
from pgwarden.migrations.steps import Record, RecordState, applied_records, edited


class State(StrEnum):
    APPLIED = "applied"
    PENDING = "pending"
    FAILED = "failed"
    """Pending; the last attempt failed and was rolled back."""
    REVERTED = "reverted"
    """Pending; it was applied once and went down again."""
    OUT_OF_ORDER = "out of order"
    """Never applied, though numbered below the version the database stands at."""
    FILE_MISSING = "file missing"
    """Applied, and its file is gone."""


@dataclass(frozen=True)
class Line:
    """Where one migration stands."""

    version: int
    name: str
    state: State
    applied_at: datetime | None = None
    duration_ms: float | None = None
    checksum_matches: bool | None = None
    """Whether the file still is what was applied; None when it is not applied, or gone."""
    reversible: bool = False
    """Whether a down script exists, as a file or in the history."""
    error: str = ""
    """Why the last attempt failed."""


def overview(migrations: Sequence[Migration], records: Sequence[Record]) -> list[Line]:
    """All migrations in the order of their versions."""
    files = {migration.version: migration for migration in migrations}
    rows = {record.version: record for record in records}
    applied = applied_records(records)
    current = max(applied, default=0)
    changed = {migration.version for migration in edited(migrations, applied)}
    versions = sorted({*files, *applied})
    return [line(files.get(each), rows.get(each), current, each in changed) for each in versions]


def line(migration: Migration | None, record: Record | None, current: int, changed: bool) -> Line:
    """One line; at least one of migration and record exists."""
    version = migration.version if migration else record.version if record else 0
    name = migration.name if migration else record.name if record else ""
    is_applied = record is not None and record.state is RecordState.APPLIED
    error = record.error if record else None
    kept_down = record is not None and record.down_script is not None
    return Line(
        version=version,
        name=name,
        state=state_of(migration, record, current),
        applied_at=record.finished_at if record and is_applied else None,
        duration_ms=record.duration_ms if record and is_applied else None,
        checksum_matches=not changed if is_applied and migration else None,
        reversible=bool(migration and migration.down) or kept_down,
        error=f"{error.direction}, line {error.line}: {error.message} (SQLSTATE {error.sqlstate})" if error else "",
    )


def state_of(migration: Migration | None, record: Record | None, current: int) -> State:
    if record is not None and record.state is RecordState.APPLIED:
        return State.APPLIED if migration else State.FILE_MISSING
    if migration is not None and migration.version < current:
        return State.OUT_OF_ORDER
    if record is None:
        return State.PENDING
    return State.FAILED if record.state is RecordState.FAILED else State.REVERTED
