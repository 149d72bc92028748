"""References to other objects. All stay in the namespace of the object that makes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pgwarden.api.model import DataKey, Model, ObjectName, Quantity, Word


def immutable(what: str) -> dict[str, Any]:
    """Schema extra for a field that never changes after creation; `what` begins the sentence a person reads."""
    return rules(("self == oldSelf", f"{what} cannot be changed; make a new object instead"))


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Schema extra that carries CEL rules: pairs of (rule, sentence shown when it fails)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def not_ours(what: str) -> dict[str, Any]:
    """Schema extra for labels or annotations that a user adds to what pgwarden marks with its own."""
    return rules(
        (
            "self.all(key, !key.startsWith('pgwarden.dev/'))",
            f"{what} whose key begins with pgwarden.dev/ are pgwarden's",
        )
    )


class LocalReference(Model):
    """An object of a known kind in the same namespace."""

    name: ObjectName
    """Name of the object."""


class SecretKey(Model):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key inside the Secret."""


class CertificateSourceKind(StrEnum):
    SECRET = "Secret"  # noqa: S105 - a Kubernetes kind
    CONFIG_MAP = "ConfigMap"


class CertificateSource(Model):
    """Where a PEM bundle of certificate authorities stands."""

    kind: CertificateSourceKind = CertificateSourceKind.SECRET
    """Secret or ConfigMap."""
    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: DataKey = "ca.crt"
    """Key that holds the certificates in PEM form."""


class TolerationOperator(StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@dataclass(frozen=True)
class Wanted:
    """Keys of one Secret or ConfigMap that a pod is to mount, and what they are for."""

    kind: str
    name: str
    keys: tuple[str, ...]
    purpose: str


class Toleration(Model):
    """A toleration as in a pod's spec."""

    key: Annotated[str | None, Field(max_length=316)] = None
    """Taint key; empty with operator Exists matches every key."""
    operator: TolerationOperator | None = None
    """Equal or Exists; without it Equal."""
    value: Annotated[str | None, Field(max_length=63)] = None
    """Taint value."""
    effect: TaintEffect | None = None
    """NoSchedule, PreferNoSchedule or NoExecute; without it every effect."""
    toleration_seconds: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """How long NoExecute is tolerated, in seconds; without it for ever."""


class ResourceRequirements(Model):
    """CPU and memory, as in a container's spec."""

    requests: Annotated[dict[Word, Quantity], Field(max_length=8)] = Field(default_factory=dict)
    """What is set aside for the container."""
    limits: Annotated[dict[Word, Quantity], Field(max_length=8)] = Field(default_factory=dict)
    """What the container may use at most."""


class JobTemplate(Model):
    """What every pod of a task gets beside what the task itself needs."""

    labels: Annotated[
        dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=63)]],
        Field(max_length=32, json_schema_extra=not_ours("labels")),
    ] = Field(default_factory=dict)
    """Labels added to the Job and its pod, for example Kueue's queue name."""
    annotations: Annotated[
        dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=4096)]],
        Field(max_length=32, json_schema_extra=not_ours("annotations")),
    ] = Field(default_factory=dict)
    """Annotations added to the Job and its pod."""
    suspend: bool = False
    """Creates Jobs suspended, so that a queueing system such as Kueue admits them."""
    priority_class_name: Annotated[str | None, Field(max_length=253)] = None
    """PriorityClass of the pod."""
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=63)]],
        Field(max_length=32),
    ] = Field(default_factory=dict)
    """Labels a node must carry."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(default_factory=list)
    """Taints the pod tolerates."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the agent container."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pod; no token of it is mounted."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=16)] = Field(default_factory=list)
    """Secrets to pull images with."""
    run_as_user: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """User the pod runs as; 0 is refused, as Pod Security "restricted" refuses it."""
    run_as_group: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """Group the pod runs as."""
    fs_group: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """Group that owns the pod's volumes."""
