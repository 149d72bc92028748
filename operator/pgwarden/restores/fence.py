"""Whether the server's own workload may be stopped and its data replaced, and where these lie. Pure.

Whoever else owns `replicas` would start the server again in the middle of the work, so a restore in place is refused
then, with the change that makes it possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster

Body = dict[str, Any]

NEW_INSTANCE = "or restore into a new instance (target.newInstance)"
CONTINUOUS = ("controller", "operator", "controller-manager")
"""How field managers that keep writing are called; a person's tools (kubectl, helm, k9s) write once."""
SCALES_FOR_OTHERS = "kube-controller-manager"
"""Writes replicas for a HorizontalPodAutoscaler, which is looked for by itself."""
GITOPS = {
    "argocd": (
        "add `ignoreDifferences: [{group: apps, kind: StatefulSet, jsonPointers: [/spec/replicas]}]` and the sync"
        " option RespectIgnoreDifferences=true to its Application, and take replicas out of the manifest"
    ),
    "kustomize-controller": "take replicas out of the manifest, or meanwhile: flux suspend kustomization NAME",
    "helm-controller": "meanwhile: flux suspend helmrelease NAME",
    "keda": 'pause it meanwhile: annotate its ScaledObject with autoscaling.keda.sh/paused: "true"',
}
TAKEN_PATHS = ("/pgwarden/task", "/pgwarden/scratch", "/pgwarden/secrets", "/pgwarden/store", "/tmp", "/dev/shm")  # noqa: S108
"""Where the restore's own pods mount something else."""


@dataclass(frozen=True)
class Home:
    """Where the server's data lie."""

    claim: str
    mount_path: str
    """Where the server's container mounts the claim; the restore mounts it there too, so that links hold."""
    data_directory: str


def fence(cluster: DatabaseCluster, workload: Body | None, autoscalers: Sequence[Body]) -> Obstacle | None:
    """Why the server cannot be stopped for a restore in place; None when it can. `autoscalers` are the namespace's."""
    reference = cluster.spec.workload_ref
    name = cluster.metadata.name
    if reference is None:
        message = f"DatabaseCluster {name} names no workload: set workloadRef to the StatefulSet that holds its data"
        return Obstacle("WorkloadUnknown", f"{message}, {NEW_INSTANCE}")
    where = f"StatefulSet {reference.name}"
    if workload is None:
        return Obstacle("WorkloadNotFound", f"there is no {where}, workloadRef of DatabaseCluster {name}")
    for refusal in (owned(workload), scaled_by(workload, autoscalers), members(workload), retention(workload)):
        if refusal is not None:
            return Obstacle(refusal.reason, f"{where} {refusal.message}, {NEW_INSTANCE}")
    return None


def owned(workload: Body) -> Obstacle | None:
    """Another operator, or a tool that keeps the object as it is written elsewhere."""
    metadata = workload["metadata"]
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            message = (
                f"belongs to {owner['kind']} {owner['name']}, whose operator would start it again: restore with it"
            )
            return Obstacle("ForeignOperator", message)
    for entry in metadata.get("managedFields") or []:
        manager = str(entry.get("manager", ""))
        fields = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).keys()
        if "f:replicas" in fields and writes_again(manager):
            change = next((how for who, how in GITOPS.items() if who in manager), "have it leave replicas alone")
            message = (
                f"has its replicas from {manager}, which would start it again in the middle of the restore: {change}"
            )
            return Obstacle("ReplicasOwned", message)
    return None


def writes_again(manager: str) -> bool:
    """Whether a field manager is a program that keeps what it wrote as it was."""
    return manager != SCALES_FOR_OTHERS and (
        manager.endswith(CONTINUOUS) or any(manager.startswith(each) for each in ("argocd", "keda"))
    )


def scaled_by(workload: Body, autoscalers: Sequence[Body]) -> Obstacle | None:
    """A HorizontalPodAutoscaler, also one that KEDA has made."""
    for scaler in autoscalers:
        target = scaler["spec"].get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == (workload["kind"], workload["metadata"]["name"]):
            named = f"HorizontalPodAutoscaler {scaler['metadata']['name']}"
            return Obstacle("ReplicasOwned", f"is scaled by {named}: delete that meanwhile")
    return None


def members(workload: Body) -> Obstacle | None:
    """More than one member: each of the others would have to be made anew from the restored one."""
    found = workload["spec"].get("replicas")
    count = 1 if found is None else int(found)
    if count <= 1:
        return None
    message = (
        f"has {count} members, and only one can be restored in place so far: the others would go on with the old data."
        " Scale it to 1 and delete the claims of the others, which are copied anew afterwards"
    )
    return Obstacle("SeveralMembers", message)


def retention(workload: Body) -> Obstacle | None:
    """A StatefulSet that deletes its claims when it is scaled to 0."""
    policy = workload["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if policy.get("whenScaled") != "Delete":
        return None
    message = (
        "deletes its claims when it is scaled to 0 (persistentVolumeClaimRetentionPolicy.whenScaled: Delete), the data"
        " with them: set whenScaled to Retain"
    )
    return Obstacle("ClaimsDeletedWhenScaled", message)


def home(cluster: DatabaseCluster, workload: Body) -> Home | Obstacle:
    """Where the data of the only member lie, or why that cannot be told."""
    reference = cluster.spec.workload_ref
    spec = workload["spec"]["template"]["spec"]
    wanted = reference.container if reference is not None else ""
    container = next((each for each in spec["containers"] if each["name"] == wanted), None)
    if container is None:
        names = ", ".join(each["name"] for each in spec["containers"])
        message = f"workloadRef.container of DatabaseCluster {cluster.metadata.name} is {wanted}; there are: {names}"
        return Obstacle("ContainerNotFound", message)
    directory = (reference.data_directory if reference is not None else None) or variable(container, "PGDATA")
    if not directory:
        message = (
            "nothing tells where the data lie: set workloadRef.dataDirectory of DatabaseCluster"
            f" {cluster.metadata.name} to PGDATA as the container sees it (SHOW data_directory tells it)"
        )
        return Obstacle("DataDirectoryUnknown", message)
    mounts = [
        each for each in container.get("volumeMounts") or [] if f"{directory}/".startswith(f"{each['mountPath']}/")
    ]
    mount = max(mounts, key=lambda each: len(each["mountPath"]), default=None)
    claim = claim_of(workload, mount["name"]) if mount is not None else ""
    if mount is None or not claim:
        return Obstacle("ClaimUnknown", f"the data directory {directory} lies on no claim of the container {wanted}")
    why = misplaced(mount, directory)
    if why:
        return Obstacle("DataDirectoryUnfit", f"{why}; {NEW_INSTANCE.removeprefix('or ')}")
    return Home(claim=claim, mount_path=mount["mountPath"], data_directory=directory)


def misplaced(mount: Body, directory: str) -> str:
    """Why nothing can be put in the place of the data directory; empty when something can."""
    path = mount["mountPath"]
    if directory.rstrip("/") == path.rstrip("/"):
        return f"the data directory {directory} is the root of its volume, so nothing can lie beside it"
    if mount.get("subPath") or mount.get("subPathExpr"):
        return f"the volume at {path} is mounted by a subPath, so links to tablespaces would lead elsewhere"
    if any(f"{taken}/".startswith(f"{path}/") or f"{path}/".startswith(f"{taken}/") for taken in TAKEN_PATHS):
        return f"the volume is mounted at {path}, where the restore's pods have something else"
    return ""


def claim_of(workload: Body, volume: str) -> str:
    """Name of the claim of the first member's volume; empty when it is none."""
    for template in workload["spec"].get("volumeClaimTemplates") or []:
        if template["metadata"]["name"] == volume:
            first = (workload["spec"].get("ordinals") or {}).get("start", 0)
            return f"{volume}-{workload['metadata']['name']}-{first}"
    for each in workload["spec"]["template"]["spec"].get("volumes") or []:
        if each["name"] == volume and "persistentVolumeClaim" in each:
            return str(each["persistentVolumeClaim"]["claimName"])
    return ""


def variable(container: Body, name: str) -> str:
    """A variable of a container, where it is written out."""
    values = [each.get("value", "") for each in container.get("env") or [] if each["name"] == name]
    return str(values[0]) if values else ""


def pods_on_claim(pods: Sequence[Body], claim: str) -> list[Body]:
    """Pods that mount a claim and have not ended."""
    return [
        pod
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
            for volume in pod["spec"].get("volumes") or []
        )
    ]
