"""What `pgwarden migrate` prints: a table in a terminal, plain columns elsewhere, JSON when asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pgwarden.cli.output import print_json, printable, show_columns
from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.files import Direction
from pgwarden.migrations.overview import Line, State
from pgwarden.migrations.runner import Standing
from pgwarden.migrations.steps import Steps, count

HEADINGS = ("VERSION", "NAME", "STATE", "APPLIED AT (UTC)", "DURATION", "CHECKSUM")
COLORS = {
    State.APPLIED: "green",
    State.PENDING: "cyan",
    State.REVERTED: "cyan",
    State.FAILED: "bold red",
    State.OUT_OF_ORDER: "bold red",
    State.FILE_MISSING: "yellow",
}


def show_status(where: str, lines: Sequence[Line], *, as_json: bool) -> None:
    """Prints where each migration stands."""
    if as_json:
        print_json(
            {
                "database": where.removeprefix("database "),
                "currentVersion": str(max((line.version for line in lines if is_applied(line)), default=0)),
                "migrations": [line_json(line) for line in lines],
            }
        )
        return
    rows = [cells(line) for line in lines]
    if sys.stdout.isatty():
        show_table(where, lines, rows)
    else:
        show_columns([HEADINGS, *rows])
    for line in lines:
        if line.error:
            print(f"{line.version} {printable(line.name)}: last attempt failed: {printable(line.error)}")
    pending = sum(not is_applied(line) for line in lines)
    print(f"{where}: {sum(map(is_applied, lines))} applied, {pending} not applied")


def is_applied(line: Line) -> bool:
    return line.state in (State.APPLIED, State.FILE_MISSING)


def cells(line: Line) -> tuple[str, ...]:
    checksum = {True: "ok", False: "CHANGED", None: "-"}[line.checksum_matches]
    at = line.applied_at.strftime("%Y-%m-%d %H:%M:%S") if line.applied_at else "-"
    return (str(line.version), printable(line.name), line.state.value, at, duration(line.duration_ms), checksum)


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def show_table(where: str, lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Migrations of {where}")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("VERSION", "DURATION") else "left", overflow="fold")
    for line, row in zip(lines, rows, strict=True):
        styled = [Text(cell) for cell in row]
        styled[2].stylize(COLORS[line.state])
        if line.checksum_matches is False:
            styled[5].stylize("bold red")
        table.add_row(*styled)
    Console().print(table)


def line_json(line: Line) -> dict[str, Any]:
    return {
        "version": str(line.version),
        "name": line.name,
        "state": line.state.value,
        "appliedAt": line.applied_at.isoformat() if line.applied_at else None,
        "durationMs": line.duration_ms,
        "checksumMatches": line.checksum_matches,
        "reversible": line.reversible,
        "error": line.error or None,
    }


def show_plan(where: str, steps: Steps, *, as_json: bool) -> None:
    """Prints what would be run."""
    files = [(step.migration, step.script.file if step.script else "") for step in steps.steps]
    if as_json:
        listed = [{"version": str(each.version), "name": each.name, "file": file} for each, file in files]
        print_json({"direction": steps.direction.value, "steps": listed})
        return
    verb = "apply" if steps.direction is Direction.UP else "revert"
    for migration, file in files:
        print(f"{verb} {migration} ({file or 'nothing to run'})")
    print(f"{where}: {count(len(files), 'migration')} to {verb}" if files else f"{where}: nothing to do")


def show_result(where: str, standing: Standing, error: TaskError | None = None) -> None:
    """Prints, as JSON, how a run ended."""
    print_json(
        {
            "database": where.removeprefix("database "),
            "direction": standing.direction.value,
            "currentVersion": str(standing.current or 0),
            "latestVersion": str(standing.latest),
            "ran": [str(version) for version in standing.ran],
            "pending": standing.pending,
            "error": {"reason": error.reason, "message": error.message, "remedy": error.remedy} if error else None,
        }
    )
