"""The Job that probes a BackupStore. Pure."""

from __future__ import annotations

from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.jobs.task import ObjectRef, Task
from pgwarden.stores.access import location, mounts, volumes
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
