"""The drills of a BackupPolicy: restores on a schedule, measured and thrown away. Part of its spec and status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgwarden.api.model import ImageName, Model, Word
from pgwarden.api.references import JobTemplate, ResourceRequirements, SecretKey
from pgwarden.policies.schedule_resource import ScheduleSpec
from pgwarden.restores.resource import DrillStorage, RestoreCheck

MOST_KEPT = 50


class DrillTarget(StrEnum):
    LATEST = "Latest"
    RANDOM_MOMENT = "RandomMoment"
    NEWEST_INCREMENTAL = "NewestIncremental"


class DrillPlan(ScheduleSpec):
    """When drills are made, and what of."""

    target: DrillTarget = DrillTarget.LATEST
    """Latest: all that is in the archive, which also tells how much would be lost. RandomMoment: another moment of the
    window each time; without WAL another backup. NewestIncremental: the end of the newest incremental backup, with what
    it builds upon; of the newest full where there is none."""
    keep_last: Annotated[int, Field(ge=1, le=MOST_KEPT)] = 5
    """So many RestoreRequests of drills that ended are kept, and so many results in status."""
    checks: Annotated[
        list[RestoreCheck],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    """Questions the restored data must answer."""
    identity: SecretKey | None = None
    """age identity that decrypts the backups; without it the BackupStore's."""
    image: ImageName | None = None
    """Image of the PostgreSQL server; without it the one of the DatabaseCluster."""
    storage: DrillStorage = Field(default_factory=DrillStorage)
    """The volume that a drill works on."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server."""
    job_template: JobTemplate | None = None
    """What the pods of drills get; without it what the policy's other pods get."""


class DrillResult(Model):
    """What came of one drill."""

    name: Annotated[str, Field(max_length=253)]
    """Its RestoreRequest, which may be gone by now."""
    time: datetime
    """When it ended."""
    succeeded: bool
    """Whether the data came back and passed every check."""
    reason: Word = ""
    """How it ended, as one word."""
    message: Annotated[str, Field(max_length=512)] = ""
    """How it ended, as a sentence."""
    target: Annotated[str, Field(max_length=256)] = ""
    """The moment it was to come to."""
    backup_id: Word = ""
    """The backup it began with."""
    recovery_seconds: int | None = None
    """How long a restore takes."""
    recovery: Word = ""
    """The same for people."""
    data_loss_seconds: int | None = None
    """How much would have been lost; of drills to the latest moment."""


class DrillStatus(Model):
    """What came of the drills."""

    next_run_time: datetime | None = None
    """When the next one is due; absent while they are held back."""
    running: Annotated[str, Field(max_length=253)] = ""
    """The RestoreRequest of the one that is under way."""
    waiting: Annotated[str, Field(max_length=1024)] = ""
    """Why one that is due does not begin."""
    last: DrillResult | None = None
    """The last one that ended."""
    last_success: DrillResult | None = None
    """The last one that succeeded."""
    history: Annotated[list[DrillResult], Field(max_length=MOST_KEPT)] = Field(default_factory=list)
    """The last keepLast that ended, the oldest first."""
    trend_percent: int | None = None
    """By how much the last success took longer than the median of those before it in history; negative: less long."""
    trend: Annotated[str, Field(max_length=256)] = ""
    """The same for people."""
