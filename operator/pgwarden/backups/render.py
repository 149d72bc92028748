"""The Job that backs a cluster up. Pure."""

from __future__ import annotations

from pgwarden.backups.contract import BackupTask
from pgwarden.backups.plan import backup_id
from pgwarden.backups.resource import BackupSource, BackupType, DatabaseBackup
from pgwarden.clusters.access import Role, address, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import ArchiveIdentity
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.jobs.task import ObjectRef, Task
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

POLICY_LABEL = "pgwarden.dev/policy"
"""Names the BackupPolicy that made a DatabaseBackup."""


def physical_backup(
    backup: DatabaseBackup,
    cluster: DatabaseCluster,
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
    spec, metadata = backup.spec, backup.metadata
    replicas = cluster.spec.replicas if spec.from_ == BackupSource.PREFER_REPLICA else []
    payload = BackupTask(
        backup_id=backup_id(backup),
        attempt=attempt,
        type="incremental" if spec.type == BackupType.INCREMENTAL else "full",
        parent_id=spec.parent or None,
        policy=metadata.labels.get(POLICY_LABEL, ""),
        archive=ArchiveIdentity(
            namespace=cluster.metadata.namespace,
            cluster=cluster.metadata.name,
            cluster_uid=cluster.metadata.uid,
        ),
        database=address(cluster),
        replicas=[address(cluster, endpoint=replica) for replica in replicas],
        expected_system_identifier=cluster.status.system_identifier,
        store=location(store, catalogue_key=True),
        compression_level=spec.compression.level,
        compression_threads=spec.compression.threads,
        max_rate_kib=spec.max_rate_kib,
    )
    task = Task(
        operation=payload.OPERATION,
        nonce=nonce,
        object=ObjectRef(kind="DatabaseBackup", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid),
        attempt=attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )
    used = credential(cluster, Role.BACKUP)
    request = JobRequest(
        name=name,
        owner=Owner("DatabaseBackup", metadata.namespace, metadata.name, metadata.uid),
        task=task,
        image=image,
        template=spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        image_pull_policy=image_pull_policy,
        image_pull_secrets=image_pull_secrets,
        volumes=(*([volume(cluster, used)] if used is not None else []), *volumes(store, catalogue_key=True)),
        mounts=(mount(), *mounts(store, catalogue_key=True)),
    )
    return render_job("jobs/job.yaml.j2", request)
