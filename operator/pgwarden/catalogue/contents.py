"""What was found in one archive, as the planners of this room see it. Pure.

Positions are bytes of WAL (`pgwarden.api.wal.parse_lsn`); times carry their zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from pgwarden.api.wal import parse_lsn
from pgwarden.backups.record import BackupRecord
from pgwarden.catalogue.timelines import Timeline
from pgwarden.logical.record import LogicalRecord


class Kind(StrEnum):
    """The sorts of backup, as backup.json names them."""

    FULL = "full"
    INCREMENTAL = "incremental"
    LOGICAL = "logical"


class Flaw(StrEnum):
    """Why a backup is never relied upon."""

    DAMAGED = "Damaged"
    """The server found pages with wrong checksums while it sent them."""
    UNTRUSTED = "Untrusted"
    """An incremental of a release that missed changes."""
    INCOMPLETE = "Incomplete"
    """An object is missing from the store, or has another size."""
    CHECK_FAILED = "CheckFailed"
    """Reading it again gave other bytes than were written."""
    CHAIN_BROKEN = "ChainBroken"
    """A backup that it builds upon is not in the store, or not to be relied on itself."""


@dataclass(frozen=True)
class StoredBackup:
    """One committed backup."""

    backup_id: str
    location: str
    kind: Kind
    start_time: datetime
    stop_time: datetime
    timeline: int = 0
    """Logical backups have no timeline and no positions."""
    start: int = 0
    stop: int = 0
    carried_until: int = 0
    """The backup itself holds the WAL from `start` up to here."""
    chain: tuple[str, ...] = ()
    """Ids of all backups that a restore needs beside this one, the full first."""
    system_identifier: str = ""
    plain_bytes: int = 0
    stored_bytes: int = 0
    objects: int = 0
    postgres_version: str = ""
    segment_bytes: int = 0
    """Length of the WAL segments of its server; 0 for logical backups."""
    encrypted: bool = False
    policy: str = ""
    proven: bool = True
    """Whether a holder of the store's catalogue key wrote the record; also where there is no key to ask. Any other may
    be restored from, but nothing expires because it is there."""
    pinned: bool = False
    """Whether the store says that it never expires."""
    flaw: Flaw | None = None
    """What is wrong with this backup itself; that of a chain is `chains.flaw_of`'s to find."""
    flaw_detail: str = ""

    @property
    def physical(self) -> bool:
        return self.kind is not Kind.LOGICAL


@dataclass(frozen=True)
class Moment:
    """When the server wrote which position: all WAL up to it was in the archive when this was noted."""

    time: datetime
    timeline: int
    position: int
    next_xid: str = ""
    """The first transaction that had no number yet; empty where that was not noted or not read."""
    proven: bool = True
    """Whether a holder of the store's catalogue key noted it; also where there is no key to ask."""


@dataclass(frozen=True)
class NamedPoint:
    """A restore point of pg_create_restore_point in the archived WAL."""

    path: str
    """Of the object that tells of it."""
    time: datetime
    timeline: int
    position: int
    """Where its record begins."""
    name: str


@dataclass(frozen=True)
class Trouble:
    """An object that could not be understood or believed, by name."""

    path: str
    reason: str
    message: str
    remedy: str = ""
    """What whoever needs it can do."""


@dataclass(frozen=True)
class Catalogue:
    """One archive."""

    archive: str
    """Its folder in the store."""
    backups: tuple[StoredBackup, ...] = ()
    """In the order of their start."""
    timelines: Mapping[int, Timeline] = field(default_factory=dict)
    """By number: those of which WAL or a history file is archived."""
    moments: tuple[Moment, ...] = ()
    """In the order of their times."""
    troubles: tuple[Trouble, ...] = ()
    wal_system: str = ""
    """System whose WAL, histories and moments are archived; empty where nothing tells: that of the newest backup."""
    succeeded: datetime | None = None
    """When another archive of the cluster took this one's place; None for the one that is written to."""
    named: tuple[NamedPoint, ...] = ()
    """In the order of their positions."""

    @property
    def physical(self) -> list[StoredBackup]:
        return [backup for backup in self.backups if backup.physical]

    @property
    def of_newest_system(self) -> list[StoredBackup]:
        """The physical backups of the system that was backed up last. After pg_upgrade or a new initdb a cluster has
        another system identifier, and its timelines begin with 1 again."""
        return [each for each in self.physical if each.system_identifier == self.newest_system]

    @property
    def newest_system(self) -> str:
        """The system that was backed up last; without a backup that whose WAL is here."""
        last = max(self.physical, key=lambda backup: (backup.start_time, backup.backup_id), default=None)
        return last.system_identifier if last is not None else self.wal_system

    def of_one_system(self) -> Catalogue:
        """The catalogue as a recovery of the newest system may see it. A backup after pg_upgrade may come into the
        archive before the archiver has begun another one: WAL of the system before leads nowhere from there."""
        if self.wal_system in ("", self.newest_system):
            return self
        return replace(self, timelines={}, moments=(), named=())


def physical_backup(record: BackupRecord, location: str) -> StoredBackup:
    """What a record of a physical backup tells."""
    flaw = Flaw.DAMAGED if record.damaged else Flaw.UNTRUSTED if record.untrusted else None
    start, stop = parse_lsn(record.start_lsn), parse_lsn(record.stop_lsn)
    return StoredBackup(
        backup_id=record.backup_id,
        location=location,
        kind=Kind(record.type),
        start_time=record.start_time,
        stop_time=record.stop_time,
        timeline=record.timeline,
        start=start,
        stop=stop,
        carried_until=carried_until(record, start, stop),
        chain=tuple(record.chain),
        system_identifier=record.system_identifier,
        plain_bytes=record.plain_bytes,
        stored_bytes=record.stored_bytes,
        objects=len(record.objects),
        postgres_version=record.server.version,
        segment_bytes=record.server.wal_segment_bytes,
        encrypted=record.encrypted,
        policy=record.policy,
        flaw=flaw,
        flaw_detail=record.damage or record.untrusted_reason,
    )


def carried_until(record: BackupRecord, start: int, stop: int) -> int:
    """How far the WAL inside a backup reaches.

    A primary ends the segment when a backup stops, so the backup holds that segment whole; a standby cannot.
    """
    if not record.carries_wal:
        return start
    segment = record.server.wal_segment_bytes
    return stop if record.server.from_standby else -(-stop // segment) * segment


def logical_backup(record: LogicalRecord, location: str) -> StoredBackup:
    """What a record of a logical backup tells."""
    return StoredBackup(
        backup_id=record.backup_id,
        location=location,
        kind=Kind.LOGICAL,
        start_time=record.start_time,
        stop_time=record.stop_time,
        system_identifier=record.system_identifier,
        plain_bytes=record.plain_bytes,
        stored_bytes=record.stored_bytes,
        objects=len(record.objects),
        postgres_version=record.server.version,
        encrypted=record.encrypted,
        policy=record.policy,
    )
