"""What the operator tells a monitor to look at, and the document in which the monitor answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from pgwarden.jobs.files import DatabaseAddress
from pgwarden.jobs.task import ContractModel, ReportModel

SERVERS_FILE = "/pgwarden/servers/servers.json"
SECRETS = "/pgwarden/secrets"
PORT = 8080
OBSERVATIONS_PATH = "/observations"


class WatchedCluster(ContractModel):
    """One DatabaseCluster."""

    name: str
    uid: str
    digest: str
    """Of everything below: tells whether an observation was made with the present settings."""
    primary: DatabaseAddress
    replicas: list[DatabaseAddress] = Field(default_factory=list)
    databases: list[str] = Field(default_factory=list)
    """Databases that must exist."""


class Servers(ContractModel):
    """All a monitor looks at."""

    interval_seconds: Annotated[float, Field(gt=0)] = 10
    clusters: list[WatchedCluster] = Field(default_factory=list)


class SlotObservation(ReportModel):
    """A replication slot that an archiver of ours made."""

    name: str
    active: bool
    kept_bytes: int = 0
    """WAL that the server keeps for it, rounded down to a power of two: it is another one seldom."""


class EndpointObservation(ReportModel):
    """What one server answered."""

    host: str
    port: int
    reachable: bool
    reason: str = "Reachable"
    message: str = ""
    remedy: str = ""
    in_recovery: bool | None = None
    version: str = ""
    system_identifier: str = ""
    timeline: int = 0
    slots: list[SlotObservation] = Field(default_factory=list)


class DatabaseObservation(ReportModel):
    name: str
    size_bytes: int


class ClusterObservation(ReportModel):
    """What the servers of one DatabaseCluster answered."""

    name: str
    uid: str
    digest: str
    time: datetime
    primary: EndpointObservation
    replicas: list[EndpointObservation] = Field(default_factory=list)
    databases: list[DatabaseObservation] = Field(default_factory=list)
    missing_databases: list[str] = Field(default_factory=list)


class Observations(ReportModel):
    """The monitor's document."""

    time: datetime
    clusters: list[ClusterObservation] = Field(default_factory=list)
