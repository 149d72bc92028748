"""What the operator exports about backups, by policy."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import Gauge

from pgwarden.api.conditions import Truth, find
from pgwarden.kube.key import Key
from pgwarden.policies.resource import BackupPolicy, BackupPolicyStatus
from pgwarden.policies.wal import Archiver

LABELS = ("namespace", "policy")
LAST_SUCCESS = Gauge(
    "pgwarden_backup_last_success_timestamp_seconds", "When the newest good backup of a type ended.", [*LABELS, "type"]
)
RECOVERY_POINT = Gauge(
    "pgwarden_backup_recovery_point_timestamp_seconds",
    "The newest moment that the data can be brought back to.",
    LABELS,
)
EARLIEST = Gauge(
    "pgwarden_backup_earliest_recoverable_timestamp_seconds", "The oldest moment of the recoverable window.", LABELS
)
NEXT_RUN = Gauge(
    "pgwarden_backup_next_run_timestamp_seconds", "When the next backup of a type is due.", [*LABELS, "type"]
)
WAL_LAG_SECONDS = Gauge("pgwarden_backup_wal_lag_seconds", "Age of the newest moment whose WAL is stored.", LABELS)
WAL_LAG_BYTES = Gauge("pgwarden_backup_wal_lag_bytes", "WAL that the store does not hold yet.", LABELS)
CONDITION = Gauge(
    "pgwarden_backup_condition",
    "1 where the condition of that type has that status.",
    [*LABELS, "condition", "status"],
)
CONDITIONS = (
    "LastBackupSucceeded",
    "WALArchiving",
    "ObjectivesMet",
    "Recoverable",
    "ArchiveSound",
    "LastDrillSucceeded",
    "DrillsPossible",
)
STORED_BYTES = Gauge("pgwarden_backup_stored_bytes", "Size of backups and WAL in the store.", LABELS)
LAST_DRILL = Gauge("pgwarden_drill_last_success_timestamp_seconds", "When the last good drill ended.", LABELS)
DRILL_RECOVERY = Gauge("pgwarden_drill_recovery_seconds", "How long a restore takes, by the last good drill.", LABELS)
DRILL_LOSS = Gauge("pgwarden_drill_data_loss_seconds", "What would be lost, by the last drill that told it.", LABELS)
ALL = (
    LAST_SUCCESS,
    RECOVERY_POINT,
    EARLIEST,
    NEXT_RUN,
    WAL_LAG_SECONDS,
    WAL_LAG_BYTES,
    CONDITION,
    STORED_BYTES,
    LAST_DRILL,
    DRILL_RECOVERY,
    DRILL_LOSS,
)


def export(policy: BackupPolicy, status: BackupPolicyStatus, archiver: Archiver, latest: datetime | None) -> None:
    """Sets the metrics of one policy. `latest` is exact, where the status is calm."""
    names = (policy.metadata.namespace, policy.metadata.name)
    forget(Key("BackupPolicy", *names))
    for type_, last in (
        ("full", status.last_full),
        ("incremental", status.last_incremental),
        ("logical", status.last_logical),
    ):
        if last is not None:
            LAST_SUCCESS.labels(*names, type_).set(last.time.timestamp())
    if latest is not None:
        RECOVERY_POINT.labels(*names).set(latest.timestamp())
    if status.earliest_recoverable is not None:
        EARLIEST.labels(*names).set(status.earliest_recoverable.time.timestamp())
    for each in status.schedules:
        if each.next_run_time is not None:
            NEXT_RUN.labels(*names, each.name.lower()).set(each.next_run_time.timestamp())
    report = archiver.report
    if report is not None and report.lag_seconds is not None:
        WAL_LAG_SECONDS.labels(*names).set(report.lag_seconds)
    if report is not None and report.lag_bytes is not None:
        WAL_LAG_BYTES.labels(*names).set(report.lag_bytes)
    if status.catalogue is not None and status.catalogue.time is not None:
        STORED_BYTES.labels(*names).set(status.catalogue.stored_bytes)
    export_drill(names, status)
    for type_ in CONDITIONS:
        condition = find(status.conditions, type_)
        if condition is not None:
            for truth in Truth:
                CONDITION.labels(*names, type_, truth.value.lower()).set(condition.status == truth)


def export_drill(names: tuple[str, str], status: BackupPolicyStatus) -> None:
    """Sets what the last drills told."""
    good = status.drill.last_success if status.drill is not None else None
    if good is not None:
        LAST_DRILL.labels(*names).set(good.time.timestamp())
    if good is not None and good.recovery_seconds is not None:
        DRILL_RECOVERY.labels(*names).set(good.recovery_seconds)
    if status.objectives is not None and status.objectives.measured_loss_seconds is not None:
        DRILL_LOSS.labels(*names).set(status.objectives.measured_loss_seconds)


def forget(key: Key) -> None:
    """Takes a policy's metrics away."""
    for gauge in ALL:
        gauge.remove_by_labels({"namespace": key.namespace, "policy": key.name})
