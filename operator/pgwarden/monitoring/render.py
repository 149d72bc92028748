"""Manifests of a namespace's monitor, out of its DatabaseClusters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgwarden.api.model import API_VERSION
from pgwarden.clusters.access import Role, address, credential, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.digests import annotated, digest
from pgwarden.jobs.names import COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, short_hash
from pgwarden.jobs.render import CONTAINER_SECURITY, DEFAULT_USER, Manifest, render
from pgwarden.monitoring.contract import PORT, SECRETS, Servers, WatchedCluster

NAME = "pgwarden-monitor"


def manifests(
    namespace: str,
    clusters: Sequence[DatabaseCluster],
    *,
    image: str,
    interval_seconds: float,
    image_pull_policy: str = "IfNotPresent",
    image_pull_secrets: Sequence[str] = (),
) -> list[Manifest]:
    """ConfigMap, Service and Deployment, each annotated with a digest of itself, in the order they are applied."""
    ordered = sorted(clusters, key=lambda cluster: cluster.metadata.name)
    labels = {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: "monitor", "app.kubernetes.io/name": NAME}
    common: dict[str, Any] = {
        "name": NAME,
        "namespace": namespace,
        "labels": labels,
        "selector": {COMPONENT_LABEL: "monitor", "app.kubernetes.io/name": NAME},
        "annotations": {},
        "owners": [owner(cluster) for cluster in ordered],
        "port": PORT,
    }
    servers = Servers(interval_seconds=interval_seconds, clusters=[watched(cluster) for cluster in ordered])
    rendered = [
        render("monitoring/servers.yaml.j2", servers=servers.model_dump_json(by_alias=True), **common),
        render("monitoring/service.yaml.j2", **common),
        render(
            "monitoring/deployment.yaml.j2",
            image=image,
            image_pull_policy=image_pull_policy,
            image_pull_secrets=[{"name": name} for name in image_pull_secrets],
            user=DEFAULT_USER,
            container_security=CONTAINER_SECURITY,
            volumes=volumes(ordered),
            mounts=mounts(ordered),
            **common,
        ),
    ]
    return annotated(rendered)


def owner(cluster: DatabaseCluster) -> Manifest:
    """An ownerReference of many: the monitor goes when the namespace's last DatabaseCluster goes."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DatabaseCluster",
        "name": cluster.metadata.name,
        "uid": cluster.metadata.uid,
    }


def watched(cluster: DatabaseCluster) -> WatchedCluster:
    """What the monitor is told about a DatabaseCluster."""
    name = folder(cluster)
    looked_at = WatchedCluster(
        name=cluster.metadata.name,
        uid=cluster.metadata.uid,
        digest="",
        primary=placed(cluster, name),
        replicas=[placed(cluster, name, replica) for replica in cluster.spec.replicas],
        databases=cluster.spec.databases,
    )
    return looked_at.model_copy(update={"digest": digest(looked_at.model_dump_json())})


def placed(cluster: DatabaseCluster, name: str, endpoint: Any = None) -> Any:
    """An address whose files lie in the monitor's own folder of secrets."""
    return address(cluster, endpoint=endpoint, folder=name)


def folder(cluster: DatabaseCluster) -> str:
    """Name of a cluster's volume: names of volumes are shorter than names of objects may be."""
    return f"cluster-{short_hash(cluster.metadata.uid)}"


def volumes(clusters: Sequence[DatabaseCluster]) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": "servers", "configMap": {"name": NAME}},
        {"name": "temporary", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    for cluster in clusters:
        used = credential(cluster, Role.MONITOR)
        if used is not None:
            found.append(volume(cluster, used, folder(cluster), optional=True))
    return found


def mounts(clusters: Sequence[DatabaseCluster]) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": "servers", "mountPath": "/pgwarden/servers", "readOnly": True},
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - inside the pod, a volume of its own
    ]
    found += [
        {"name": folder(cluster), "mountPath": f"{SECRETS}/{folder(cluster)}", "readOnly": True} for cluster in clusters
    ]
    return found
