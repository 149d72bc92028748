"""Manifests of a policy's archiver. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgwarden.api.references import Wanted
from pgwarden.archiving.contract import PORT, SETTINGS_FILE, ArchiverSettings, slot_name
from pgwarden.clusters.access import Role, address, archive_identity, credential, mount, volume
from pgwarden.clusters.access import wanted as cluster_wanted
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.digests import annotated, digest
from pgwarden.jobs.names import (
    CLUSTER_LABEL,
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_UID_LABEL,
    job_name,
    label_value,
)
from pgwarden.jobs.render import (
    CONTAINER_SECURITY,
    DEFAULT_USER,
    Manifest,
    Owner,
    beside_the_claim,
    claim_labels,
    render,
)
from pgwarden.policies.resource import BackupPolicy
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.access import wanted as store_wanted
from pgwarden.stores.resource import BackupStore

COMPONENT = "archiver"
UNKNOWN_SYSTEMS = ("", "0")
DEFAULT_RESOURCES: Manifest = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def archiver_name(policy: BackupPolicy) -> str:
    """Name of Deployment, Service and ConfigMap."""
    return job_name(f"{policy.metadata.name[:35]}-wal", "BackupPolicy", policy.metadata.uid, "archiver")


def settings(policy: BackupPolicy, cluster: DatabaseCluster, store: BackupStore) -> ArchiverSettings:
    """What the archiver is told, with its digest."""
    system = cluster.status.system_identifier
    made = ArchiverSettings(
        policy=policy.metadata.name,
        archive=archive_identity(cluster, store.metadata.name),
        endpoints=[address(cluster), *(address(cluster, endpoint=replica) for replica in cluster.spec.replicas)],
        expected_system_identifier=None if system in UNKNOWN_SYSTEMS else system,
        store=location(store, catalogue_key=True),
        slot=slot_name(policy.metadata.uid),
        compression_level=policy.spec.wal.compression_level,
        tail_seconds=policy.spec.wal.tail_seconds,
        spool_bytes=policy.spec.wal.spool_mib << 20,
        uploads=policy.spec.wal.uploads,
        retired=not policy.spec.wal.enabled,
    )
    return made.model_copy(update={"digest": digest(made.model_dump_json())})


def wanted(cluster: DatabaseCluster, store: BackupStore) -> list[Wanted]:
    """The Secrets, ConfigMaps and keys that the pod mounts."""
    return [*cluster_wanted(cluster, Role.BACKUP), *store_wanted(store, catalogue_key=True)]


def manifests(
    policy: BackupPolicy,
    cluster: DatabaseCluster,
    store: BackupStore,
    *,
    image: str,
    image_pull_policy: str = "IfNotPresent",
    image_pull_secrets: Sequence[str] = (),
) -> list[Manifest]:
    """ConfigMap, Service and Deployment, each annotated with a digest of itself, in the order they are applied."""
    metadata, chosen = policy.metadata, policy.spec.job_template
    common = of_all(policy, cluster)
    name, labels = common["name"], common["labels"]
    pull_secrets = [*image_pull_secrets, *(secret.name for secret in chosen.image_pull_secrets)]
    rendered = [
        render("archiving/service.yaml.j2", **common),
        render(
            "archiving/deployment.yaml.j2",
            image=image,
            image_pull_policy=image_pull_policy,
            image_pull_secrets=[{"name": each} for each in pull_secrets],
            pod_labels={**chosen.labels, **labels, **claim_labels(volumes(store))},
            pod_annotations=chosen.annotations,
            service_account=chosen.service_account_name or "default",
            node_selector=chosen.node_selector,
            tolerations=[toleration.to_json() for toleration in chosen.tolerations],
            priority_class=chosen.priority_class_name,
            affinity=beside_the_claim(volumes(store), metadata.namespace),
            user=chosen.run_as_user or DEFAULT_USER,
            group=chosen.run_as_group or DEFAULT_USER,
            fs_group=chosen.fs_group or DEFAULT_USER,
            resources=policy.spec.wal.resources.to_json() if policy.spec.wal.resources else DEFAULT_RESOURCES,
            container_security=CONTAINER_SECURITY,
            volumes=pod_volumes(name, cluster, store),
            mounts=pod_mounts(store),
            **common,
        ),
    ]
    return [settings_manifest(policy, cluster, store), *annotated(rendered)]


def settings_manifest(policy: BackupPolicy, cluster: DatabaseCluster, store: BackupStore) -> Manifest:
    """The ConfigMap by which an archiver is told its settings, annotated with a digest of itself."""
    told = settings(policy, cluster, store).model_dump_json(by_alias=True)
    return annotated([render("archiving/settings.yaml.j2", settings=told, **of_all(policy, cluster))])[0]


def of_all(policy: BackupPolicy, cluster: DatabaseCluster) -> dict[str, Any]:
    """What the templates of an archiver's manifests have in common."""
    metadata = policy.metadata
    return {
        "name": archiver_name(policy),
        "namespace": metadata.namespace,
        "labels": {
            MANAGED_BY_LABEL: MANAGED_BY,
            COMPONENT_LABEL: COMPONENT,
            OWNER_UID_LABEL: metadata.uid,
            CLUSTER_LABEL: label_value(cluster.metadata.name),
        },
        "selector": {COMPONENT_LABEL: COMPONENT, OWNER_UID_LABEL: metadata.uid},
        "annotations": {},
        "owner": Owner.of(policy).reference(),
        "port": PORT,
    }


def pod_volumes(name: str, cluster: DatabaseCluster, store: BackupStore) -> list[Manifest]:
    used = credential(cluster, Role.BACKUP)
    return [
        {"name": "settings", "configMap": {"name": name}},
        {"name": "temporary", "emptyDir": {"sizeLimit": "64Mi"}},
        *([volume(cluster, used)] if used is not None else []),
        *volumes(store, catalogue_key=True),
    ]


def pod_mounts(store: BackupStore) -> list[Manifest]:
    return [
        {"name": "settings", "mountPath": SETTINGS_FILE.rpartition("/")[0], "readOnly": True},
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - inside the pod, a volume of its own
        mount(),
        *mounts(store, catalogue_key=True),
    ]
