"""The archiver's document in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgwarden.archiving.contract import ArchiverReport, ArchiverState


def metrics(report: ArchiverReport) -> bytes:
    """What is not known is left out."""
    registry = CollectorRegistry()
    registry.register(ReportCollector(report))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class ReportCollector(Collector):
    """The metrics of one document."""

    report: ArchiverReport

    def collect(self) -> Iterator[Metric]:
        report, slot, last = self.report, self.report.slot, self.report.last_archived_time
        state = GaugeMetricFamily("pgwarden_wal_archiver_state", "1 for the present state.", labels=["state"])
        for each in ArchiverState:
            state.add_metric([each.value], 1 if each == report.state else 0)
        yield state
        gauges: list[tuple[str, str, float | None]] = [
            ("lag_bytes", "WAL that the server has written and the store does not hold.", report.lag_bytes),
            ("recovery_point_age_seconds", "Age of the newest recoverable moment.", report.lag_seconds),
            ("spool_bytes", "WAL in memory that the store does not hold.", report.spool_bytes),
            ("gaps", "Gaps on record in the archive.", report.gaps_total),
            ("slot_safe_bytes", "WAL until the server gives the slot up.", slot.safe_wal_bytes if slot else None),
            ("slot_unlimited", "1 while max_slot_wal_keep_size is -1.", int(report.unlimited_slot)),
            ("last_archived_timestamp_seconds", "When the store last took WAL.", last.timestamp() if last else None),
        ]
        for name, description, value in gauges:
            if value is not None:
                yield GaugeMetricFamily(f"pgwarden_wal_{name}", description, value=value)
        yield CounterMetricFamily(
            "pgwarden_wal_segments_archived", "Whole segments stored.", value=report.segments_archived
        )
        yield CounterMetricFamily("pgwarden_wal_stored_bytes", "Bytes stored.", value=report.stored_bytes)
