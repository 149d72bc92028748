"""The part of a status that every kind has, and the part that every kind with Jobs has."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from pgwarden.api.conditions import Condition
from pgwarden.api.model import LabelName, Model, Word

Conditions = Annotated[
    list[Condition],
    Field(
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class Status(Model):
    """Conditions and the generation they speak of."""

    observed_generation: int = 0
    """The metadata.generation that was last acted on."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, Reconciling, Stalled, and the conditions of this kind."""


class Attempt(Model):
    """One Job that worked, or works, on this object."""

    number: int
    """1 for the first."""
    job: LabelName
    """Name of the Job."""
    start_time: datetime
    """When the operator asked for the Job."""
    completion_time: datetime | None = None
    """When the attempt was known to have ended."""
    outcome: Word = ""
    """Succeeded; Failed, when another attempt may follow; Rejected, when none does; empty while it runs."""
    reason: Word = ""
    """How it ended, as one word; empty while it runs."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """How it ended, as a sentence."""


class WorkProgress(Model):
    """How far the running Job is."""

    step: Word = ""
    """What it is doing."""
    done: int = 0
    """How much of it is done."""
    total: int = 0
    """How much there is to do; 0 when that cannot be known."""
    unit: Word = "bytes"
    """What is counted."""
    percent: int = 0
    """done of total."""
    text: Word = ""
    """The same for people: 42%, or what is done where nobody knows of how much."""
    detail: Annotated[str, Field(max_length=256)] = ""
    """What else is worth knowing."""
    moved_time: datetime | None = None
    """When step or done last moved."""


class WorkStatus(Status):
    """Status of an object that Jobs work on."""

    attempts: Annotated[list[Attempt], Field(max_length=16)] = Field(default_factory=list)
    """The Jobs, oldest first; the last 16."""
    progress: WorkProgress | None = None
    """How far the running Job is; absent at rest."""
