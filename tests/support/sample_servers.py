"""PostgreSQL servers for end-to-end tests: the sample databases, and further single servers from the same files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from tests.support.cluster import ROOT
from tests.support.place import Place

SAMPLES = ROOT / "manifests/samples"
ROLES = ("superuser", "monitor", "backup", "migration")


def sample_databases(place: Place) -> list[dict[str, Any]]:
    """Manifests of the sample databases `operational` and `analytics`."""
    return modest(yaml.safe_load_all(place.kubectl("kustomize", str(SAMPLES / "databases"))))


def modest(manifests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The manifests with smaller requests of CPU: two cores have to hold all servers of a test session at once."""
    found = list(manifests)
    for each in found:
        if each["kind"] == "StatefulSet":
            for container in each["spec"]["template"]["spec"]["containers"]:
                container["resources"]["requests"]["cpu"] = "1m"
    return found


def single_server(name: str, major: int) -> list[dict[str, Any]]:
    """Manifests of a server like the sample `analytics`: Services, Secrets of four roles, a database of its name."""
    text = (SAMPLES / "databases/analytics.yaml").read_text().replace("analytics", name)
    return modest(yaml.safe_load_all(text.replace("localhost/postgres:17", f"localhost/postgres:{major}")))


def server_files() -> dict[str, Any]:
    """The ConfigMap that all sample servers start from."""
    data = {path.name: path.read_text() for path in sorted((SAMPLES / "databases/server").iterdir())}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sample-postgres-server"}, "data": data}


def rolled_out(place: Place, *names: str) -> None:
    """Waits until every pod of the servers is ready."""
    for name in names:
        place.kubectl("rollout", "status", f"statefulset/{name}", "--timeout=280s")


def passwords(*names: str) -> list[str]:
    """The passwords of the servers' roles, which must show nowhere."""
    return [f"sample-{name}-{role}" for name in names for role in ROLES]


def migration_files(folder: str) -> dict[str, str]:
    """The sample migrations of a database."""
    return {path.name: path.read_text() for path in sorted((SAMPLES / "migrations" / folder).glob("*.sql"))}
