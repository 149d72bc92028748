"""What an archive holds: a report of a few KiB, and a line for each backup where all are asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pgwarden.api.wal import format_lsn
from pgwarden.catalogue.chains import by_id, flaw_of, restorable
from pgwarden.catalogue.contents import Catalogue, Kind, StoredBackup
from pgwarden.catalogue.contract import (
    ArchiveReport,
    BackupLine,
    CatalogueReport,
    CheckReport,
    ExpiryReport,
    GapReport,
    NewestReport,
    PointReport,
    PruneReport,
)
from pgwarden.catalogue.folders import BackupFolder
from pgwarden.catalogue.reachable import whole_second
from pgwarden.catalogue.retention import Retention
from pgwarden.catalogue.window import recoverable

SHOWN_GAPS = 3
SHOWN_NAMES = 5
SHOWN_TEXT = 160
SHOWN_REFUSALS = 2
NAMED = 10
"""Deleted backups that a report names."""


def summarize(
    catalogue: Catalogue, folders: dict[str, BackupFolder], *, wal_objects: int, wal_bytes: int
) -> CatalogueReport:
    """The report, without what was done."""
    known = by_id(catalogue.backups)
    good = restorable(catalogue.backups)
    flawed = [
        f"{each.backup_id}: {flaw} ({detail})"[:SHOWN_TEXT]
        for each in catalogue.backups
        for flaw, detail in [flaw_of(each, known)]
        if flaw is not None
    ]
    report = CatalogueReport(
        fulls=sum(each.kind is Kind.FULL for each in catalogue.backups),
        incrementals=sum(each.kind is Kind.INCREMENTAL for each in catalogue.backups),
        logicals=sum(each.kind is Kind.LOGICAL for each in catalogue.backups),
        restorable=len(good),
        backup_bytes=sum(each.stored_bytes for each in catalogue.backups),
        wal_bytes=wal_bytes,
        wal_objects=wal_objects,
        newest=newest_of_each([*good, *(each for each in catalogue.backups if not each.physical)], known),
        flawed=flawed[-SHOWN_NAMES:],
        flawed_count=len(flawed),
        troubles=[f"{each.reason}: {each.message}"[:SHOWN_TEXT] for each in catalogue.troubles[:SHOWN_NAMES]],
        trouble_count=len(catalogue.troubles),
        last_check=last_check(folders),
    )
    found = recoverable(catalogue)
    if found is not None:
        report.timeline = found.timeline
        report.gap_count = len(found.gaps)
        report.gaps = [
            GapReport(timeline=found.timeline, start_lsn=format_lsn(gap.start), end_lsn=format_lsn(gap.end))
            for gap in found.gaps[-SHOWN_GAPS:]
        ]
        if found.spans:
            first, last = found.spans[0], found.spans[-1]
            report.earliest = PointReport(time=min(whole_second(first.begins), last.ends), lsn=format_lsn(first.start))
            report.latest = PointReport(time=last.ends, lsn=format_lsn(last.end))
    return report


def together(reports: Sequence[CatalogueReport]) -> CatalogueReport:
    """One report of all archives of a cluster, the oldest first; not of what was deleted."""
    if len(reports) == 1:
        return reports[0]
    held = [each for each in reports if each.earliest is not None and each.latest is not None]
    newest: dict[str, NewestReport] = {}
    for each in reports:
        newest |= each.newest
    return CatalogueReport(
        fulls=sum(each.fulls for each in reports),
        incrementals=sum(each.incrementals for each in reports),
        logicals=sum(each.logicals for each in reports),
        restorable=sum(each.restorable for each in reports),
        backup_bytes=sum(each.backup_bytes for each in reports),
        wal_bytes=sum(each.wal_bytes for each in reports),
        wal_objects=sum(each.wal_objects for each in reports),
        timeline=next((each.timeline for each in reversed(reports) if each.timeline is not None), None),
        earliest=held[0].earliest if held else None,
        latest=held[-1].latest if held else None,
        gaps=[gap for each in reports for gap in each.gaps][-SHOWN_GAPS:],
        gap_count=sum(each.gap_count for each in reports),
        newest=newest,
        flawed=[text for each in reports for text in each.flawed][-SHOWN_NAMES:],
        flawed_count=sum(each.flawed_count for each in reports),
        troubles=[text for each in reports for text in each.troubles][:SHOWN_NAMES],
        trouble_count=sum(each.trouble_count for each in reports),
        last_check=max((each.last_check for each in reports if each.last_check), key=lambda c: c.time, default=None),
    )


def pruned_together(reports: Sequence[PruneReport]) -> PruneReport:
    """One report of what was deleted from all archives."""
    return PruneReport(
        dry_run=reports[0].dry_run,
        backups=sum(each.backups for each in reports),
        wal_objects=sum(each.wal_objects for each in reports),
        other_objects=sum(each.other_objects for each in reports),
        bytes=sum(each.bytes for each in reports),
        backup_ids=[name for each in reports for name in each.backup_ids][:NAMED],
        refused=sum(each.refused for each in reports),
        refusal=next((each.refusal for each in reports if each.refusal), ""),
        held=reports[-1].held,
    )


def expired_together(reports: Sequence[ExpiryReport]) -> ExpiryReport:
    """One report of the backups that people wanted gone from all archives."""
    return ExpiryReport(
        dry_run=reports[0].dry_run,
        backups=sum(each.backups for each in reports),
        bytes=sum(each.bytes for each in reports),
        backup_ids=[name for each in reports for name in each.backup_ids][:SHOWN_NAMES],
        refused=[refusal for each in reports for refusal in each.refused][:SHOWN_REFUSALS],
        refused_count=sum(each.refused_count for each in reports),
    )


def of_archive(report: CatalogueReport, catalogue: Catalogue, since: datetime | None) -> ArchiveReport:
    """What the report of one of several archives comes to."""
    archive_id = catalogue.archive.rsplit("/", 1)[-1]
    return ArchiveReport(archive=archive_id, earliest=report.earliest, latest=report.latest, since=since)


def newest_of_each(usable: list[StoredBackup], known: dict[str, StoredBackup]) -> dict[str, NewestReport]:
    """The newest backup of each type that can be relied on."""
    newest: dict[str, StoredBackup] = {}
    for each in sorted(usable, key=lambda backup: backup.stop_time):
        if flaw_of(each, known)[0] is None:
            newest[each.kind] = each
    return {
        kind: NewestReport(backup_id=each.backup_id, time=each.stop_time, stored_bytes=each.stored_bytes)
        for kind, each in newest.items()
    }


def last_check(folders: dict[str, BackupFolder]) -> CheckReport | None:
    """The last time that any backup was read again."""
    checks = [(check, folder.backup_id) for folder in folders.values() if (check := folder.last_check) is not None]
    if not checks:
        return None
    check, backup_id = max(checks, key=lambda pair: pair[0].time)
    return CheckReport(backup_id=backup_id, time=check.time, passed=check.passed)


def lines(catalogue: Catalogue, folders: dict[str, BackupFolder], retention: Retention) -> list[BackupLine]:
    """Every backup, the oldest first."""
    known = by_id(catalogue.backups)
    good = {each.backup_id for each in restorable(catalogue.backups)}
    return [line(each, known, folders.get(each.location), retention, good) for each in catalogue.backups]


def line(
    backup: StoredBackup,
    known: dict[str, StoredBackup],
    folder: BackupFolder | None,
    retention: Retention,
    good: set[str],
) -> BackupLine:
    """One backup, for a table or a program."""
    flaw, detail = flaw_of(backup, known)
    check = folder.last_check if folder is not None else None
    return BackupLine(
        backup_id=backup.backup_id,
        type=backup.kind,
        location=backup.location,
        start_time=backup.start_time,
        stop_time=backup.stop_time,
        parent_id=backup.chain[-1] if backup.chain else None,
        timeline=backup.timeline or None,
        start_lsn=format_lsn(backup.start) if backup.physical else None,
        stop_lsn=format_lsn(backup.stop) if backup.physical else None,
        system_identifier=backup.system_identifier,
        postgres_version=backup.postgres_version,
        plain_bytes=backup.plain_bytes,
        stored_bytes=backup.stored_bytes,
        objects=backup.objects,
        encrypted=backup.encrypted,
        policy=backup.policy,
        state=str(flaw) if flaw is not None else "Restorable" if backup.backup_id in good else "Complete",
        detail=detail,
        pinned=backup.pinned,
        checked=check.time if check is not None else None,
        kept_because=retention.kept.get(backup.backup_id, ""),
    )


def as_json(value: Any) -> Any:
    """A contract's model as plain JSON."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def named(names: list[str], more: int = 0) -> str:
    """Names with commas, and how many there are beside."""
    shown = ", ".join(names[:SHOWN_NAMES])
    left = len(names) - len(names[:SHOWN_NAMES]) + more
    return f"{shown} and {left} more" if left else shown


def moment(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
