"""The Job that backs a cluster up. Pure."""

from __future__ import annotations

from pgwarden.backups.contract import BackupTask
from pgwarden.backups.plan import backup_id
from pgwarden.backups.resource import BackupSource, BackupType, DatabaseBackup
from pgwarden.clusters.access import Role, address, archive_identity, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

POLICY_LABEL = "pgwarden.dev/policy"
"""Names the BackupPolicy that made a DatabaseBackup."""


def physical_backup(
    backup: DatabaseBackup,
    cluster: DatabaseCluster,
    store: BackupStore,
    launch: Launch,
) -> Manifest:
    """The Job of one attempt."""
    spec, metadata = backup.spec, backup.metadata
    replicas = cluster.spec.replicas if spec.from_ == BackupSource.PREFER_REPLICA else []
    payload = BackupTask(
        backup_id=backup_id(backup),
        attempt=launch.attempt,
        type="incremental" if spec.type == BackupType.INCREMENTAL else "full",
        parent_id=spec.parent or None,
        policy=metadata.labels.get(POLICY_LABEL, ""),
        archive=archive_identity(cluster, store.metadata.name),
        database=address(cluster),
        replicas=[address(cluster, endpoint=replica) for replica in replicas],
        expected_system_identifier=cluster.status.system_identifier,
        store=location(store, catalogue_key=True),
        compression_level=spec.compression.level,
        compression_threads=spec.compression.threads,
        max_rate_kib=spec.max_rate_kib,
    )
    used = credential(cluster, Role.BACKUP)
    return launch.job(
        Owner.of(backup),
        payload,
        spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        volumes=(*([volume(cluster, used)] if used is not None else []), *volumes(store, catalogue_key=True)),
        mounts=(mount(), *mounts(store, catalogue_key=True)),
    )
