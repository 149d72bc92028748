"""The Job that dumps databases. Pure."""

from __future__ import annotations

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Role, address, archive_identity, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import PRIVATE, SCRATCH
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.logical.contract import LogicalBackupTask, Selection
from pgwarden.logical.resource import Logical, LogicalFormat, Scratch
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

PRIVATE_BYTES = "1Mi"
"""Two small files."""


def logical_backup(
    backup: DatabaseBackup,
    cluster: DatabaseCluster,
    store: BackupStore,
    launch: Launch,
    *,
    backup_id: str,
    policy: str,
) -> Manifest:
    """The Job of one attempt."""
    spec, wanted = backup.spec, backup.spec.logical or Logical()
    payload = LogicalBackupTask(
        backup_id=backup_id,
        attempt=launch.attempt,
        policy=policy,
        archive=archive_identity(cluster, store.metadata.name),
        database=address(cluster),
        expected_system_identifier=cluster.status.system_identifier,
        store=location(store, catalogue_key=True),
        databases=Selection(include=wanted.databases.include, exclude=wanted.databases.exclude),
        schemas=Selection(include=wanted.schemas.include, exclude=wanted.schemas.exclude),
        tables=Selection(include=wanted.tables.include, exclude=wanted.tables.exclude),
        globals=wanted.globals,
        password_hashes=wanted.password_hashes,
        directory_format=wanted.format == LogicalFormat.DIRECTORY,
        parallel=wanted.parallel,
        lock_timeout_seconds=wanted.lock_timeout_seconds,
        compression_level=spec.compression.level,
        compression_threads=spec.compression.threads,
    )
    used = credential(cluster, Role.BACKUP)
    own_volumes: list[Manifest] = [
        {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": PRIVATE_BYTES}},
        *([scratch_volume(wanted.scratch)] if wanted.scratch is not None else []),
    ]
    own_mounts: list[Manifest] = [
        {"name": "private", "mountPath": PRIVATE},
        *([{"name": "scratch", "mountPath": SCRATCH}] if wanted.scratch is not None else []),
    ]
    return launch.job(
        Owner.of(backup),
        payload,
        spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        volumes=(
            *([volume(cluster, used)] if used is not None else []),
            *volumes(store, catalogue_key=True),
            *own_volumes,
        ),
        mounts=(mount(), *mounts(store, catalogue_key=True), *own_mounts),
    )


def scratch_volume(scratch: Scratch) -> Manifest:
    """A volume that is made with the pod and goes with it."""
    if scratch.storage_class_name is None:
        return {"name": "scratch", "emptyDir": {"sizeLimit": scratch.size}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": scratch.storage_class_name,
        "resources": {"requests": {"storage": scratch.size}},
    }
    return {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
