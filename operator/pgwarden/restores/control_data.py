"""What pg_controldata says about a data directory.

Labels are those of PostgreSQL 15 to 18 in English; the tool is run with LC_ALL=C.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.jobs.errors import TaskError


@dataclass(frozen=True)
class ControlData:
    """The part of pg_control that a restore acts on."""

    system_identifier: str
    state: str
    """For example `shut down`, `in archive recovery`, `in production`."""
    timeline: int
    """Of the latest checkpoint."""
    recovery_timeline: int
    """That a recovery has come to; 0 where none is under way. A server that was told to promote itself is on its new
    timeline before it makes its first checkpoint there."""
    wal_segment_bytes: int
    data_checksums: bool
    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int

    @property
    def shut_down(self) -> bool:
        return self.state == "shut down"

    @property
    def timelines(self) -> set[int]:
        """Those that the checkpoint and the recovery after it have come to."""
        return {self.timeline, self.recovery_timeline} - {0}


def parse_control_data(text: str) -> ControlData:
    """Reads the output of pg_controldata. Raises TaskError with reason ControlDataUnreadable."""
    values = {label.strip(): value.strip() for label, _, value in (line.partition(":") for line in text.splitlines())}
    try:
        return ControlData(
            system_identifier=values["Database system identifier"],
            state=values["Database cluster state"],
            timeline=int(values["Latest checkpoint's TimeLineID"]),
            recovery_timeline=int(values["Min recovery ending loc's timeline"]),
            wal_segment_bytes=int(values["Bytes per WAL segment"]),
            data_checksums=values["Data page checksum version"] != "0",
            max_connections=int(values["max_connections setting"]),
            max_worker_processes=int(values["max_worker_processes setting"]),
            max_wal_senders=int(values["max_wal_senders setting"]),
            max_prepared_transactions=int(values["max_prepared_xacts setting"]),
            max_locks_per_transaction=int(values["max_locks_per_xact setting"]),
        )
    except (KeyError, ValueError) as error:
        raise TaskError(
            "ControlDataUnreadable",
            f"pg_controldata said something that cannot be understood: {error}",
            remedy="This is a defect of pgwarden; the pod's log holds what pg_controldata printed.",
        ) from error
