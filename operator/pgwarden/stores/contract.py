"""What the operator asks an agent about a BackupStore, and what the agent answers."""

from __future__ import annotations

from typing import ClassVar

from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Operation, Payload, Report


class ProbeStoreTask(Payload):
    """Write, read, list and delete one small object under the store's prefix."""

    OPERATION: ClassVar[Operation] = Operation.PROBE_STORE

    store: StoreLocation


class ProbeStoreReport(Report):
    """What the probe found."""

    reachable: bool
    writable: bool
    free_bytes: int | None = None
    """Free space of a claim; None for a bucket."""
    total_bytes: int | None = None
    """Size of a claim; None for a bucket."""
    kept: str = ""
    """What the store said when the object was to be deleted; empty when it did that."""
    kept_reason: str = ""
    versions: bool = False
    """Whether a deletion only hides an object."""
    clock_skew_seconds: float = 0.0
    """By how much the store's clock is ahead of the node's; negative when it is behind."""
