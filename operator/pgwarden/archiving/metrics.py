"""The archiver's document in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pgwarden.archiving.contract import ArchiverReport, ArchiverState


def metrics(report: ArchiverReport) -> bytes:
    """What is not known is left out."""
    registry = CollectorRegistry()
    state = Gauge("pgwarden_wal_archiver_state", "1 for the state the archiver is in.", ["state"], registry=registry)
    for each in ArchiverState:
        state.labels(each.value).set(1 if each == report.state else 0)
    gauges = {
        "pgwarden_wal_lag_bytes": ("WAL that the server has written and the store does not hold.", report.lag_bytes),
        "pgwarden_wal_recovery_point_age_seconds": ("Age of the newest recoverable moment.", report.lag_seconds),
        "pgwarden_wal_spool_bytes": ("WAL in the archiver's memory that the store does not hold.", report.spool_bytes),
        "pgwarden_wal_gaps": ("Gaps that are on record in the archive.", report.gaps_total),
        "pgwarden_wal_slot_safe_bytes": (
            "WAL that may still be written before the server gives the slot up.",
            report.slot.safe_wal_bytes if report.slot is not None else None,
        ),
        "pgwarden_wal_slot_unlimited": (
            "1 while max_slot_wal_keep_size sets no limit to the WAL that the slot keeps.",
            int(report.unlimited_slot),
        ),
        "pgwarden_wal_last_archived_timestamp_seconds": (
            "When the store last took WAL.",
            report.last_archived_time.timestamp() if report.last_archived_time is not None else None,
        ),
    }
    for name, (description, value) in gauges.items():
        if value is not None:
            Gauge(name, description, registry=registry).set(value)
    counters = {
        "pgwarden_wal_segments_archived_total": ("Whole segments stored.", report.segments_archived),
        "pgwarden_wal_stored_bytes_total": ("Bytes stored, as they lie in the store.", report.stored_bytes),
    }
    for name, (description, count) in counters.items():
        Counter(name, description, registry=registry).inc(count)
    return generate_latest(registry)
