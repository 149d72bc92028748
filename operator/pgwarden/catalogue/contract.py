"""What is asked of operation `catalogue`, and what it answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from pgwarden.jobs.files import ArchiveIdentity, StoreLocation
from pgwarden.jobs.task import ContractModel, Operation, Payload, Report, ReportModel

DAY = 86400


class What(StrEnum):
    """What is done with the catalogue."""

    SUMMARIZE = "summarize"
    """Read it, judge it, report."""
    LIST = "list"
    """As summarize, and print every backup as a line of JSON (`Line`)."""
    SHOW = "show"
    """Print the whole record of the backups that `backups` names, each as a line of JSON."""
    POINTS = "points"
    """As summarize, and print what can be recovered of every timeline as a line of JSON (`Line`), and how the moment
    `at` can be."""
    PRUNE = "prune"
    """As summarize, and delete what has expired and what is left over."""
    VERIFY = "verify"
    """As summarize, and read objects again."""
    EXPIRE = "expire"
    """Delete the backups that `backups` names, as far as nothing needs them."""
    PIN = "pin"
    """Have the backup that `backups` names never expire, whatever retention says."""
    UNPIN = "unpin"
    """Take that away again."""
    ADOPT = "adopt"
    """Have the archive belong to the task's DatabaseCluster from now on."""


class RetentionSettings(ContractModel):
    """What is kept."""

    window_seconds: Annotated[int, Field(ge=0)] = 30 * DAY
    """Every moment of this window stays recoverable."""
    grace_seconds: Annotated[int, Field(ge=0)] = 0
    """What leaves the window stays so much longer: a restore that began at its edge, in a shell or in another
    Kubernetes cluster, is seen by nobody here and still needs it."""
    minimum_fulls: Annotated[int, Field(ge=1)] = 2
    """So many restorable fulls are kept, however old they are."""
    daily: Annotated[int, Field(ge=0)] = 0
    """The last restorable full of each of so many days, beyond the window; weekly, monthly and yearly likewise."""
    weekly: Annotated[int, Field(ge=0)] = 0
    monthly: Annotated[int, Field(ge=0)] = 0
    yearly: Annotated[int, Field(ge=0)] = 0


class VerifySettings(ContractModel):
    """How much is read again, and how fast."""

    at_most: Annotated[int, Field(ge=1)] = 1
    """So many backups, where none is named: those that were not read for the longest time."""
    max_rate_kib: Annotated[int, Field(ge=0)] = 0
    """Most KiB read a second; 0 is unlimited."""


class CatalogueTask(Payload):
    """One look at an archive, and what is to be done there."""

    OPERATION: ClassVar[Operation] = Operation.CATALOGUE

    what: What
    archive: ArchiveIdentity
    """Only the DatabaseCluster that the archive belongs to may prune it."""
    store: StoreLocation
    now: datetime
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    backups: list[str] = Field(default_factory=list)
    """Show, verify and expire: ids. Pin and unpin: one."""
    promised: bool = True
    """Expire: whether `retention` is a policy's promise, which must hold afterwards. Without a policy nothing is."""
    dry_run: bool = False
    """Prune and expire: tell what would be deleted, and delete nothing."""
    live: list[str] = Field(default_factory=list)
    """Ids of the backups that are being taken or may be tried again: what their attempts left is not swept."""
    pinned: list[str] = Field(default_factory=list)
    """Ids that objects want pinned, also where the store has not been told yet; each keeps its own WAL."""
    in_use: list[str] = Field(default_factory=list)
    """Ids that a restore reads now: they stay, with all WAL after them."""
    verify: VerifySettings = Field(default_factory=VerifySettings)
    at: datetime | None = None
    """Points: a moment that somebody wants to know about."""
    timeline: int | None = None
    """Points: the timeline that `at` is meant on; None is the newest."""
    adopt_from: str = ""
    """Adopt: UID of the DatabaseCluster that is gone and whose archive it was."""
    asked_by: str = ""
    """Adopt: who says that it is gone. Pin and unpin: who wants it."""


class PointReport(ReportModel):
    """A recoverable moment."""

    time: datetime
    lsn: str


class GapReport(ReportModel):
    """Positions that cannot be recovered although earlier and later ones can."""

    timeline: int
    start_lsn: str
    end_lsn: str


class NewestReport(ReportModel):
    """The newest restorable backup of a type."""

    backup_id: str
    time: datetime
    stored_bytes: int


class CheckReport(ReportModel):
    """The last time that objects of the archive were read again."""

    backup_id: str
    time: datetime
    passed: bool


class ArchiveReport(ReportModel):
    """One of several archives of a cluster: what can be recovered from it."""

    archive: str
    """Its id."""
    earliest: PointReport | None = None
    latest: PointReport | None = None
    since: datetime | None = None
    """When it took the place of the one before it; None for the first."""


class PruneReport(ReportModel):
    """What was deleted, or with `dry_run` would be."""

    dry_run: bool
    backups: int = 0
    wal_objects: int = 0
    other_objects: int = 0
    """Leftovers of attempts and of backups that were half deleted, moments, checkpoints."""
    bytes: int = 0
    backup_ids: list[str] = Field(default_factory=list)
    """The first few."""
    refused: int = 0
    """Objects that the store would not delete."""
    refusal: str = ""
    """What the store said of the first of them."""
    held: str = ""
    """Why nothing physical expires; empty when it does."""


class RefusalReport(ReportModel):
    """A backup that somebody wants deleted, and that stays."""

    backup_id: str
    reason: str
    message: str
    """Why, and what to do."""


class ExpiryReport(ReportModel):
    """What became of the backups that were to be deleted. Lists follow the task's order and hold the first few."""

    dry_run: bool
    backups: int = 0
    """How many are gone, those that were gone before included."""
    bytes: int = 0
    backup_ids: list[str] = Field(default_factory=list)
    refused: list[RefusalReport] = Field(default_factory=list)
    refused_count: int = 0


class CatalogueReport(Report):
    """What the archives of a cluster hold, after what was asked for has been done. Lists hold the first few only."""

    fulls: int = 0
    incrementals: int = 0
    logicals: int = 0
    restorable: int = 0
    """Physical backups that can be restored now."""
    backup_bytes: int = 0
    wal_bytes: int = 0
    wal_objects: int = 0
    timeline: int | None = None
    """The newest."""
    earliest: PointReport | None = None
    """None when nothing can be recovered."""
    latest: PointReport | None = None
    gaps: list[GapReport] = Field(default_factory=list)
    gap_count: int = 0
    newest: dict[str, NewestReport] = Field(default_factory=dict)
    """By type: full, incremental, logical."""
    flawed: list[str] = Field(default_factory=list)
    """Ids of backups that cannot be relied upon, each with why."""
    flawed_count: int = 0
    troubles: list[str] = Field(default_factory=list)
    """Objects that could not be understood or believed, each with why."""
    trouble_count: int = 0
    last_check: CheckReport | None = None
    prune: PruneReport | None = None
    expiry: ExpiryReport | None = None
    window_start: datetime | None = None
    archives: list[ArchiveReport] = Field(default_factory=list)
    """The newest few, the oldest first, where a cluster has several: `earliest` and `latest` may lie in two of them,
    and nothing between the end of one and the first backup of the next can be recovered."""


class BackupLine(ReportModel):
    """One backup of a listing."""

    backup_id: str
    type: str
    """full, incremental or logical."""
    location: str
    """Path of the backup's folder inside the store."""
    start_time: datetime
    stop_time: datetime
    parent_id: str | None = None
    timeline: int | None = None
    """Physical backups have a timeline and positions."""
    start_lsn: str | None = None
    stop_lsn: str | None = None
    system_identifier: str = ""
    postgres_version: str = ""
    plain_bytes: int = 0
    stored_bytes: int = 0
    objects: int = 0
    encrypted: bool = False
    policy: str = ""
    state: str
    """Restorable (physical), Complete (logical), or what is wrong with it."""
    detail: str = ""
    pinned: bool = False
    """Whether the store says that it never expires."""
    checked: datetime | None = None
    """When its objects were last read again."""
    kept_because: str = ""
    """Empty when retention has let it expire."""


class TimesReport(ReportModel):
    """Moments that can be recovered, both ends included."""

    first: datetime
    last: datetime


class StretchReport(ReportModel):
    """WAL positions that can be recovered, both ends included."""

    start_lsn: str
    end_lsn: str
    times: list[TimesReport] = Field(default_factory=list)
    """The moments that can be named for them; usually one span."""
    fulls: int = 0
    """Backups that end in it."""
    incrementals: int = 0


class MissingReport(ReportModel):
    """WAL that is not archived."""

    start_lsn: str
    end_lsn: str
    first_segment: str
    last_segment: str


class HoleReport(ReportModel):
    """WAL positions that cannot be recovered, beside some that can."""

    start_lsn: str
    end_lsn: str
    missing: list[MissingReport] = Field(default_factory=list)
    """None where all WAL is archived, and no backup leads there."""
    ended_by: str = ""
    """Id of the backup that leads on from there; empty where none does."""


class NamedReport(ReportModel):
    """A restore point of pg_create_restore_point."""

    name: str
    time: datetime
    lsn: str


class TimelineLine(ReportModel):
    """What can be recovered of one timeline, from where it branched off."""

    archive: str
    """Id of the archive."""
    timeline: int
    newest: bool
    """Whether a target means this timeline where it names none."""
    branches_from: int | None = None
    branched_at: str | None = None
    history_known: bool = True
    """False where nothing archived tells what led to it."""
    stretches: list[StretchReport] = Field(default_factory=list)
    gaps: list[HoleReport] = Field(default_factory=list)
    named: list[NamedReport] = Field(default_factory=list)


class WayLine(ReportModel):
    """Whether a moment can be recovered, and how."""

    time: datetime
    reachable: bool
    archive: str = ""
    """Id of the archive that holds it."""
    timeline: int | None = None
    chain: list[str] = Field(default_factory=list)
    """Ids of all backups that are fetched, the full first; recovery begins with the last."""
    backup_bytes: int = 0
    """Stored bytes of these."""
    wal_bytes: int = 0
    """WAL that is replayed."""
    end_lsn: str = ""
    """The position up to which."""
    reason: str = ""
    message: str = ""
    """Why it cannot be recovered, and what can next to it."""


class Line(ReportModel):
    """One line of a log that a person's shell reads: exactly one of the fields beside the nonce."""

    nonce: str
    """The task's."""
    timeline: TimelineLine | None = None
    way: WayLine | None = None
    backup: BackupLine | None = None
    record: dict[str, Any] | None = None
    """A backup.json."""
    trouble: str | None = None
    """An object that could not be understood or believed."""
    report: CatalogueReport | None = None
    """The last line."""
