"""Manifests from templates: every value is written as JSON, the whole is parsed again before anybody sees it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Self

import yaml
from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined, Undefined

from pgwarden.api.model import API_VERSION, Resource
from pgwarden.api.references import JobTemplate
from pgwarden.jobs.names import (
    ATTEMPT_ANNOTATION,
    CLUSTER_LABEL,
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OPERATION_LABEL,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    OWNER_UID_LABEL,
    STORE_CLAIM_LABEL,
    SYSTEM_IDENTIFIER_LABEL,
    label_value,
)
from pgwarden.jobs.task import TASK_ANNOTATION, Task

Manifest = dict[str, Any]

NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
DEFAULT_USER = 65532
ROOMS = ("jobs", "stores", "migrations", "backups", "restores", "monitoring", "policies", "archiving")
DEFAULT_RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
COMMON_MOUNTS: list[Manifest] = [
    {"name": "task", "mountPath": "/pgwarden/task", "readOnly": True},
    {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - inside the pod, a volume of its own
]
# Above this an annotation would crowd the 262,144 bytes that all annotations of an object share.
TASK_BYTES = 196_608


@dataclass(frozen=True)
class Owner:
    """The object a Job works for."""

    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """An object of one of our kinds as owner."""
        metadata = resource.metadata
        return cls(resource.INFO.kind, metadata.namespace, metadata.name, metadata.uid)

    def reference(self) -> Manifest:
        """An ownerReference: the Job goes when the object goes. It never blocks that deletion."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


@dataclass(frozen=True)
class JobRequest:
    """Everything about a Job that is the same for all capabilities."""

    name: str
    owner: Owner
    task: Task
    image: str
    template: JobTemplate
    cluster: str = ""
    system_identifier: str = ""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    run_as_user: int = DEFAULT_USER
    run_as_group: int = DEFAULT_USER
    fs_group: int | None = DEFAULT_USER
    """None leaves the volumes' owners alone."""
    node: str = ""
    """The only node that the pod may run on; empty for any."""
    volumes: tuple[Manifest, ...] = ()
    mounts: tuple[Manifest, ...] = ()
    other_tasks: dict[str, Task] = field(default_factory=dict)
    """Tasks of further agents in the same pod, by the name of their file without `.json`."""
    more: dict[str, Any] = field(default_factory=dict)
    """What the capability's own template needs beside."""


class TaskTooLarge(ValueError):
    """The task does not fit into an annotation."""


def render(template: str, **values: Any) -> Manifest:
    """The manifest a template makes of the values. Raises jinja2.UndefinedError when one is missing."""
    return load(environment().get_template(template).render(**values))


def render_job(template: str, request: JobRequest) -> Manifest:
    """The Job's manifest. Raises TaskTooLarge."""
    tasks = {"task": request.task, **request.other_tasks}
    texts = {name: task.model_dump_json(by_alias=True, exclude_none=True) for name, task in tasks.items()}
    size = sum(len(text.encode()) for text in texts.values())
    if size > TASK_BYTES:
        raise TaskTooLarge(f"the task of {request.owner.kind} {request.owner.name} has {size} bytes")
    labels = {**request.template.labels, **labels_of(request), **claim_labels(request.volumes)}
    annotations = {
        **request.template.annotations,
        # A drained or scaled-down node waits for a task, as far as these tools can be asked to.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    chosen = request.template
    job = {
        "name": request.name,
        "namespace": request.owner.namespace,
        "labels": labels,
        "annotations": {**annotations, ATTEMPT_ANNOTATION: str(request.task.attempt)},
        "pod_annotations": {
            **annotations,
            **{annotation_of(name): text for name, text in texts.items()},
            "kubectl.kubernetes.io/default-container": "agent",
        },
        "owner": request.owner.reference(),
        "suspend": chosen.suspend,
        "service_account": chosen.service_account_name or "default",
        "image_pull_secrets": [
            {"name": name} for name in (*request.image_pull_secrets, *(s.name for s in chosen.image_pull_secrets))
        ],
        "node_selector": chosen.node_selector,
        "tolerations": [toleration.to_json() for toleration in chosen.tolerations],
        "priority_class": chosen.priority_class_name,
        "affinity": affinity(request),
        "run_as_user": chosen.run_as_user or request.run_as_user,
        "run_as_group": chosen.run_as_group or request.run_as_group,
        "fs_group": chosen.fs_group or request.fs_group,
        "resources": chosen.resources.to_json() if chosen.resources else DEFAULT_RESOURCES,
        "image": request.image,
        "image_pull_policy": request.image_pull_policy,
    }
    return render(
        template,
        job=job,
        task_items=[
            {"path": f"{name}.json", "fieldRef": {"fieldPath": f"metadata.annotations['{annotation_of(name)}']"}}
            for name in texts
        ],
        container_security=CONTAINER_SECURITY,
        mounts=[*COMMON_MOUNTS, *request.mounts],
        volumes=list(request.volumes),
        **request.more,
    )


def annotation_of(task_name: str) -> str:
    """The annotation that carries a task: the downward API makes a file of it."""
    return TASK_ANNOTATION if task_name == "task" else f"{TASK_ANNOTATION}-{task_name}"


def labels_of(request: JobRequest) -> dict[str, str]:
    """Labels by which people and the operator find a Job and its pods."""
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        COMPONENT_LABEL: "agent",
        OPERATION_LABEL: str(request.task.operation),
        OWNER_UID_LABEL: request.owner.uid,
        OWNER_KIND_LABEL: request.owner.kind,
        OWNER_NAME_LABEL: label_value(request.owner.name),
    }
    if request.cluster:
        labels[CLUSTER_LABEL] = label_value(request.cluster)
    if request.system_identifier:
        labels[SYSTEM_IDENTIFIER_LABEL] = request.system_identifier
    return labels


def claim_labels(volumes: Sequence[Manifest]) -> dict[str, str]:
    """The label of a pod that mounts a BackupStore's claim; empty for one that mounts none."""
    for volume in volumes:
        if volume["name"] == "store":
            return {STORE_CLAIM_LABEL: label_value(volume["persistentVolumeClaim"]["claimName"])}
    return {}


def affinity(request: JobRequest) -> Manifest | None:
    """Where the pod has to run, and where it had better run."""
    beside = beside_the_claim(request.volumes, request.owner.namespace)
    if not request.node:
        return beside
    field_ = {"key": "metadata.name", "operator": "In", "values": [request.node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field_]}]}
    return {**(beside or {}), "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def beside_the_claim(volumes: Sequence[Manifest], namespace: str) -> Manifest | None:
    """Affinity to the node where other pods mount the same store's claim: a ReadWriteOnce one is had on one node only.

    Preferred, not required: a claim that many nodes can mount must not keep a pod from running.
    """
    labels = claim_labels(volumes)
    if not labels:
        return None
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "namespaces": [namespace],
        "labelSelector": {"matchLabels": labels},
    }
    return {
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    }


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of all rooms: `<room>/<file>`; an undefined name is an error, every value becomes JSON."""
    loader = PrefixLoader({room: PackageLoader(f"pgwarden.{room}", "templates") for room in existing_rooms()})
    made = Environment(
        loader=loader,
        undefined=StrictUndefined,
        finalize=to_json,
        autoescape=False,  # noqa: S701 - the output is YAML, not HTML, and every value in it is written as JSON
    )
    # Jinja has a function of its own called `namespace`, which would stand in for one that was forgotten.
    made.globals.clear()
    return made


def existing_rooms() -> list[str]:
    """Rooms that have templates."""
    return [room for room in ROOMS if files(f"pgwarden.{room}").joinpath("templates").is_dir()]


def to_json(value: Any) -> str:
    """JSON, which is YAML too, on one line."""
    if isinstance(value, Undefined):
        # Any use of a StrictUndefined raises; json.dumps would only call it unserialisable.
        str(value)
    # YAML refuses these characters, or takes them for line breaks, unless they are escaped; and it refuses JSON's way
    # of escaping characters beyond U+FFFF in two halves, so those stand as they are.
    return NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def load(text: str) -> Manifest:
    """Parses a rendered manifest. Raises yaml.YAMLError, or ValueError when it is not one object."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    manifest = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    if not isinstance(manifest, dict):
        raise ValueError("a template must make exactly one object")
    return manifest
