"""The Job that probes a BackupStore. Pure."""

from __future__ import annotations

from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_KIND_LABEL, OWNER_NAME_LABEL, label_value
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.jobs.task import ObjectRef, Task
from pgwarden.stores.access import catalogue_key_name, location, mounts, volumes
from pgwarden.stores.contract import ProbeStoreTask
from pgwarden.stores.resource import BackupStore


def probe(
    store: BackupStore,
    *,
    name: str,
    attempt: int,
    nonce: str,
    image: str,
    image_pull_policy: str,
    image_pull_secrets: tuple[str, ...],
) -> Manifest:
    """The Job of one attempt."""
    metadata = store.metadata
    payload = ProbeStoreTask(store=location(store))
    task = Task(
        operation=payload.OPERATION,
        nonce=nonce,
        object=ObjectRef(kind="BackupStore", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid),
        attempt=attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )
    request = JobRequest(
        name=name,
        owner=Owner("BackupStore", metadata.namespace, metadata.name, metadata.uid),
        task=task,
        image=image,
        template=store.spec.job_template,
        image_pull_policy=image_pull_policy,
        image_pull_secrets=image_pull_secrets,
        volumes=tuple(volumes(store)),
        mounts=tuple(mounts(store)),
    )
    return render_job("jobs/job.yaml.j2", request)


def catalogue_key_secret(store: BackupStore, data: dict[str, str]) -> Manifest:
    """The Secret with the store's catalogue key.

    The store does not own it: a BackupStore that is deleted and made anew must find the key of its backups again.
    """
    metadata = store.metadata
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        OWNER_KIND_LABEL: "BackupStore",
        OWNER_NAME_LABEL: label_value(metadata.name),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": catalogue_key_name(metadata.name), "namespace": metadata.namespace, "labels": labels},
        "type": "Opaque",
        "stringData": data,
    }
