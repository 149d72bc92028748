"""One namespace of a real cluster as a person with kubectl works in it: apply, get, wait, ask the databases.

place = Place(cluster, "test-x")
place.apply(thing("DatabaseBackup", "first", {...}))
place.until("databasebackup", "first", is_ready)       # the object, or AssertionError with what it last said
place.ask("operational-0", "SELECT 1", "operational")
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.cluster import Cluster

Body = dict[str, Any]
Holds = Callable[[Body], bool]

API_VERSION = "pgwarden.dev/v1alpha1"
KINDS = ("databaseclusters", "backupstores", "databasemigrations", "databasebackups", "restorerequests")
POLL_SECONDS = 0.3
# Two cores have to hold all pods of a test session at once, beside what else runs in the cluster.
MODEST = {"resources": {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}}}

TABLES = """
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname), '[]')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
"""
FINGERPRINT = "SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '-') FROM"


@dataclass(frozen=True)
class Place:
    """A namespace."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> str:
        """What kubectl prints in this namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, check=check, text=text).stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Applies objects, all in one go."""
        bodies = json.dumps({"apiVersion": "v1", "kind": "List", "items": [dict(each) for each in manifests]})
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", text=bodies)

    def refusal(self, manifest: Mapping[str, Any]) -> str:
        """What the API server says when it refuses an object."""
        done = self.cluster.apply(manifest, "--namespace", self.namespace, check=False)
        assert done.returncode != 0, f"was taken: {manifest}"
        return done.stderr

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Merges a change into an object."""
        self.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(change))

    def get(self, kind: str, name: str) -> Body:
        return self.cluster.get(kind, name, "--namespace", self.namespace)

    def list(self, kind: str, *arguments: str) -> list[Body]:
        items: list[Body] = self.cluster.get(kind, "--namespace", self.namespace, *arguments)["items"]
        return items

    def until(self, kind: str, name: str, holds: Holds, *, seconds: float = 240) -> Body:
        """The object once it is as wanted. Raises AssertionError with what it last said."""
        deadline = time.monotonic() + seconds
        while True:
            body = self.get(kind, name)
            if holds(body):
                return body
            said = json.dumps(body.get("status", {}).get("conditions", []), indent=1)
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {kind}/{name}, which says {said}"
            time.sleep(POLL_SECONDS)

    def said(self, kind: str, name: str, type_: str, reason: str, *, seconds: float = 240) -> str:
        """The message of a condition once it has that reason."""
        body = self.until(kind, name, lambda body: condition(body, type_).get("reason") == reason, seconds=seconds)
        return str(condition(body, type_)["message"])

    def secret(self, name: str) -> dict[str, str]:
        """The decoded data of a Secret."""
        data = self.get("secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def ask(self, pod: str, query: str, database: str = "postgres", *, password: str | None = None) -> str:
        """The answer of the superuser's psql in a pod; with a password over TCP, which never becomes an argument."""
        psql = f"psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=postgres {database}"
        if password is None:
            script, text = psql, query
        else:
            script, text = f"read -r PGPASSWORD; export PGPASSWORD; {psql} --host=127.0.0.1", f"{password}\n{query}"
        command = ["exec", "--stdin", pod, "--container=postgres", "--", "sh", "-c", script]
        return self.kubectl(*command, text=text).strip()

    def fingerprints(self, pod: str, database: str, *, password: str | None = None) -> dict[str, str]:
        """Number of rows and a checksum over all of them, for each table."""
        tables: list[str] = json.loads(self.ask(pod, TABLES, database, password=password))
        queries = ";\n".join(f"{FINGERPRINT} {table} AS t" for table in tables)
        answers = self.ask(pod, queries, database, password=password).splitlines()
        return dict(zip(tables, answers, strict=True))


def thing(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Body:
    """An object of one of our kinds."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": dict(spec)}


def secret(name: str, **data: str) -> Body:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def config_map(name: str, files: Mapping[str, str | bytes]) -> Body:
    """A ConfigMap; bytes go into binaryData."""
    text = {key: value for key, value in files.items() if isinstance(value, str)}
    binary = {key: base64.b64encode(value).decode() for key, value in files.items() if isinstance(value, bytes)}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": text, "binaryData": binary}


def claim(name: str, size: str, storage_class: str | None = None) -> Body:
    spec: Body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def database_cluster(name: str, *, server: str | None = None, **changes: Any) -> Body:
    """A DatabaseCluster that leads to a sample server, by the names its manifests have."""
    server = server or name
    roles = ("monitor", "backup", "migration")
    spec = {
        "primary": {"host": f"{server}-primary"},
        "databases": [server],
        "credentials": {role: {"secretName": f"{server}-{role}"} for role in roles},
        "workloadRef": {"name": server},
    }
    return thing("DatabaseCluster", name, spec | changes)


def store(name: str, **spec: Any) -> Body:
    """A BackupStore."""
    return thing("BackupStore", name, {"jobTemplate": MODEST} | spec)


def migration(name: str, cluster: str, database: str, *sources: str, **changes: Any) -> Body:
    """A DatabaseMigration of ConfigMaps."""
    spec = {
        "clusterRef": {"name": cluster},
        "database": database,
        "sources": [{"configMap": {"name": source}} for source in sources or (name,)],
        "jobTemplate": MODEST,
    }
    return thing("DatabaseMigration", name, spec | changes)


def backup(name: str, cluster: str, store: str, **changes: Any) -> Body:
    spec = {"clusterRef": {"name": cluster}, "storeRef": {"name": store}, "jobTemplate": MODEST}
    return thing("DatabaseBackup", name, spec | changes)


def restore(name: str, from_backup: str, *, instance: str | None = None, size: str = "1Gi", **changes: Any) -> Body:
    """A RestoreRequest into a new instance."""
    target = {"newInstance": {"name": instance or name, "storage": {"size": size}, **MODEST}}
    spec = {"source": {"backupRef": {"name": from_backup}}, "target": target, "jobTemplate": MODEST}
    return thing("RestoreRequest", name, spec | changes)


def condition(body: Body, type_: str) -> Body:
    """The condition of that type that speaks of the object as it is now; empty when there is none."""
    generation = body["metadata"].get("generation", 0)
    conditions = (body.get("status") or {}).get("conditions") or []
    found = (each for each in conditions if each["type"] == type_ and each["observedGeneration"] == generation)
    return next(found, {})


def holds(type_: str, status: str = "True") -> Holds:
    """Whether a condition has that status."""
    return lambda body: condition(body, type_).get("status") == status


is_ready, is_stalled, is_writable, is_reachable = (
    holds(type_) for type_ in ("Ready", "Stalled", "Writable", "Reachable")
)


def is_reported(body: Body) -> bool:
    """Whether the incident report of a restore is where it belongs."""
    return bool((body.get("status") or {}).get("report", {}).get("complete"))
