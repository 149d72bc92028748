"""The Job that waits until nobody is connected to a server any more. Pure."""

from __future__ import annotations

from pgwarden.clusters.access import address, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.launch import task_of
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.restores.in_place_contract import ConnectionsTask
from pgwarden.restores.in_place_render import Agents
from pgwarden.restores.resource import InPlace, RestoreRequest


def connections_job(
    request: RestoreRequest, agents: Agents, cluster: DatabaseCluster, *, name: str, attempt: int, nonce: str
) -> Manifest:
    """The Job asks the server as the monitor does; without that Secret it says that it cannot. Raises TaskTooLarge."""
    target = request.spec.target.in_place or InPlace(replaces=cluster.status.restore_token)
    task = ConnectionsTask(server=address(cluster), timeout_seconds=target.connections_timeout_seconds)
    return render_job(
        "jobs/job.yaml.j2",
        JobRequest(
            name=name,
            owner=Owner.of(request),
            task=task_of(Owner.of(request), task, attempt, nonce),
            image=agents.image,
            template=request.spec.job_template,
            cluster=agents.cluster,
            system_identifier=target.replaces.partition("-")[0],
            image_pull_policy=agents.image_pull_policy,
            image_pull_secrets=agents.image_pull_secrets,
            volumes=(volume(cluster, cluster.spec.credentials.monitor, optional=True),),
            mounts=(mount(),),
        ),
    )
