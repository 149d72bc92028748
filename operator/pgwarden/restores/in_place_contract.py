"""What the operator asks of an agent around a restore in place, beside operations `restore` and `recover`. Pure.

Four short Jobs, each with one action, so that the operator looks at the cluster between any two of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import DatabaseAddress
from pgwarden.jobs.task import Operation, Payload, Report
from pgwarden.restores.contract import Resolved, RestoreTask


class Action(StrEnum):
    """What is to be done."""

    PREFLIGHT = "Preflight"
    """Find out whether the restore can succeed; nothing is stopped or changed yet."""
    HAND_OVER = "HandOver"
    """Put the recovered data directory in the place of the old one."""
    PUT_BACK = "PutBack"
    """Give up: let PostgreSQL start on the old data directory again, and delete what was restored."""
    DISCARD_OLD = "DiscardOld"
    """Delete the old data directory."""


class InPlaceTask(Payload):
    """One action of a restore in place."""

    OPERATION: ClassVar[Operation] = Operation.IN_PLACE

    action: Action
    restore: RestoreTask
    """What is restored, and over what."""
    volume_mounted: bool = True
    """False for a preflight that cannot mount the claim beside the server that runs on it."""


class PreflightReport(Report):
    """What a preflight found."""

    resolved: Resolved
    needed_bytes: int
    """What the volume must have free."""
    needed_files: int
    free_bytes: int | None = None
    """None where the volume could not be looked at."""
    free_files: int | None = None
    in_store: bool = False
    """Whether the store has taken note of the request; one that cannot be written has not."""
    notes: list[str] = Field(default_factory=list)
    """What a person should know before the services stop, one sentence each."""


class PlaceReport(Report):
    """What became of the old data directory."""

    pgdata: str
    old_data: str = ""
    """Where the old directory is now, when it is beside."""
    left: list[str] = Field(default_factory=list)
    """Tablespaces of the old directory that lie on other volumes and were left."""
    repeated: bool = False


class ConnectionsTask(Payload):
    """Wait until nobody uses the server any more, or name who does."""

    OPERATION: ClassVar[Operation] = Operation.SEE_CONNECTIONS

    server: DatabaseAddress
    timeout_seconds: Annotated[int, Field(ge=0)]


class ConnectionsReport(Report):
    """Of operation `see-connections`."""

    asked: bool = True
    """False where the server could not be asked."""
