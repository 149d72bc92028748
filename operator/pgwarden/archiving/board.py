"""What the archivers last answered, as the operator remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.archiving.contract import ArchiverReport
from pgwarden.kube.key import Key

MOVING = {
    "time",
    "received_lsn",
    "acknowledged_lsn",
    "flushed_lsn",
    "server_lsn",
    "lag_bytes",
    "lag_seconds",
    "recovery_point_time",
    "spool_bytes",
    "segments_archived",
    "stored_bytes",
    "last_archived_time",
    "slot",
    "replica_slots",
}
"""What is another in every document while all is well."""


@dataclass(frozen=True)
class Remembered:
    report: ArchiverReport | None = None
    problem: str = ""


class ArchiverBoard:
    """Reports by BackupPolicy, and why there is none."""

    def __init__(self) -> None:
        self._known: dict[Key, Remembered] = {}

    def take(self, key: Key, report: ArchiverReport) -> bool:
        """Remembers a document; returns whether it tells something new."""
        before = self._known.get(key, Remembered())
        self._known[key] = Remembered(report)
        if before.report is None or before.problem:
            return True
        return steady(before.report) != steady(report)

    def fail(self, key: Key, problem: str) -> bool:
        """Remembers why an archiver does not answer; returns whether that is news."""
        before = self._known.get(key, Remembered())
        self._known[key] = Remembered(before.report, problem)
        return before.problem != problem

    def known(self, key: Key) -> Remembered:
        """What is known of a policy's archiver."""
        return self._known.get(key, Remembered())

    def forget(self, key: Key) -> None:
        """The policy is gone, or wants no WAL any more."""
        self._known.pop(key, None)


def steady(report: ArchiverReport) -> dict[str, object]:
    """What does not move while all is well."""
    return report.model_dump(exclude=MOVING)
