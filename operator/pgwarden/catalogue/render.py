"""The Job that looks after an archive. Pure."""

from __future__ import annotations

from datetime import datetime

from pgwarden.api.references import JobTemplate
from pgwarden.catalogue.contract import CatalogueTask, What
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import ArchiveIdentity
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.jobs.task import ObjectRef, Task
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore


def task_for(cluster: DatabaseCluster, store: BackupStore, what: What, now: datetime) -> CatalogueTask:
    """The task of looking after a cluster's archive in a store, as a pod sees it; the caller adds its settings."""
    metadata = cluster.metadata
    return CatalogueTask(
        what=what,
        archive=ArchiveIdentity(namespace=metadata.namespace, cluster=metadata.name, cluster_uid=metadata.uid),
        store=location(store, catalogue_key=True),
        now=now,
    )


def catalogue_job(
    payload: CatalogueTask,
    cluster: DatabaseCluster,
    store: BackupStore,
    owner: Owner,
    *,
    name: str,
    attempt: int,
    nonce: str,
    image: str,
    image_pull_policy: str,
    image_pull_secrets: tuple[str, ...],
    template: JobTemplate | None = None,
) -> Manifest:
    """The Job of one attempt; `payload` as `task_for` makes it.

    The image needs no PostgreSQL: the operator's own will do.
    """
    task = Task(
        operation=payload.OPERATION,
        nonce=nonce,
        object=ObjectRef(kind=owner.kind, namespace=owner.namespace, name=owner.name, uid=owner.uid),
        attempt=attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )
    request = JobRequest(
        name=name,
        owner=owner,
        task=task,
        image=image,
        template=template or store.spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        image_pull_policy=image_pull_policy,
        image_pull_secrets=image_pull_secrets,
        volumes=tuple(volumes(store, catalogue_key=True)),
        mounts=tuple(mounts(store, catalogue_key=True)),
    )
    return render_job("jobs/job.yaml.j2", request)
