"""Decides which migrations to run, from the files, what the database's history says, and the version wanted.

Pure. Refusals are TaskErrors raised before anything has been written:

- ChecksumMismatch: a file was edited after it was applied, so the database does not hold what the file says.
- OutOfOrder: a file is numbered below the version the database stands at and was never applied, as when two branches
  are merged in the wrong order. Gaps in the numbering itself are fine, as in golang-migrate.
- UnknownVersion: neither a file nor the history knows the version wanted.
- DownNotAllowed, IrreversibleMigration: going down wants consent, and a down script for every version on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.files import Direction, Migration, Script

SHOWN = 5


class RecordState(StrEnum):
    """Where a migration stands, after what the history table keeps of it."""

    APPLIED = "applied"
    FAILED = "failed"
    """Tried and rolled back; never applied."""
    REVERTED = "reverted"


@dataclass(frozen=True)
class RecordedError:
    """Why the last attempt failed."""

    direction: str
    sqlstate: str
    message: str
    line: int
    statement: str


@dataclass(frozen=True)
class Record:
    """One row of pgwarden.migrations."""

    version: int
    name: str
    state: RecordState
    checksum: str
    down_script: str | None = None
    down_checksum: str | None = None
    applied_by: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: float | None = None
    lock_wait_ms: float | None = None
    error: RecordedError | None = None


@dataclass(frozen=True)
class Step:
    """One migration to run in one direction."""

    migration: Migration
    direction: Direction
    script: Script | None
    """None where golang-migrate's lone down file leaves nothing to do on the way up."""


@dataclass(frozen=True)
class Steps:
    """What to run, in order; nothing when the database stands where it should."""

    direction: Direction
    steps: Sequence[Step]


def applied_records(records: Iterable[Record]) -> dict[int, Record]:
    return {record.version: record for record in records if record.state is RecordState.APPLIED}


def after(records: Sequence[Record], step: Step) -> list[Record]:
    """The records as they are once a step has run."""
    migration = step.migration
    state = RecordState.APPLIED if step.direction is Direction.UP else RecordState.REVERTED
    others = [record for record in records if record.version != migration.version]
    done = Record(migration.version, migration.name, state, migration.checksum)
    return sorted([*others, done], key=lambda record: record.version)


def parse_version(text: str | None) -> int | None:
    """The version wanted as a number; None is the latest. Raises TaskError with reason UnknownVersion."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 1000:
        raise TaskError(
            "UnknownVersion",
            f"the version wanted, {text[:50]!r}, is not a number",
            remedy="Name a version by its digits, or 0 for the state before the first migration.",
        )
    return int(text)


def decide(
    migrations: Sequence[Migration], records: Sequence[Record], *, target: int | None, allow_down: bool
) -> Steps:
    """What to run to arrive at `target` (None: the latest file, and never down). Raises TaskError as listed above."""
    applied = applied_records(records)
    files = {migration.version: migration for migration in migrations}
    current = max(applied, default=0)
    if target is not None and target != 0 and target not in files and target not in applied:
        raise TaskError(
            "UnknownVersion",
            f"version {target} is wanted, but neither the files nor the history know it; "
            f"the files hold {describe_range(migrations)}",
            remedy="Name a version that exists, or add its file to the sources.",
        )
    if target is not None and target < current:
        return down_steps(files, applied, target, allow_down)
    refuse_edited(migrations, applied)
    limit = target if target is not None else max([*files, current])
    pending = [each for each in migrations if each.version <= limit and each.version not in applied]
    refuse_out_of_order([each for each in pending if each.version < current], current)
    return Steps(Direction.UP, [Step(each, Direction.UP, each.up) for each in pending])


def describe_range(migrations: Sequence[Migration]) -> str:
    return f"{migrations[0].version} to {migrations[-1].version}" if migrations else "none"


def edited(migrations: Iterable[Migration], applied: Mapping[int, Record]) -> list[Migration]:
    """Migrations whose up script is not the one that was applied."""
    return [each for each in migrations if each.version in applied and applied[each.version].checksum != each.checksum]


def refuse_edited(migrations: Iterable[Migration], applied: Mapping[int, Record]) -> None:
    changed = edited(migrations, applied)
    if changed:
        raise TaskError(
            "ChecksumMismatch",
            f"{name_files(changed)} changed after being applied: the database holds what the earlier content did",
            remedy="Put the earlier content back, and make the change in a new migration.",
        )


def refuse_out_of_order(late: Sequence[Migration], current: int) -> None:
    if late:
        raise TaskError(
            "OutOfOrder",
            f"{name_files(late)} is numbered below version {current}, at which the database stands, "
            "and was never applied: it was written for a schema without the later ones",
            remedy="Give it a number above the latest; or go down to the version before it, and up again.",
        )


def down_steps(files: Mapping[int, Migration], applied: Mapping[int, Record], target: int, allow_down: bool) -> Steps:
    """Reverts everything above `target`, the latest first; a file that is gone is replaced by what the history kept."""
    doomed = sorted((version for version in applied if version > target), reverse=True)
    if not allow_down:
        raise TaskError(
            "DownNotAllowed",
            f"version {target} is below {doomed[0]}, at which the database stands; reverting "
            f"{count(len(doomed), 'migration')} is not allowed",
            remedy="Set spec.down.allow: true (or run `pgwarden migrate down`), or name a version that is not lower.",
        )
    refuse_edited([files[version] for version in doomed if version in files], applied)
    steps = [down_step(files.get(version), applied[version]) for version in doomed]
    irreversible = [step.migration for step in steps if step.script is None]
    if irreversible:
        raise TaskError(
            "IrreversibleMigration",
            f"{name_files(irreversible)} has no down script, neither as a file nor in the history, "
            "so nothing was reverted",
            remedy="Write the down file, or restore a backup from before it.",
        )
    return Steps(Direction.DOWN, steps)


def down_step(migration: Migration | None, record: Record) -> Step:
    kept = None
    if record.down_script is not None:
        title = record.name
        kept = Script(f"{record.version}_{title}.down.sql (from the history)", title, record.down_script.encode())
    if migration is None:
        migration = Migration(record.version, None, kept)
    return Step(migration, Direction.DOWN, migration.down or kept)


def name_files(migrations: Sequence[Migration]) -> str:
    """The files of up to SHOWN migrations, as a person would say them."""
    names = [script.file if (script := each.up or each.down) else str(each) for each in migrations[:SHOWN]]
    more = f" and {len(migrations) - SHOWN} more" if len(migrations) > SHOWN else ""
    return ", ".join(names) + more


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
