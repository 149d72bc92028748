"""Whether the server's own workload may be stopped and its data replaced, and where these lie. Pure.

Whoever else owns `replicas` would start the server again in the middle of the work, so a restore in place is refused
then, with the change that makes it possible.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.restores.stopping import Workload

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
MOST_MEMBERS = 16
"""More claims than these nobody asks one pod to mount."""
TAKEN_PATHS = (
    "/pgwarden/task",
    "/pgwarden/scratch",
    "/pgwarden/secrets",
    "/pgwarden/store",
    "/pgwarden/members",
    "/tmp",  # noqa: S108
    "/dev/shm",  # noqa: S108
)
"""Where the restore's own pods mount something else."""


@dataclass(frozen=True)
class Home:
    """Where the server's data lie."""

    claim: str
    """Of several members the primary's; empty while nobody knows which one that is."""
    mount_path: str
    """Where the server's container mounts the claim; the restore mounts it there too, so that links hold."""
    data_directory: str
    members: tuple[str, ...] = ()
    """The claims of all members, when there are several."""

    @property
    def claims(self) -> tuple[str, ...]:
        """Every claim with data of the server."""
        return self.members or (self.claim,)

    @property
    def standbys(self) -> tuple[str, ...]:
        """The claims of those that follow the primary; of all, while nobody knows which one that is."""
        return tuple(each for each in self.members if each != self.claim)


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
    for refusal in (owned(workload), scaled_by(workload, autoscalers), retention(workload)):
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


def member_count(workload: Workload, request_uid: str) -> int:
    """How many members the server has, or had before that RestoreRequest stopped it. One that was at rest before
    anybody came has one: nothing tells of more."""
    recorded = workload.record.get("replicas") if workload.stopped_by(request_uid) else None
    return max(1, int(recorded if recorded is not None else workload.replicas))


def most_members(workload: Workload) -> int:
    """How many members the server has, or had before any RestoreRequest stopped it."""
    return max(1, workload.replicas, int(workload.record.get("replicas") or 0))


def home(cluster: DatabaseCluster, workload: Body, count: int = 1) -> Home | Obstacle:
    """Where the data of its `count` members lie, or why that cannot be told."""
    if count > MOST_MEMBERS:
        message = f"the server has {count} members, and at most {MOST_MEMBERS} can be restored in place"
        return Obstacle("TooManyMembers", f"{message}; {NEW_INSTANCE.removeprefix('or ')}")
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
    place = Home(claim=claim, mount_path=mount["mountPath"], data_directory=directory)
    if count == 1:
        return place
    if not is_template(workload, mount["name"]):
        message = f"all {count} members have their data on one claim, {claim}; {NEW_INSTANCE.removeprefix('or ')}"
        return Obstacle("ClaimShared", message)
    return replace(place, claim="", members=tuple(member_claims(claim, count)))


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
    if is_template(workload, volume):
        first = (workload["spec"].get("ordinals") or {}).get("start", 0)
        return f"{volume}-{workload['metadata']['name']}-{first}"
    for each in workload["spec"]["template"]["spec"].get("volumes") or []:
        if each["name"] == volume and "persistentVolumeClaim" in each:
            return str(each["persistentVolumeClaim"]["claimName"])
    return ""


def is_template(workload: Body, volume: str) -> bool:
    """Whether each member has a claim of its own for that volume."""
    templates = workload["spec"].get("volumeClaimTemplates") or []
    return any(template["metadata"]["name"] == volume for template in templates)


def member_claims(first: str, count: int, skip: int = 0) -> list[str]:
    """Names of the claims of `count` members, after the first `skip` of them; `first` is that of the first member."""
    stem, _, number = first.rpartition("-")
    return [f"{stem}-{int(number) + each}" for each in range(skip, skip + count)]


def claims_beyond(workload: Body, place: Home) -> list[str]:
    """What the claims of further members would be called; none where the members have no claims of their own."""
    first = place.claims[0]
    templates = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates") or []]
    if first not in [claim_of(workload, each) for each in templates]:
        return []
    return member_claims(first, MOST_MEMBERS, skip=len(place.claims))


def named(claims: Sequence[str]) -> str:
    """Claims, for people."""
    return f"claim{'s' if len(claims) > 1 else ''} {', '.join(claims)}"


def variable(container: Body, name: str) -> str:
    """A variable of a container, where it is written out."""
    values = [each.get("value", "") for each in container.get("env") or [] if each["name"] == name]
    return str(values[0]) if values else ""


def pods_on_claims(pods: Sequence[Body], claims: Collection[str]) -> list[Body]:
    """Pods that mount any of the claims and have not ended."""
    return [
        pod
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and not claims_of_pod(pod).isdisjoint(claims)
    ]


def claims_of_pod(pod: Body) -> set[str]:
    """Names of the claims that a pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}
