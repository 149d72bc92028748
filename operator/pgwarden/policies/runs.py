"""The DatabaseBackups of a policy as its plan sees them, and what they are called. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pgwarden.api.conditions import READY, STALLED, Truth, find
from pgwarden.api.status import Attempt
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.jobs.names import NAME_LENGTH, job_name

POLICY_LABEL = "pgwarden.dev/policy"
TYPE_LABEL = "pgwarden.dev/backup-type"
SCHEDULED_TIME_ANNOTATION = "pgwarden.dev/scheduled-time"
REASON_ANNOTATION = "pgwarden.dev/reason"
NOTHING_NEW = "NothingNew"
EXPIRED = "Expired"
BACKING_UP = "BackingUp"
EPOCH = datetime.fromtimestamp(0, UTC)


class RunType(StrEnum):
    FULL = "Full"
    INCREMENTAL = "Incremental"
    LOGICAL = "Logical"

    @property
    def physical(self) -> bool:
        return self is not RunType.LOGICAL


@dataclass(frozen=True)
class Run:
    """One DatabaseBackup of the policy."""

    name: str
    type: RunType
    made: datetime
    """When the object was made."""
    finished: bool = False
    restorable: bool = False
    skipped: bool = False
    """Nothing was written since the parent, so there was nothing to back up."""
    lost: bool = False
    """It was restorable, until the archive was found not to hold it any more, or not intact."""
    expired: bool = False
    """It was restorable, until a person had it deleted."""
    reason: str = ""
    message: str = ""
    backup_id: str = ""
    archive: str = ""
    """Id of the archive that it lies in; empty while it runs."""
    ended: datetime | None = None
    """When a successful one ended, by the clock of the database server."""
    told: datetime | None = None
    """When Kubernetes had seen the end of the last Job about a successful one."""
    holds: datetime | None = None
    """What was committed until then a successful one can bring back."""
    timeline: int = 0
    start_lsn: str = ""
    stop_lsn: str = ""
    stored_bytes: int = 0
    size: str = ""
    parent: str = ""
    chain_length: int = 1
    """How many backups a restore of it needs."""
    progress: int = 0
    """How much of it is done, while it runs."""
    moved: datetime | None = None
    """When that last moved, or the attempt began, as its status tells; None while it does not run."""
    job: str = ""
    """The Job of the attempt that is under way."""

    @property
    def failed(self) -> bool:
        fell_away = self.skipped or self.lost or self.expired
        return self.finished and not self.restorable and not fell_away

    @property
    def when(self) -> datetime:
        """When it ended, or when it was made."""
        return self.ended or self.made

    @property
    def known(self) -> datetime:
        """When it had ended by the clock that looks at the archive go by: the server's may be far from it."""
        return self.told or self.when


def run_of(backup: DatabaseBackup) -> Run:
    """What a plan has to know of a DatabaseBackup."""
    status = backup.status
    restorable, ready, stuck = (find(status.conditions, type_) for type_ in ("Restorable", READY, STALLED))
    judged = restorable is not None and restorable.status != Truth.UNKNOWN
    good = restorable is not None and restorable.status == Truth.TRUE
    return Run(
        name=backup.metadata.name,
        type=RunType(backup.spec.type),
        made=backup.metadata.creation_timestamp or EPOCH,
        finished=judged or (stuck is not None and stuck.status == Truth.TRUE),
        restorable=good,
        skipped=judged and not good and restorable is not None and restorable.reason == NOTHING_NEW,
        expired=judged and not good and restorable is not None and restorable.reason == EXPIRED,
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "",
        backup_id=status.backup_id,
        archive=archive_id_of(status.location),
        ended=status.completion_time if good else None,
        told=last_told(status.attempts) if good else None,
        holds=moment_of(backup) if good else None,
        timeline=status.timeline or 0,
        start_lsn=status.start_lsn or "",
        stop_lsn=status.stop_lsn or "",
        stored_bytes=status.stored_bytes or 0,
        size=status.size,
        parent=status.parent,
        chain_length=status.chain_length or 1,
        progress=status.progress.done if status.progress is not None else 0,
        moved=moved(backup),
        job=open_job(status.attempts),
    )


def moment_of(backup: DatabaseBackup) -> datetime | None:
    """The moment that a good backup can be restored to: a dump shows each database as it was when the dump began."""
    logical = RunType(backup.spec.type) is RunType.LOGICAL
    return backup.status.start_time if logical else backup.status.completion_time


def archive_id_of(location: str) -> str:
    """The archive's id from the folder of a backup: `<namespace>/<cluster>/<archive id>/backups/<backup id>`."""
    parts = location.split("/")
    return parts[-3] if len(parts) > 2 else ""


def open_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that has not ended, if there is one."""
    return attempts[-1] if attempts and attempts[-1].completion_time is None else None


def last_told(attempts: Sequence[Attempt]) -> datetime | None:
    """When the last attempt was seen to end."""
    return max((each.completion_time for each in attempts if each.completion_time is not None), default=None)


def open_job(attempts: Sequence[Attempt]) -> str:
    """Name of the Job of the attempt that has not ended; empty when there is none."""
    attempt = open_attempt(attempts)
    return attempt.job if attempt is not None else ""


def moved(backup: DatabaseBackup) -> datetime | None:
    """When the attempt that has not ended was seen to move: it began, or told progress since."""
    attempt, progress = open_attempt(backup.status.attempts), backup.status.progress
    if attempt is None:
        return None
    told = progress.moved_time if progress is not None else None
    return max(attempt.start_time, told) if told is not None else attempt.start_time


def newest(runs: Iterable[Run], *types: RunType) -> Run | None:
    """The newest restorable run of these types."""
    found = [run for run in runs if run.restorable and run.type in types]
    return max(found, key=lambda run: (run.when, run.name), default=None)


def unfinished(runs: Iterable[Run], *, physical: bool) -> list[Run]:
    """Runs that have not ended, oldest first: physical ones, or logical ones."""
    found = [run for run in runs if not run.finished and run.type.physical is physical]
    return sorted(found, key=lambda run: (run.made, run.name))


def run_name(policy: str, uid: str, type_: RunType, slot: datetime, *identity: str) -> str:
    """`<policy>-<type>-<UTC time of the slot>-<hash>`: the same for every look at the same slot."""
    tail = f"-{type_.value.lower()}-{slot.astimezone(UTC):%Y%m%d-%H%M}"
    head = policy[: NAME_LENGTH - len(tail)].rstrip("-.")
    return job_name(head + tail, "BackupPolicy", uid, type_.value, slot.isoformat(), *identity)
