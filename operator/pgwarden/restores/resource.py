"""RestoreRequest: one restore."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import LSN, Column, Identifier, ImageName, KindInfo, Model, Quantity, Resource, Word
from pgwarden.api.references import JobTemplate, LocalReference, ResourceRequirements, SecretKey, rules
from pgwarden.api.status import WorkStatus


class RestoreSource(Model):
    """What is restored."""

    backup_ref: LocalReference
    """The DatabaseBackup."""


class NewInstanceStorage(Model):
    """The claim that the new instance runs on."""

    size: Quantity
    """Size of the claim."""
    storage_class_name: Annotated[str | None, Field(max_length=253)] = None
    """StorageClass; without it the default one."""


class NewInstance(Model):
    """A PostgreSQL server side by side with the old one: StatefulSet, claim, Service and Secret of this name."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """Name of StatefulSet and Service; the Secret is <name>-superuser, the claim data-<name>-0."""
    image: ImageName | None = None
    """Image of the PostgreSQL server; without it the one of the DatabaseCluster."""
    storage: NewInstanceStorage
    """The claim."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server."""


class RestoreTarget(Model):
    """Where to."""

    new_instance: NewInstance
    """A new PostgreSQL server side by side with the old one."""


class RestoreCheck(Model):
    """A question the restored data must answer before the restore counts as done."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """What is checked, for the report; no two checks share a name."""
    database: Identifier
    """Database the query runs in, read-only."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """A query; the first column of its first row is the answer."""
    expect: Annotated[str | None, Field(max_length=1024)] = None
    """The answer as text; without it the query only has to succeed."""


class RestoreRequestSpec(Model):
    """What is to be restored, and where to."""

    source: RestoreSource
    """What is restored."""
    target: RestoreTarget
    """Where to."""
    identity: SecretKey | None = None
    """age identity that decrypts the backup; without it the BackupStore's."""
    checks: Annotated[
        list[RestoreCheck],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """Questions the restored data must answer."""
    requested_by: Annotated[str, Field(max_length=253)] = ""
    """Who asked for it; stands in the report."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the Job's pod gets."""
    suspend: bool = False
    """Holds the restore back until this is false."""
    cancel: bool = False
    """Ends the restore; a finished one stays as it is. What was made for the new instance is left and named."""


class StepState(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


class Step(Model):
    """One step of the restore."""

    name: Word
    """What it does."""
    state: StepState = StepState.PENDING
    """Pending, Running, Done or Failed."""
    start_time: datetime | None = None
    """When it began."""
    completion_time: datetime | None = None
    """When it ended."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What came of it."""


class RestoreRequestStatus(WorkStatus):
    """Where it stands."""

    steps: Annotated[
        list[Step],
        Field(
            max_length=24, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """The steps in order."""
    step: Word = ""
    """The step that is worked on now."""
    backup_id: Word = ""
    """The backup that is restored."""
    location: Annotated[str, Field(max_length=1024)] = ""
    """Its folder in the store."""
    restored_to: LSN | None = None
    """WAL position the data were recovered to."""
    restored_time: datetime | None = None
    """The moment the data are of: when the backup ended."""
    timeline: int | None = None
    """Timeline of the new instance."""
    host: Annotated[str, Field(max_length=253)] = ""
    """Where the new instance listens."""
    secret_name: Annotated[str, Field(max_length=253)] = ""
    """Secret with user name and password of its superuser."""
    checks_passed: int | None = None
    """How many of the checks passed."""
    start_time: datetime | None = None
    """When work began."""
    completion_time: datetime | None = None
    """When the new instance was reachable."""
    duration_seconds: float | None = None
    """How long it took."""


class RestoreRequest(Resource):
    """One restore. It is carried out once; applied again it does nothing."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="RestoreRequest",
        plural="restorerequests",
        short_names=("rr",),
        summary="One restore. It is carried out once; applied again it does nothing.",
        columns=(
            Column(name="Backup", path=".spec.source.backupRef.name"),
            Column(name="Target", path=".spec.target.newInstance.name"),
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Step", path=".status.step"),
            Column(name="Progress", path=".status.progress.percent", type="integer"),
            Column(name="Completed", path=".status.completionTime", type="date"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Ready")].reason'),
            Column(name="Host", path=".status.host", priority=1),
            Column(name="Restored To", path=".status.restoredTo", priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Ready")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        RestoreRequestSpec,
        Field(
            json_schema_extra=rules(
                (
                    "self.source == oldSelf.source && self.target == oldSelf.target"
                    # Optional access (`self.?checks`) has no bounded cost, and the API server refuses such a rule.
                    " && has(self.identity) == has(oldSelf.identity)"
                    " && (!has(self.identity) || self.identity == oldSelf.identity)"
                    " && has(self.checks) == has(oldSelf.checks)"
                    " && (!has(self.checks) || self.checks == oldSelf.checks)"
                    " && self.requestedBy == oldSelf.requestedBy && self.jobTemplate == oldSelf.jobTemplate",
                    "a RestoreRequest describes one restore and cannot be changed, but for suspend and cancel;"
                    " make a new one instead",
                ),
                ("!oldSelf.cancel || self.cancel", "cancel cannot be taken back; make a new RestoreRequest instead"),
            )
        ),
    ]
    """What is wanted."""
    status: RestoreRequestStatus = Field(default_factory=RestoreRequestStatus)
    """What is."""
