"""The Job that migrates a database. Pure."""

from __future__ import annotations

from pgwarden.clusters.access import Role, address, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import SOURCES
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.migrations.contract import MigrateTask
from pgwarden.migrations.resource import DatabaseMigration


def migrate(
    migration: DatabaseMigration,
    cluster: DatabaseCluster,
    launch: Launch,
    *,
    source_digest: str,
) -> Manifest:
    """The Job of one attempt. The ConfigMaps are mounted; the task names the digest their files must have."""
    spec, metadata = migration.spec, migration.metadata
    payload = MigrateTask(
        database=address(cluster, database=spec.database),
        source_digest=source_digest,
        target_version=spec.version,
        allow_down=spec.down.allow,
        role=spec.role,
        lock_timeout_ms=spec.lock_timeout_seconds * 1000,
        statement_timeout_ms=spec.statement_timeout_seconds * 1000,
        applied_by=f"DatabaseMigration {metadata.namespace}/{metadata.name}",
    )
    used = credential(cluster, Role.MIGRATION)
    volumes = [volume(cluster, used)] if used is not None else []
    return launch.job(
        Owner.of(migration),
        payload,
        spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        volumes=(*volumes, *source_volumes(migration)),
        mounts=(mount(), *source_mounts(migration)),
    )


def source_volumes(migration: DatabaseMigration) -> list[Manifest]:
    """A volume for each ConfigMap."""
    return [
        {"name": f"source-{index:02}", "configMap": {"name": name}} for index, name in enumerate(config_maps(migration))
    ]


def source_mounts(migration: DatabaseMigration) -> list[Manifest]:
    """The mounts of `source_volumes`, one subfolder each.

    A folder has its ConfigMap's name and nothing else, so that messages name a file as people know it:
    `<ConfigMap>/<key>`. Versions order the files, not the folders.
    """
    return [
        {"name": f"source-{index:02}", "mountPath": f"{SOURCES}/{name}", "readOnly": True}
        for index, name in enumerate(config_maps(migration))
    ]


def config_maps(migration: DatabaseMigration) -> list[str]:
    """The names of the sources, each once."""
    return list(dict.fromkeys(source.config_map.name for source in migration.spec.sources))
