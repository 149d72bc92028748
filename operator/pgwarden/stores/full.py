"""What backups, archivers and looks into archives say of a store: that it is full. Pure.

A probe writes 4 KiB, which fit where a segment of WAL does not: what could not be written counts for more than what
could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgwarden.api.conditions import Truth, find
from pgwarden.api.quantities import human_bytes
from pgwarden.api.status import Attempt
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.policies.resource import BackupPolicy
from pgwarden.stores.contract import ProbeStoreReport
from pgwarden.stores.resource import BackupStore

STORE_FULL = "StoreFull"
ROOM_BYTES = 32 << 20
"""Two segments of WAL of the usual size: with less free a store that was full is full still."""


@dataclass(frozen=True)
class SaidFull:
    """Somebody could not write for want of room."""

    since: datetime
    message: str
    still: bool = False
    """It tries again all the time, and says the same now."""


def said_full(
    store: BackupStore, backups: Sequence[DatabaseBackup], policies: Sequence[BackupPolicy], now: datetime
) -> SaidFull | None:
    """Who said so last, up to now; an archiver that says so still counts for more than what has ended."""
    name = store.metadata.name
    found: list[SaidFull] = []
    for backup in backups:
        if backup.spec.store_ref.name == name:
            found += of_attempts(f"DatabaseBackup {backup.metadata.name}", backup.status.attempts)
    for policy in policies:
        if policy.spec.store_ref.name == name:
            found += of_attempts(f"BackupPolicy {policy.metadata.name}", policy.status.attempts)
            found += of_archiver(policy)
    return max((each for each in found if each.since <= now), key=lambda each: (each.still, each.since), default=None)


def of_attempts(who: str, attempts: Sequence[Attempt]) -> list[SaidFull]:
    return [
        SaidFull(each.completion_time, f"{who}: {each.message}")
        for each in attempts
        if each.reason == STORE_FULL and each.completion_time is not None
    ]


def of_archiver(policy: BackupPolicy) -> list[SaidFull]:
    told, wal = find(policy.status.conditions, "WALArchiving"), policy.status.wal
    if told is None or told.status != Truth.FALSE or told.reason != STORE_FULL or wal is None or wal.since is None:
        return []
    return [SaidFull(wal.since, f"the archiver of BackupPolicy {policy.metadata.name}: {wal.message}", still=True)]


def full_still(store: BackupStore, said: SaidFull | None, report: ProbeStoreReport | None) -> str:
    """Why a store that could be probed is full all the same; empty where it is not, or never was."""
    writable = find(store.status.conditions, "Writable")
    was = writable is not None and writable.status == Truth.FALSE and writable.reason == STORE_FULL
    if said is not None and said.still:
        return said.message
    free = report.free_bytes if report is not None else None
    if (was or is_news(store, said)) and free is not None and free < ROOM_BYTES:
        return f"a small object could be written, but only {human_bytes(free)} are free. Make the claim larger"
    return ""


def is_news(store: BackupStore, said: SaidFull | None) -> bool:
    """Whether the store was called full after it was last probed."""
    probed = store.status.last_probe_time
    return said is not None and (probed is None or said.since > probed)
