"""What the operator asks of the two agents of a restore, and what they answer.

A restore's pod has three parts that share one data volume and one scratch volume:
init container `restore` (agent image, operation `restore` or `drill`): fetches, unpacks, verifies, makes the copy
harmless;
container `postgres` (the cluster's own server image): a POSIX sh line that runs the server until told to stop;
container `agent` (agent image, operation `recover`): hands WAL to restore_command, waits for the promotion,
runs the checks over a socket in the scratch volume, has the server stopped, and tells the result.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import ContractModel, Operation, Payload, Report

DATA_VOLUME = "/pgwarden/data"
"""Mount point of the claim that the new instance will run on."""
PGDATA = f"{DATA_VOLUME}/pgdata"
SHARED = "/pgwarden/scratch"
"""emptyDir shared by the containers of a restore's pod: WAL queue, sockets, the stop file."""
WORD_FOLDER = "/pgwarden/word"
"""Where the pod's agent finds what the operator has said since the pod was made."""
PROCEED = "proceed"
"""File in that folder: not empty once a copy that is looked at shall be promoted."""
PROCEED_ANNOTATION = "pgwarden.dev/proceed"
"""The pod's annotation that the file is made of."""
PSQL_SCRIPT = "psql.sh"
"""In the scratch volume: opens psql on a copy that is looked at."""
MEMBERS = "/pgwarden/members"
"""In place: where the claims of further members are mounted, each in a folder of its own."""


class SQLCheck(ContractModel):
    """One query that the restored data must answer as expected."""

    name: Annotated[str, Field(max_length=63)]
    database: Annotated[str, Field(max_length=63)]
    query: Annotated[str, Field(max_length=4096)]
    expect: Annotated[str | None, Field(max_length=1024)] = None
    """The first column of the first row as text; None asks only that the query succeeds."""


class TargetPoint(ContractModel):
    """Where recovery shall end: exactly one of time, lsn, xid, name, latest and immediate."""

    time: datetime | None = None
    lsn: str | None = None
    xid: Annotated[str | None, Field(pattern=r"^[0-9]{1,20}$")] = None
    name: Annotated[str | None, Field(max_length=63)] = None
    """A restore point made with pg_create_restore_point."""
    latest: bool = False
    """As far as the archive goes."""
    immediate: bool = False
    """The end of the backup."""
    timeline: int | None = None
    """None is the newest that the archive knows; with `immediate` that of the backup."""
    inclusive: bool = True
    """Whether what lies exactly at the target is replayed (recovery_target_inclusive)."""


class MemberVolume(ContractModel):
    """The claim of one member of a server that is replaced in place."""

    claim: Annotated[str, Field(max_length=253)]
    path: str
    """Where this pod mounts it."""
    server_path: str
    """Where the member's own pod mounts it: links in its data directory lead there."""


class RestoreTask(Payload):
    """Lay a backup, with all that it builds upon, out on the data volume and verify it."""

    OPERATION: ClassVar[Operation] = Operation.RESTORE

    request_uid: str
    """UID of the RestoreRequest; written into a marker on the volume, so that no request is carried out twice."""
    store: StoreLocation
    location: str = ""
    """Path of the backup's folder inside the store, as in BackupReport; empty to have the base chosen in `archive`."""
    archive: str = ""
    """Folder of the cluster's first archive: the base is chosen there, or in one that took its place; empty where
    `location` names it."""
    target: TargetPoint | None = None
    """None is the end of the backup."""
    pgdata: str = PGDATA
    shared: str = SHARED
    parallel: Annotated[int, Field(ge=1, le=32)] = 4
    replaces: str = ""
    """In place: the restore token of the cluster whose data are replaced. Empty for a new instance."""
    standbys: list[MemberVolume] = Field(default_factory=list, max_length=15)
    """In place: the other members, whose data are kept beside as well."""


class DrillTask(RestoreTask):
    """The same for a drill, so that its Job is told from a restore's."""

    OPERATION: ClassVar[Operation] = Operation.DRILL


class RecoverTask(Payload):
    """Recover what RestoreTask laid out, check it and stop it again."""

    OPERATION: ClassVar[Operation] = Operation.RECOVER

    request_uid: str
    store: StoreLocation
    pgdata: str = PGDATA
    shared: str = SHARED
    checks: list[SQLCheck] = Field(default_factory=list, max_length=32)
    superuser_password_file: str | None = None
    """Where the password stands that the bootstrap superuser of the new instance gets; None leaves it."""
    drill: bool = False
    """Looks at every relation with pg_amcheck, and hands nothing over."""
    server_start_timeout_seconds: int = 600
    """How long recovery may make no progress before it is given up."""
    inspect_seconds: int | None = None
    """For how long the copy is open to be looked at before it is promoted; None promotes it at once."""
    proceed_file: str = f"{WORD_FOLDER}/{PROCEED}"
    """Not empty once it shall be promoted."""
    replaces: str = ""
    """As in RestoreTask. In place another task hands over, once the operator has seen that nothing else is at work."""
    standbys: list[MemberVolume] = Field(default_factory=list, max_length=15)
    """As in RestoreTask: they are made anew from what was recovered."""


class CheckResult(Report):
    name: str
    passed: bool
    detail: str = ""
    built_in: bool = False
    """Whether it is one of ours and not of the request."""
    advisory: bool = False
    """Whether data that fail it are handed over all the same."""


class Section(Report):
    """A part of the way that recovery goes: one timeline, up to and not including `end`; None where it is open."""

    timeline: int
    end: str | None = None


class Resolved(Report):
    """Where a restore begins and which way it goes, fixed once and kept on the volume."""

    backup_id: str
    location: str
    """The folder of the backup that recovery begins with."""
    chain: list[str] = Field(default_factory=list)
    """Ids of all backups that are fetched, the full first, that one last."""
    target: str
    """The target as it was understood, for people."""
    point: TargetPoint = Field(default_factory=lambda: TargetPoint(immediate=True))
    timeline: int
    """The timeline that recovery follows: recovery_target_timeline."""
    path: list[Section] = Field(default_factory=list)
    """The way to that timeline, the oldest first."""
    end_lsn: str
    """Recovery must come at least here, or it lost something."""
    end_time: datetime | None = None
    """When the server was known to be at `end_lsn`."""
    archived_lsn: str | None = None
    """The last position on this way of which the archive tells the time."""
    archived_time: datetime | None = None
    """When the server was there."""
    wal_until: str
    """WAL is stored up to here without a gap: one that is asked for before it and cannot be had is a failure."""
    archive: str
    """Folder of the archive."""
    archived_wal: bool = False
    """Whether recovery goes on with WAL of the archive after that of the backup."""
    passed_over: list[str] = Field(default_factory=list)
    """Why newer backups were not taken; the first few."""
    known_until: datetime | None = None
    """The last moment of the original that the archive tells of; None where the archive was not read."""


class StepReport(Report):
    name: str
    started: datetime
    finished: datetime
    detail: str = ""


class RestoreReport(Report):
    """Of operation `restore`: what lies on the volume."""

    backup_id: str
    system_identifier: str
    start_lsn: str
    stop_lsn: str
    timeline: int
    postgres_version: str
    plain_bytes: int
    files_verified: int = 0
    resolved: Resolved | None = None
    steps: list[StepReport] = Field(default_factory=list)
    repeated: bool = False


class RecoverReport(Report):
    """Of operation `recover`: what the recovered instance is."""

    end_lsn: str
    end_time: datetime | None = None
    """When the last replayed transaction was committed; None where none was replayed."""
    timeline: int
    """Timeline after promotion."""
    system_identifier: str
    checks: list[CheckResult] = Field(default_factory=list)
    databases: list[str] = Field(default_factory=list)
    """At most 20 names."""
    superuser: str = ""
    findings: list[str] = Field(default_factory=list)
    """What a person should know, one sentence each: subscriptions that were disabled, foreign servers, prepared
    transactions, invalid indexes, settings that were not taken over. Cut to fit; all of them stand in the pod's log and
    in <pgdata>.restore/marker.json."""
    steps: list[StepReport] = Field(default_factory=list)
    repeated: bool = False


class FileReportTask(Payload):
    """Put the incident report of a restore that has ended into the archive it came from."""

    OPERATION: ClassVar[Operation] = Operation.FILE_REPORT

    store: StoreLocation
    archive: str
    """Folder of the archive."""
    request_uid: str
    """UID of the RestoreRequest."""
    text: str
    """Markdown."""


class FileReportReport(Report):
    """Of operation `file-report`."""

    path: str
    """Where it lies in the store."""
