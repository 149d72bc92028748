"""The operator's configuration: one YAML file, written by the chart from its values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ConfigModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Images(ConfigModel):
    """Images of the pods the operator starts."""

    agent: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], str]
    """Major version of PostgreSQL -> image that holds its tools."""
    monitor: str
    """Image of the monitor: the operator's own."""


class Limits(ConfigModel):
    """How many Jobs may run at once."""

    jobs_per_cluster: Annotated[int, Field(ge=1)] = 4
    jobs_total: Annotated[int, Field(ge=1)] = 50


class OperatorConfig(ConfigModel):
    """Everything that can be set."""

    namespaces: list[str] = Field(default_factory=list)
    """Namespaces that are watched; empty means all."""
    images: Images
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = Field(default_factory=list)
    limits: Limits = Field(default_factory=Limits)
    in_place_restores: bool = True
    """Whether the data of running servers may be replaced; without it their workloads cannot be stopped either."""
    service_accounts: list[str] = Field(default_factory=lambda: ["default"])
    """ServiceAccounts that a jobTemplate may name."""
    requester_policy: str = ""
    """ValidatingAdmissionPolicy, and its binding, that hold RestoreRequests' requestedBy true; empty: none does."""
    store_probe_interval: Annotated[int, Field(ge=60)] = 21600
    """Seconds between two probes of a BackupStore."""
    monitor_interval: Annotated[int, Field(ge=1)] = 10
    """Seconds between two looks of a monitor at a server, and of the operator at the monitor."""
    job_seconds_to_live: Annotated[int, Field(ge=0)] = 3600
    """How long a finished Job is kept once its result stands in the status."""
    backup_stuck_after: Annotated[int, Field(ge=10)] = 3600
    """Seconds after which a policy's backup is ended whose pod runs and does not get on."""
    resync_interval: Annotated[int, Field(ge=10)] = 600
    """Seconds after which every object is looked at again."""
    workers: Annotated[int, Field(ge=1)] = 16
    """Objects that are worked on at once."""
    requests_per_second: Annotated[float, Field(gt=0)] = 400
    """Most requests to the API server a second."""
    log_level: str = "INFO"
    listen_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    lease_name: str = "pgwarden-operator"
    lease_namespace: str = ""
    """Namespace of the Lease; empty means the pod's own."""


def read_config(path: Path) -> OperatorConfig:
    """Reads the file. Raises OSError, yaml.YAMLError or pydantic.ValidationError."""
    return OperatorConfig.model_validate(yaml.safe_load(path.read_text()))
