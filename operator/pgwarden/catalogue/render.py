"""The Job that looks after an archive. Pure."""

from __future__ import annotations

from datetime import datetime

from pgwarden.api.references import JobTemplate
from pgwarden.catalogue.contract import CatalogueTask, What
from pgwarden.clusters.access import archive_identity
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore


def task_for(cluster: DatabaseCluster, store: BackupStore, what: What, now: datetime) -> CatalogueTask:
    """The task of looking after a cluster's archive in a store, as a pod sees it; the caller adds its settings."""
    return CatalogueTask(
        what=what,
        archive=archive_identity(cluster, store.metadata.name),
        store=location(store, catalogue_key=True),
        now=now,
    )


def catalogue_job(
    payload: CatalogueTask,
    cluster: DatabaseCluster,
    store: BackupStore,
    owner: Owner,
    launch: Launch,
    *,
    template: JobTemplate | None = None,
) -> Manifest:
    """The Job of one attempt; `payload` as `task_for` makes it.

    The image needs no PostgreSQL: the operator's own will do.
    """
    return launch.job(
        owner,
        payload,
        template or store.spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        volumes=volumes(store, catalogue_key=True),
        mounts=mounts(store, catalogue_key=True),
    )
