"""The Job that puts the data back where a RestoreRequest was deleted on the way. Pure."""

from __future__ import annotations

from pgwarden.api.references import JobTemplate
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.launch import Launch, task_of
from pgwarden.jobs.names import job_name
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.restores.contract import RestoreTask
from pgwarden.restores.in_place_contract import Action, InPlaceTask
from pgwarden.restores.in_place_render import DEFAULT_USER, Server, all_mounts, all_volumes, with_tolerations
from pgwarden.restores.render import SCRATCH_MOUNT


def put_back_name(cluster: DatabaseCluster, request_uid: str) -> str:
    """Name of that Job: one at a time, deleted before it is tried again."""
    return job_name(cluster.metadata.name, "DatabaseCluster", cluster.metadata.uid, "put-back", request_uid)


def put_back_job(cluster: DatabaseCluster, server: Server, request_uid: str, launch: Launch) -> Manifest:
    """It belongs to the DatabaseCluster, as the request is gone. Raises TaskTooLarge."""
    owner = Owner.of(cluster)
    restore = RestoreTask(
        request_uid=request_uid, store=StoreLocation(), pgdata=server.home.data_directory, standbys=server.standbys
    )
    task = InPlaceTask(action=Action.PUT_BACK, restore=restore)
    user = server.identity("runAsUser") or DEFAULT_USER
    return render_job(
        "jobs/job.yaml.j2",
        JobRequest(
            name=launch.name,
            owner=owner,
            task=task_of(owner, task, launch.attempt, launch.nonce),
            image=launch.image,
            template=with_tolerations(JobTemplate(), server.pod),
            cluster=cluster.metadata.name,
            system_identifier=cluster.status.system_identifier,
            image_pull_policy=launch.image_pull_policy,
            image_pull_secrets=launch.image_pull_secrets,
            run_as_user=user,
            run_as_group=server.identity("runAsGroup") or user,
            fs_group=(server.pod.get("securityContext") or {}).get("fsGroup"),
            volumes=(*all_volumes(server), {"name": "scratch", "emptyDir": {}}),
            mounts=(*all_mounts(server), SCRATCH_MOUNT),
        ),
    )
