"""The Jobs of a restore in place. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pgwarden.api.references import JobTemplate, Toleration
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.launch import task_of
from pgwarden.jobs.names import COMPONENT_LABEL, OPERATION_LABEL, OWNER_UID_LABEL, job_name
from pgwarden.jobs.render import COMMON_MOUNTS, JobRequest, Manifest, Owner, render, render_job
from pgwarden.restores.contract import MEMBERS, SHARED, MemberVolume, RecoverTask, RestoreTask, SQLCheck
from pgwarden.restores.drills import owner_labels
from pgwarden.restores.fence import Home
from pgwarden.restores.in_place_contract import Action, InPlaceTask
from pgwarden.restores.in_place_look import Stage, claim_to_clear, place_of
from pgwarden.restores.inspecting import inspect_seconds, word_mounts, word_volumes
from pgwarden.restores.render import (
    SCRATCH_MOUNT,
    SERVER_RESOURCES,
    SHARED_MEMORY_MOUNT,
    TEMPORARY_MOUNT,
    Surroundings,
    store_port,
)
from pgwarden.restores.resource import InPlaceStatus, RestoreRequest
from pgwarden.stores.access import location, mounts, volumes

ACTIONS = {
    Stage.LOOK: Action.LOOK,
    Stage.HAND_OVER: Action.HAND_OVER,
    Stage.PUT_BACK: Action.PUT_BACK,
    Stage.DISCARD: Action.DISCARD_OLD,
}
DEFAULT_USER = 999
"""As in the official image and in Debian's packages in containers."""


@dataclass(frozen=True)
class Agents:
    """What every Job needs, also one that has nothing to do with the store."""

    cluster: str
    """Name of the DatabaseCluster."""
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """The server whose data are replaced: its own pods say how the restore's pods run."""

    home: Home
    workload: Manifest
    """The StatefulSet."""
    container: str
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Where a pod mounts a claim now, by the claim."""
    modes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Access modes of the claims."""

    @property
    def pod(self) -> Manifest:
        spec: Manifest = self.workload["spec"]["template"]["spec"]
        return spec

    @property
    def own(self) -> Manifest:
        """The container with PostgreSQL."""
        return next((each for each in self.pod["containers"] if each["name"] == self.container), {})

    @property
    def volumes(self) -> list[MemberVolume]:
        """Where the pods of a restore mount the claims of several members."""
        return [
            MemberVolume(claim=claim, path=f"{MEMBERS}/{number}", server_path=self.home.mount_path)
            for number, claim in enumerate(self.home.members)
        ]

    @property
    def standbys(self) -> list[MemberVolume]:
        """Those of them that are not the primary's, as far as that is known."""
        return [each for each in self.volumes if each.claim in self.home.standbys]

    def at(self, place: InPlaceStatus) -> Server:
        """The same with the claims that the status of a restore names."""
        home = (
            replace(self.home, claim=place.claim, members=tuple(place.members)) if place.data_directory else self.home
        )
        return replace(self, home=home)

    @property
    def mountable(self) -> bool:
        """Whether one pod can mount all claims beside the servers that run on them."""
        modes = [self.modes.get(claim, ()) for claim in self.nodes]
        if any(list(each) == ["ReadWriteOncePod"] for each in modes):
            return False
        return len(set(self.nodes.values())) <= 1 or all("ReadWriteMany" in each for each in modes)

    @property
    def only_node(self) -> str:
        """Where a pod has to run that mounts all claims beside the servers; empty where any node will do."""
        nodes = set(self.nodes.values())
        return nodes.pop() if len(nodes) == 1 else ""

    def identity(self, name: str) -> int | None:
        """runAsUser or runAsGroup of the container, or of its pod."""
        for context in (self.own.get("securityContext") or {}, self.pod.get("securityContext") or {}):
            if context.get(name) is not None:
                return int(context[name])
        return None


def short_job(
    request: RestoreRequest, agents: Agents, server: Server, stage: Stage, *, name: str, attempt: int, nonce: str
) -> Manifest:
    """The Job that looks at stopped members, hands over, puts back or discards: it knows nothing of the store. Raises
    TaskTooLarge."""
    target = request.spec.target.in_place
    discarding, looking = stage is Stage.DISCARD, stage is Stage.LOOK
    restore = RestoreTask(
        request_uid=request.metadata.uid,
        store=StoreLocation(),
        pgdata=server.home.data_directory,
        replaces=target.replaces if target is not None else "",
        standbys=[] if discarding or looking else server.standbys,
    )
    task = InPlaceTask(action=ACTIONS[stage], restore=restore, members=server.volumes if looking else [])
    claim = claim_to_clear(place_of(request.status))
    data_volumes, data_mounts = (
        (one_volume(claim), [data_mount(server)]) if discarding else (all_volumes(server), all_mounts(server))
    )
    return render_job(
        "jobs/job.yaml.j2",
        JobRequest(
            task=task_of(Owner.of(request), task, attempt, nonce),
            # Beside the server that runs on the claim by then, which only one node may have.
            node=server.nodes.get(claim, "") if discarding else "",
            volumes=(*data_volumes, {"name": "scratch", "emptyDir": {}}),
            mounts=(*data_mounts, SCRATCH_MOUNT),
            **common(request, agents, server, name),
        ),
    )


def preflight_job(
    request: RestoreRequest,
    agents: Agents,
    around: Surroundings,
    server: Server,
    *,
    name: str,
    attempt: int,
    nonce: str,
) -> Manifest:
    """The Job that looks whether the restore can succeed, beside the server that works. Raises TaskTooLarge.

    It runs as the server does, so a store on a claim, which belongs to those who back up, is mounted read-only.
    """
    mounted = server.mountable
    restore = restore_task(request, around, server).model_copy(update={"standbys": []})
    task = InPlaceTask(action=Action.PREFLIGHT, restore=restore, volume_mounted=mounted, members=server.volumes)
    identity = around.decryption
    return render_job(
        "jobs/job.yaml.j2",
        JobRequest(
            task=task_of(Owner.of(request), task, attempt, nonce),
            node=server.only_node,
            volumes=(
                *(all_volumes(server) if mounted else []),
                {"name": "scratch", "emptyDir": {}},
                *volumes(around.store, identity=identity, read_only=True, catalogue_key=True),
            ),
            mounts=(
                *(all_mounts(server) if mounted else []),
                SCRATCH_MOUNT,
                *mounts(around.store, identity=identity, read_only=True, catalogue_key=True),
            ),
            **common(request, agents, server, name),
        ),
    )


def long_job(
    request: RestoreRequest,
    agents: Agents,
    around: Surroundings,
    server: Server,
    *,
    name: str,
    attempt: int,
    nonce: str,
) -> Manifest:
    """The Job that lays out, recovers and checks beside the old data. Raises TaskTooLarge."""
    owner, identity = Owner.of(request), around.decryption
    first = restore_task(request, around, server)
    second = RecoverTask(
        request_uid=request.metadata.uid,
        store=location(around.store, identity=identity is not None),
        pgdata=first.pgdata,
        checks=[SQLCheck.model_validate(check.model_dump()) for check in request.spec.checks],
        replaces=first.replaces,
        inspect_seconds=inspect_seconds(request),
        standbys=first.standbys,
    )
    data_mounts = all_mounts(server)
    fetch_mounts = mounts(around.store, identity=identity, read_only=True, catalogue_key=True)
    store_mounts = mounts(around.store, identity=identity, read_only=True)
    return render_job(
        "restores/job.yaml.j2",
        JobRequest(
            task=task_of(owner, first, attempt, nonce),
            other_tasks={"recover": task_of(owner, second, attempt, nonce)},
            volumes=(
                *all_volumes(server),
                {"name": "scratch", "emptyDir": {}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
                *word_volumes(request),
                *volumes(around.store, identity=identity, read_only=True, catalogue_key=True),
            ),
            more={
                "server_image": around.server_image,
                "server_script": f"{SHARED}/run-server.sh",
                "shared": SHARED,
                # The server is stopped meanwhile: its copy may have what it has.
                "server_resources": server.own.get("resources") or SERVER_RESOURCES,
                "server_mounts": [data_mount(server), SCRATCH_MOUNT, TEMPORARY_MOUNT, SHARED_MEMORY_MOUNT],
                "restore_mounts": [*COMMON_MOUNTS, *data_mounts, SCRATCH_MOUNT, *fetch_mounts],
                "recover_mounts": [*COMMON_MOUNTS, *data_mounts, SCRATCH_MOUNT, *word_mounts(request), *store_mounts],
                "recover_task_file": "/pgwarden/task/recover.json",
            },
            **common(request, agents, server, name),
        ),
    )


def before_long_job(request: RestoreRequest, around: Surroundings) -> Manifest:
    """The NetworkPolicy that must be there before that Job."""
    metadata = request.metadata
    return render(
        "restores/networkpolicy.yaml.j2",
        policy_name=job_name(metadata.name, "RestoreRequest", metadata.uid, "network"),
        namespace=metadata.namespace,
        labels={COMPONENT_LABEL: "restore", **owner_labels(request)},
        owner=Owner.of(request).reference(),
        job_selector={OPERATION_LABEL: "restore", OWNER_UID_LABEL: metadata.uid},
        store_port=store_port(around.store),
    )


def restore_task(request: RestoreRequest, around: Surroundings, server: Server) -> RestoreTask:
    target = request.spec.target.in_place
    return RestoreTask(
        request_uid=request.metadata.uid,
        store=location(around.store, identity=around.decryption is not None, catalogue_key=True),
        location=around.location,
        archive=around.archive,
        target=around.target,
        pgdata=server.home.data_directory,
        replaces=target.replaces if target is not None else "",
        standbys=server.standbys,
    )


def all_volumes(server: Server) -> list[Manifest]:
    """The claims with data of the server."""
    others = {volume_name(each): each.claim for each in server.standbys}
    return [
        *(one_volume(server.home.claim) if server.home.claim else []),
        *({"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in others.items()),
    ]


def all_mounts(server: Server) -> list[Manifest]:
    """Their mounts: the primary's is where the servers have theirs."""
    return [
        *([data_mount(server)] if server.home.claim else []),
        *({"name": volume_name(each), "mountPath": each.path} for each in server.standbys),
    ]


def volume_name(member: MemberVolume) -> str:
    return f"member-{member.path.rpartition('/')[2]}"


def one_volume(claim: str) -> list[Manifest]:
    return [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]


def data_mount(server: Server) -> Manifest:
    return {"name": "data", "mountPath": server.home.mount_path}


def common(request: RestoreRequest, agents: Agents, server: Server, name: str) -> dict[str, Any]:
    """What every Job of a restore in place has: it runs as the server does, and where the server may."""
    user = server.identity("runAsUser") or DEFAULT_USER
    target = request.spec.target.in_place
    return {
        "name": name,
        "owner": Owner.of(request),
        "image": agents.image,
        "template": with_tolerations(request.spec.job_template, server.pod),
        "cluster": agents.cluster,
        "system_identifier": target.replaces.partition("-")[0] if target is not None else "",
        "image_pull_policy": agents.image_pull_policy,
        "image_pull_secrets": agents.image_pull_secrets,
        "run_as_user": user,
        "run_as_group": server.identity("runAsGroup") or user,
        "fs_group": (server.pod.get("securityContext") or {}).get("fsGroup"),
    }


def with_tolerations(template: JobTemplate, pod: Manifest) -> JobTemplate:
    """The template with the taints that the server's pod tolerates: its volume may be had on such nodes only."""
    more = [Toleration.model_validate(each) for each in pod.get("tolerations") or []]
    return template.model_copy(update={"tolerations": [*template.tolerations, *more]})
