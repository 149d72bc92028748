"""A namespace with the two sample databases, a service that uses one of them, a store, and backups."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.place import Body, Place, backup, claim, database_cluster, is_reachable, is_ready, store
from tests.support.sample_servers import rolled_out, sample_databases

ROWS = "CREATE TABLE bookings AS SELECT i, md5(i::text) AS what FROM generate_series(1, 20000) AS i"
SERVICE = "reporting"


def service(name: str, replicas: int) -> Body:
    """A Deployment that keeps a pod busy doing nothing, out of an image that is there."""
    labels = {"app.kubernetes.io/name": name}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "main",
        "image": "localhost/postgres:17",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"],
        "securityContext": security,
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
    }
    pod = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="session")
def premises(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Place:
    """Both sample databases, reachable; a store on a claim; the service of `analytics`."""
    place = make_place("in-place")
    place.apply(*sample_databases(place), claim("backups", "2Gi"), store("claim", claim={"name": "backups"}))
    place.apply(service(SERVICE, 2))
    rolled_out(place, "operational", "analytics")
    reference = {"name": "analytics", "dataDirectory": "/data/pgdata"}
    place.apply(
        database_cluster("operational", workloadRef={"name": "operational", "dataDirectory": "/data/pgdata"}),
        database_cluster("analytics", workloadRef=reference, dependentServices=[{"name": SERVICE}]),
    )
    place.until("backupstore", "claim", is_ready)
    for name in ("operational", "analytics"):
        place.until("databasecluster", name, is_reachable)
        place.ask(f"{name}-0", ROWS, name)
    place.apply(*(backup(f"{name}-full", name, "claim") for name in ("operational", "analytics")))
    for name in ("operational", "analytics"):
        place.until("databasebackup", f"{name}-full", is_ready)
    return place
