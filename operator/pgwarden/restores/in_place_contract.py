"""What the operator asks of an agent around a restore in place, beside operations `restore` and `recover`. Pure.

Short Jobs, each with one action, so that the operator looks at the cluster between any two of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import DatabaseAddress
from pgwarden.jobs.task import Operation, Payload, Report
from pgwarden.restores.contract import MemberVolume, Resolved, RestoreTask


class Action(StrEnum):
    """What is to be done."""

    PREFLIGHT = "Preflight"
    """Find out whether the restore can succeed; nothing is stopped or changed yet."""
    LOOK = "Look"
    """Find out which member is the primary, and whether all can be replaced. The servers are stopped, and nothing is
    changed."""
    HAND_OVER = "HandOver"
    """Put the recovered data directory, and those of the standbys, in the place of the old ones."""
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
    """False for a preflight that cannot mount the claims beside the servers that run on them."""
    members: list[MemberVolume] = Field(default_factory=list, max_length=16)
    """Of Preflight and Look: the claims of all members, when there are several; one of them is the primary's."""


class PreflightReport(Report):
    """What a preflight found."""

    resolved: Resolved
    needed_bytes: int
    """What the volume must have free."""
    needed_files: int
    free_bytes: int | None = None
    """None where the volume could not be looked at."""
    free_files: int | None = None
    primary: str = ""
    """Claim of the primary; empty where there is but one member, or the claims could not be looked at."""
    in_store: bool = False
    """Whether the store has taken note of the request; one that cannot be written has not."""
    notes: list[str] = Field(default_factory=list)
    """What a person should know before the services stop, one sentence each."""


class LookReport(Report):
    """What lies on the claims of several members."""

    primary: str
    """Claim of the primary."""


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
