"""What `pgwarden backup` prints: tables with sizes and ages in a terminal, plain columns elsewhere, JSON when asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pgwarden.api.conditions import is_true
from pgwarden.api.quantities import human_bytes
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.catalogue.contract import ArchiveReport, BackupLine, CatalogueReport
from pgwarden.cli.backup_source import Answer
from pgwarden.cli.output import print_json, printable, show_columns

HEADINGS = ("ID", "TYPE", "AGE", "SIZE", "STATE", "CHECKED", "KEPT BECAUSE")
GOOD = ("Restorable", "Complete")
RIGHT = (2, 3)
STATE = 4
WIDE = 110
"""Columns of a terminal in which there is room for the reasons."""
EXPIRED = "expired: goes with the next prune"


def show_list(answer: Answer, *, as_json: bool, now: datetime) -> None:
    """Prints every backup, and what can be recovered."""
    if as_json:
        print_json(
            {
                "backups": [plain(each) for each in answer.backups],
                "troubles": answer.troubles,
                "report": plain(answer.report) if answer.report is not None else None,
            }
        )
        return
    rows = [cells(each, now) for each in answer.backups]
    if not rows:
        print("no backups")
    elif sys.stdout.isatty():
        show_table(answer.backups, rows)
    else:
        show_columns([HEADINGS, *rows])
    for each in answer.backups:
        if each.detail:
            print(f"{each.backup_id}: {printable(each.detail)}")
    for trouble in answer.troubles:
        print(f"cannot be read: {printable(trouble)}")
    if answer.report is not None:
        for line in told(answer.report):
            print(line)


def cells(backup: BackupLine, now: datetime) -> tuple[str, ...]:
    """One row."""
    return (
        printable(backup.backup_id),
        backup.type,
        age(backup.stop_time, now),
        human_bytes(backup.stored_bytes),
        printable(backup.state),
        age(backup.checked, now) if backup.checked is not None else "never",
        printable(backup.kept_because or EXPIRED),
    )


def age(time: datetime, now: datetime) -> str:
    """How long ago, in the two largest units: 3d4h, 5h10m, 12m, 40s."""
    seconds = max(0, int((now - time).total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    if days:
        return f"{days}d{hours}h" if days < 10 else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m" if minutes else f"{seconds}s"


def show_table(backups: Sequence[BackupLine], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shown = HEADINGS if console.width >= WIDE else HEADINGS[:-1]
    table = Table(box=None, pad_edge=False, padding=(0, 2 if shown is HEADINGS else 1, 0, 0))
    for number, heading in enumerate(shown):
        last = heading == HEADINGS[-1]
        table.add_column(heading, justify="right" if number in RIGHT else "left", no_wrap=not last, overflow="fold")
    for backup, row in zip(backups, rows, strict=True):
        styled = [Text(cell) for cell in row[: len(shown)]]
        styled[STATE].stylize("green" if backup.state in GOOD else "bold red")
        table.add_row(*styled)
    console.print(table)


def told(report: CatalogueReport) -> list[str]:
    """The archive in a few sentences."""
    kinds = f"{report.fulls} full, {report.incrementals} incremental, {report.logicals} logical"
    lines = [
        f"{kinds}: {human_bytes(report.backup_bytes)}; WAL: {report.wal_objects} objects, "
        f"{human_bytes(report.wal_bytes)}"
    ]
    if report.earliest is not None and report.latest is not None:
        lines.append(
            f"recoverable on timeline {report.timeline}: from {report.earliest.time:%Y-%m-%d %H:%M:%S} "
            f"({report.earliest.lsn}) to {report.latest.time:%Y-%m-%d %H:%M:%S} ({report.latest.lsn})"
        )
    elif report.fulls or report.incrementals:
        lines.append("nothing can be recovered: no physical backup is restorable")
    lines += [f"gap: nothing between {gap.start_lsn} and {gap.end_lsn} can be recovered" for gap in report.gaps]
    if report.gap_count > len(report.gaps):
        lines.append(f"{report.gap_count - len(report.gaps)} more gaps")
    return [*lines, *(told_of_archive(each) for each in report.archives)]


def told_of_archive(archive: ArchiveReport) -> str:
    """One of several archives in a sentence."""
    since = f", which took the last one's place {archive.since:%Y-%m-%d %H:%M:%S}" if archive.since is not None else ""
    if archive.earliest is None or archive.latest is None:
        return f"archive {archive.archive}{since}: nothing can be recovered yet"
    span = f"{archive.earliest.time:%Y-%m-%d %H:%M:%S} to {archive.latest.time:%Y-%m-%d %H:%M:%S}"
    return f"archive {archive.archive}{since}: recoverable from {span}"


def show_record(record: dict[str, Any], backup: BackupLine, *, as_json: bool) -> None:
    """Prints one backup.json: whole, or what a person asks for first, what the catalogue says of the backup now, and
    the commands to restore it by hand."""
    if as_json:
        print_json(record)
        return
    server = record.get("server", {})
    rows = [
        ("backup", record.get("backupId")),
        ("type", record.get("type")),
        ("parent", record.get("parentId")),
        ("PostgreSQL", server.get("version")),
        ("system identifier", record.get("systemIdentifier")),
        ("timeline", record.get("timeline")),
        ("started", record.get("startTime")),
        ("completed", record.get("stopTime")),
        ("WAL", f"{record['startLSN']} to {record['stopLSN']}" if "startLSN" in record else None),
        ("encrypted to", ", ".join(record.get("recipients") or []) or "nobody: not encrypted"),
        ("compression", record.get("compression")),
        ("damage", record.get("damage") or record.get("untrustedReason")),
        ("state", f"{backup.state}: {backup.detail}" if backup.detail else backup.state),
        ("pinned", "yes" if backup.pinned else "no"),
        ("kept because", backup.kept_because or EXPIRED),
    ]
    for name, value in rows:
        if value not in (None, ""):
            print(f"{name + ':':<20}{printable(str(value))}")
    print("\nto restore it by hand, in a folder with a copy of the backup's:\n")
    for line in record.get("restoreByHand", []):
        print("  " + printable(line))


def show_prune(answer: Answer) -> None:
    """Prints what would be deleted."""
    for each in answer.backups:
        if not each.kept_because:
            print(f"would delete {printable(each.backup_id)} of {each.stop_time:%Y-%m-%d %H:%M:%S}")
    print(printable(answer.result.message))


def expiry(answer: Answer) -> tuple[bool, str]:
    """Whether everything that was asked for went, or would go; and the sentence that the task ended with."""
    report = answer.report.expiry if answer.report is not None else None
    return report is not None and not report.refused, printable(answer.result.message)


def show_backup(backup: DatabaseBackup, reason: str, message: str) -> None:
    """Prints, as JSON, what became of a DatabaseBackup so far."""
    status = backup.status
    print_json(
        {
            "name": backup.metadata.name,
            "backupId": status.backup_id,
            "restorable": is_true(status.conditions, "Restorable"),
            "reason": reason,
            "message": message,
            "location": status.location,
        }
    )


def show_result(answer: Answer) -> None:
    """Prints, as JSON, how a task ended."""
    result = answer.result
    print_json(
        {
            "outcome": str(result.outcome),
            "reason": result.reason,
            "message": result.message,
            "backups": [plain(each) for each in answer.backups],
            "report": plain(answer.report) if answer.report is not None else None,
        }
    )


def plain(value: Any) -> Any:
    """A contract's model as JSON."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
