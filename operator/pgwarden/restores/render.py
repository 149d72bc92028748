"""The Job of a restore, and the new instance it ends in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pgwarden.api.references import SecretKey
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import SECRETS
from pgwarden.jobs.launch import Launch, task_of
from pgwarden.jobs.names import (
    COMPONENT_LABEL,
    OPERATION_LABEL,
    OWNER_UID_LABEL,
    job_name,
)
from pgwarden.jobs.render import COMMON_MOUNTS, CONTAINER_SECURITY, JobRequest, Manifest, Owner, render, render_job
from pgwarden.jobs.task import Operation
from pgwarden.restores.contract import (
    DATA_VOLUME,
    PGDATA,
    SHARED,
    DrillTask,
    RecoverTask,
    RestoreTask,
    SQLCheck,
    TargetPoint,
)
from pgwarden.restores.drills import is_drill, owner_labels, volume
from pgwarden.restores.inspecting import inspect_seconds, word_mounts, word_volumes
from pgwarden.restores.parts import wants_parts
from pgwarden.restores.parts_contract import PartsTask, RecoverPartsTask
from pgwarden.restores.parts_render import DumpSource, live_mounts, live_target, live_volumes, load_dump
from pgwarden.restores.plan import PORT, claim_name, new_instance, secret_name
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.scratch import on_scratch
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_NAME = "pgwarden-restored-instance"
INSTANCE_LABEL = "app.kubernetes.io/instance"
PASSWORD_FOLDER = f"{SECRETS}/superuser"
SUPERUSER = "postgres"
"""The usual name, where the backup does not tell."""
# Debian's and Red Hat's packages keep a major's programs off the PATH.
FIND_PROGRAMS = (
    'for folder in "/usr/lib/postgresql/{major}/bin" "/usr/pgsql-{major}/bin"; do'
    ' if [ -x "$folder/postgres" ]; then PATH="$folder:$PATH"; fi; done\n'
)
SERVER_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}}
DATA_MOUNT: Manifest = {"name": "data", "mountPath": DATA_VOLUME}
SCRATCH_MOUNT: Manifest = {"name": "scratch", "mountPath": SHARED}
TEMPORARY_MOUNT: Manifest = {"name": "temporary", "mountPath": "/tmp"}  # noqa: S108 - a volume inside the pod
SHARED_MEMORY_MOUNT: Manifest = {"name": "shared-memory", "mountPath": "/dev/shm"}  # noqa: S108 - likewise


@dataclass(frozen=True)
class Identity:
    """User and groups that own the data: those the cluster's own server runs as."""

    user: int
    group: int
    fs_group: int


@dataclass(frozen=True)
class Surroundings:
    """What a restore needs to know beside its request."""

    cluster: str
    """Name of the DatabaseCluster that the data are of."""
    location: str
    """Folder of the backup that is named; empty to have one chosen in `archive`."""
    archive: str
    """Folder of the cluster's first archive; empty where `location` names a backup."""
    target: TargetPoint | None
    major: int
    superuser: str
    """Name of the bootstrap superuser, empty where no backup tells it."""
    store: BackupStore
    server_image: str
    agent_image: str
    identity: Identity
    decryption: SecretKey | None
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    volume_bytes: int = 0
    """What a drill's volume must hold, where the drill does not say."""
    system_identifier: str = ""
    """Of the cluster that the data are of; empty where no object tells it."""
    live: DatabaseCluster | None = None
    """The server that runs, where databases are restored into one."""
    dump: DatabaseBackup | None = None
    """The logical backup, where they come out of one."""


def restore(request: RestoreRequest, around: Surroundings, *, name: str, attempt: int, nonce: str) -> Manifest:
    """The Job of one attempt."""
    if around.dump is not None and around.live is not None:
        launch = Launch(
            name, attempt, nonce, around.agent_image, around.image_pull_policy, tuple(around.image_pull_secrets)
        )
        source = DumpSource(around.dump, around.store, around.decryption, around.volume_bytes)
        return load_dump(request, source, around.live, launch)
    store_mounts = mounts(around.store, identity=around.decryption, read_only=True)
    fetch_mounts = mounts(around.store, identity=around.decryption, read_only=True, catalogue_key=True)
    live = live_mounts(around.live)
    first, second = tasks(request, around)
    owner = Owner.of(request)
    scratch = on_scratch(request)
    data, password, password_mount = scratch_volumes(request, around) if scratch else instance_volumes(request)
    job = JobRequest(
        name=name,
        owner=owner,
        task=task_of(owner, first, attempt, nonce),
        other_tasks={"recover": task_of(owner, second, attempt, nonce)},
        image=around.agent_image,
        template=request.spec.job_template,
        cluster=around.live.metadata.name if around.live is not None else around.cluster,
        system_identifier=around.system_identifier if scratch else "",
        image_pull_policy=around.image_pull_policy,
        image_pull_secrets=around.image_pull_secrets,
        run_as_user=around.identity.user,
        run_as_group=around.identity.group,
        fs_group=around.identity.fs_group,
        volumes=(
            data,
            {"name": "scratch", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            *password,
            *word_volumes(request),
            *live_volumes(around.live),
            *volumes(around.store, identity=around.decryption, read_only=True, catalogue_key=True),
        ),
        more={
            "server_image": around.server_image,
            "server_script": f"{SHARED}/run-server.sh",
            "shared": SHARED,
            "server_resources": server_resources(request),
            "server_mounts": [DATA_MOUNT, SCRATCH_MOUNT, TEMPORARY_MOUNT, SHARED_MEMORY_MOUNT],
            "restore_mounts": [*COMMON_MOUNTS, DATA_MOUNT, SCRATCH_MOUNT, *live, *fetch_mounts],
            "recover_mounts": [
                *COMMON_MOUNTS,
                DATA_MOUNT,
                SCRATCH_MOUNT,
                *password_mount,
                *word_mounts(request),
                *live,
                *store_mounts,
            ],
            "recover_task_file": "/pgwarden/task/recover.json",
        },
    )
    return render_job("restores/job.yaml.j2", job)


def tasks(request: RestoreRequest, around: Surroundings) -> tuple[RestoreTask, RecoverTask]:
    """What the two agents of the pod are asked for."""
    drill, uid = is_drill(request), request.metadata.uid
    first = (DrillTask if drill else RestoreTask)(
        request_uid=uid,
        store=location(around.store, identity=around.decryption is not None, catalogue_key=True),
        location=around.location,
        archive=around.archive,
        target=around.target,
    )
    second = RecoverTask(
        request_uid=uid,
        store=location(around.store, identity=around.decryption is not None),
        checks=[SQLCheck.model_validate(check.model_dump()) for check in request.spec.checks],
        superuser_password_file=None if on_scratch(request) else f"{PASSWORD_FOLDER}/password",
        drill=drill,
        inspect_seconds=inspect_seconds(request),
    )
    if around.live is None:
        return first, second
    into = live_target(request, around.live)
    return PartsTask(**dict(first), into=into), RecoverPartsTask(**dict(second), into=into)


def instance_volumes(request: RestoreRequest) -> tuple[Manifest, list[Manifest], list[Manifest]]:
    """The volume with the data, that with the superuser's password, and its mount."""
    data = {"name": "data", "persistentVolumeClaim": {"claimName": claim_name(request)}}
    password = {"name": "superuser", "secret": {"secretName": secret_name(request), "defaultMode": 0o440}}
    mount = {"name": "superuser", "mountPath": PASSWORD_FOLDER, "readOnly": True}
    return data, [password], [mount]


def scratch_volumes(request: RestoreRequest, around: Surroundings) -> tuple[Manifest, list[Manifest], list[Manifest]]:
    """Likewise; nobody enters the server of a copy that is thrown away with a password."""
    return volume(request, around.volume_bytes), [], []


def before_job(request: RestoreRequest, around: Surroundings, *, password: str) -> list[Manifest]:
    """What must be there before the Job: NetworkPolicy, and for a new instance Secret and claim."""
    if on_scratch(request):
        return [network_policy(request, around)]
    common = shared_values(request)
    return [
        network_policy(request, around),
        render(
            "restores/secret.yaml.j2",
            superuser=around.superuser or SUPERUSER,
            password=password,
            **common,
        ),
        render("restores/claim.yaml.j2", claim_spec=claim_spec(request), **common),
    ]


def network_policy(request: RestoreRequest, around: Surroundings) -> Manifest:
    """What the Job's pod may reach: name servers, the store, and the server that parts are loaded into."""
    metadata, scratch = request.metadata, on_scratch(request)
    return render(
        "restores/networkpolicy.yaml.j2",
        policy_name=job_name(metadata.name, metadata.uid) if scratch else f"{new_instance(request).name}-restore",
        namespace=metadata.namespace,
        labels=owner_labels(request) if scratch else shared_values(request)["labels"],
        owner=Owner.of(request).reference(),
        job_selector={
            OPERATION_LABEL: operation_of(request, dump=around.dump is not None).value,
            OWNER_UID_LABEL: metadata.uid,
        },
        store_port=store_port(around.store),
        live_port=around.live.spec.primary.port if around.live is not None else None,
    )


def operation_of(request: RestoreRequest, *, dump: bool) -> Operation:
    """What the Job does."""
    if wants_parts(request):
        return Operation.LOAD_DUMP if dump else Operation.RESTORE_PARTS
    return Operation.DRILL if is_drill(request) else Operation.RESTORE


def store_port(store: BackupStore) -> int | None:
    """The port of a bucket's server, that of Google and Azure where none is named; None for other stores."""
    bucket = store.spec.s3 or store.spec.gcs or store.spec.azure
    if bucket is None:
        return None
    address = urlsplit(bucket.endpoint or "https://")
    return address.port or (443 if address.scheme == "https" else 80)


def instance(request: RestoreRequest, around: Surroundings) -> list[Manifest]:
    """What the restore ends in: Service and StatefulSet on the restored claim."""
    common = shared_values(request)
    programs = FIND_PROGRAMS.format(major=around.major)
    template = request.spec.job_template
    return [
        render("restores/service.yaml.j2", port=PORT, **common),
        render(
            "restores/statefulset.yaml.j2",
            port=PORT,
            image=around.server_image,
            image_pull_policy=around.image_pull_policy,
            image_pull_secrets=[{"name": name} for name in around.image_pull_secrets],
            user=template.run_as_user or around.identity.user,
            group=template.run_as_group or around.identity.group,
            fs_group=template.fs_group or around.identity.fs_group,
            container_security=CONTAINER_SECURITY,
            close_script=f"chmod 0700 {PGDATA}",
            start_script=f"{programs}exec postgres -D {PGDATA} -c unix_socket_directories=/var/run/postgresql",
            ready_script=f"{programs}exec pg_isready --quiet --host=127.0.0.1 --port={PORT}",
            resources=server_resources(request),
            mounts=[
                DATA_MOUNT,
                TEMPORARY_MOUNT,
                SHARED_MEMORY_MOUNT,
                {"name": "sockets", "mountPath": "/var/run/postgresql"},
            ],
            claim_spec=claim_spec(request),
            **common,
        ),
    ]


def shared_values(request: RestoreRequest) -> dict[str, Any]:
    """Names and labels of everything that is made for the new instance."""
    name = new_instance(request).name
    # Not `postgresql`: a Service of somebody else's that selects all pods of that name would send its clients here.
    selector = {NAME_LABEL: INSTANCE_NAME, INSTANCE_LABEL: name}
    return {
        "name": name,
        "namespace": request.metadata.namespace,
        "claim_name": claim_name(request),
        "secret_name": secret_name(request),
        "selector": selector,
        "labels": {**selector, COMPONENT_LABEL: "restored-instance", **owner_labels(request)},
    }


def claim_spec(request: RestoreRequest) -> Manifest:
    storage = new_instance(request).storage
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(storage.size)}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return spec


def server_resources(request: RestoreRequest) -> Manifest:
    target = request.spec.target
    asked = target.drill or target.into or new_instance(request)
    resources = asked.resources
    return resources.to_json() if resources is not None else SERVER_RESOURCES
