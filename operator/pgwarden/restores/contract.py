"""What the operator asks of the two agents of a restore, and what they answer.

A restore's pod has three parts that share one data volume and one scratch volume:
init container `restore` (agent image, operation `restore`): fetches, unpacks, verifies, makes the copy harmless;
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


class SQLCheck(ContractModel):
    """One query that the restored data must answer as expected."""

    name: Annotated[str, Field(max_length=63)]
    database: Annotated[str, Field(max_length=63)]
    query: Annotated[str, Field(max_length=4096)]
    expect: Annotated[str | None, Field(max_length=1024)] = None
    """The first column of the first row as text; None asks only that the query succeeds."""


class RestoreTask(Payload):
    """Lay one full backup out on the data volume and verify it."""

    OPERATION: ClassVar[Operation] = Operation.RESTORE

    request_uid: str
    """UID of the RestoreRequest; written into a marker on the volume, so that no request is carried out twice."""
    store: StoreLocation
    location: str
    """Path of the backup's folder inside the store, as in BackupReport."""
    pgdata: str = PGDATA
    shared: str = SHARED
    parallel: Annotated[int, Field(ge=1, le=32)] = 4


class RecoverTask(Payload):
    """Recover what RestoreTask laid out, check it and stop it again."""

    OPERATION: ClassVar[Operation] = Operation.RECOVER

    request_uid: str
    store: StoreLocation
    location: str
    pgdata: str = PGDATA
    shared: str = SHARED
    checks: list[SQLCheck] = Field(default_factory=list, max_length=32)
    superuser_password_file: str | None = None
    """Where the password stands that the bootstrap superuser of the new instance gets; None leaves it."""
    server_start_timeout_seconds: int = 600
    """How long recovery may make no progress before it is given up."""


class CheckResult(Report):
    name: str
    passed: bool
    detail: str = ""


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
    steps: list[StepReport] = Field(default_factory=list)
    repeated: bool = False


class RecoverReport(Report):
    """Of operation `recover`: what the recovered instance is."""

    end_lsn: str
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
