"""What to say about a logical backup that is in the store. Pure."""

from __future__ import annotations

from pgwarden.api.quantities import human_bytes, human_seconds
from pgwarden.backups.resource import DatabaseBackupStatus
from pgwarden.logical.contract import LogicalBackupReport


def completed(status: DatabaseBackupStatus, report: LogicalBackupReport) -> tuple[DatabaseBackupStatus, str]:
    """The status of a backup that was committed, and a sentence about it."""
    seconds = max(0.0, (report.stop_time - report.start_time).total_seconds())
    size = human_bytes(report.stored_bytes)
    update = {
        "backup_id": report.backup_id,
        "location": report.location,
        "start_time": report.start_time.replace(microsecond=0),
        "completion_time": report.stop_time.replace(microsecond=0),
        "postgres_version": report.postgres_version,
        "system_identifier": report.system_identifier,
        "plain_bytes": report.plain_bytes,
        "stored_bytes": report.stored_bytes,
        "size": size,
        "duration_seconds": round(seconds, 1),
        "objects": report.objects,
        "databases": report.databases,
        "encrypted": report.encrypted,
    }
    databases = "1 database" if report.databases == 1 else f"{report.databases} databases, each at its own moment,"
    message = (
        f"{databases}{' and the roles' if report.globals else ''} dumped: {human_bytes(report.plain_bytes)} stored as"
        f" {size} in {human_seconds(seconds)}"
    )
    return status.model_copy(update=update), message
