"""A namespace with a database, a store and their objects, on which only operators of the tests act.

An operator that is installed in the cluster watches all namespaces and would do the work of the one that a test has
just killed. So the API server itself keeps it out: a ValidatingAdmissionPolicy refuses, in the namespaces that carry
the tests' label, every write by an operator that a chart installed elsewhere. It goes on with its own work meanwhile.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.api_proxy import ApiProxy, Request
from tests.support.cluster import Cluster
from tests.support.operator_process import OperatorProcess, operator_process

LABEL = "pgwarden.dev/operated-by"
READY_SECONDS = 180.0
MOST_PROCESSES = 100
OWNER = "pgwarden.dev/owner-uid"
PSQL = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]

Body = dict[str, Any]

# Next to other tests' servers: what a pod asks for must not fill the node.
SMALL: Body = {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}}
SMALL_JOBS: Body = {"jobTemplate": {"resources": SMALL}}


@contextmanager
def kept_out(cluster: Cluster, value: str) -> Iterator[None]:
    """No operator that was installed in a namespace of no test writes where LABEL has this value."""
    name = f"pgwarden-{value}"
    stranger = "request.userInfo.username.startsWith('system:serviceaccount:') && "
    stranger += "request.userInfo.username.endsWith(':pgwarden') && "
    stranger += "!request.userInfo.username.startsWith('system:serviceaccount:test-')"
    everything = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": ["*/*"],
        "scope": "Namespaced",
    }
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [everything]},
            "matchConditions": [{"name": "an-operator-of-elsewhere", "expression": stranger}],
            "validations": [
                {"expression": "false", "message": "this namespace belongs to a test", "reason": "Forbidden"}
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {LABEL: value}}},
        },
    }
    cluster.apply(policy)
    cluster.apply(binding)
    try:
        yield
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding", name, check=False)
        cluster.kubectl("delete", "validatingadmissionpolicy", name, check=False)


def refuses_strangers(cluster: Cluster, namespace: str) -> bool:
    """Whether the policy is in force there."""
    masquerade = ["--as=system:serviceaccount:elsewhere:pgwarden", "--as-group=system:masters"]
    probe = ["create", "configmap", "probe", "--dry-run=server", "-n", namespace, *masquerade]
    return "belongs to a test" in cluster.kubectl(*probe, check=False).stderr


def name_server(cluster: Cluster) -> str | None:
    """Address of the cluster's name server, when this machine reaches the cluster's Services."""
    found = cluster.get("services", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    address = str(found[0]["spec"]["clusterIP"]) if found else ""
    try:
        socket.create_connection((address, 53), timeout=3).close()
    except OSError:
        return None
    return address


@dataclass
class Workplace:
    """One namespace and what runs in it."""

    cluster: Cluster
    namespace: str
    folder: Path
    nameserver: str

    @property
    def kubeconfig(self) -> Path:
        return Path(self.cluster.environment["KUBECONFIG"])

    def config(self, **changes: Any) -> Body:
        """An operator's configuration for this namespace; each has a Lease of its own unless told otherwise."""
        values = yaml.safe_load(Path("hack/values-dev.yaml").read_text())
        return {
            "namespaces": [self.namespace],
            "images": {"agent": values["images"]["agent"], "monitor": values["images"]["operator"]},
            "storeProbeInterval": 86400,
            "monitorInterval": 2,
            "leaseName": f"operator-{secrets.token_hex(4)}",
            "leaseNamespace": self.namespace,
            **changes,
        }

    @contextmanager
    def operator(self, proxy: ApiProxy | None = None, **changes: Any) -> Iterator[OperatorProcess]:
        """An operator of this namespace, through the proxy when there is one."""
        kubeconfig = proxy.kubeconfig(self.folder / f"proxy-{proxy.port}.yaml") if proxy else self.kubeconfig
        with operator_process(self.config(**changes), kubeconfig, self.folder, self.nameserver) as process:
            yield process

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, check=check, text=text).stdout

    def make(self, kind: str, name: str, spec: Body) -> str:
        """Creates an object of ours; returns its UID."""
        body = {"apiVersion": "pgwarden.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.kubectl("create", "--filename=-", text=json.dumps(body))
        return str(self.get(kind, name)["metadata"]["uid"])

    def back_up(self, name: str, **changes: Any) -> str:
        """Asks for a backup of the server; returns the object's UID."""
        spec = {"clusterRef": {"name": "analytics"}, "storeRef": {"name": "claim"}, **SMALL_JOBS, **changes}
        return self.make("DatabaseBackup", name, spec)

    def migrate(self, name: str, *statements: str) -> str:
        """Makes a database and asks for one migration for each statement in it; returns the object's UID."""
        self.psql(f"CREATE DATABASE {name} OWNER pgwarden_migration")
        files = {f"{n:04}_step.up.sql": statement for n, statement in enumerate(statements, 1)}
        source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}
        self.kubectl("create", "--filename=-", text=json.dumps(source))
        sources = [{"configMap": {"name": name}}]
        spec = {"clusterRef": {"name": "analytics"}, "database": name, "sources": sources, **SMALL_JOBS}
        return self.make("DatabaseMigration", name, spec)

    def restore(self, name: str, backup: str) -> str:
        """Asks for a new instance of that name out of a DatabaseBackup; returns the object's UID."""
        instance = {"name": name, "storage": {"size": "1Gi"}, "resources": SMALL}
        spec = {"source": {"backupRef": {"name": backup}}, "target": {"newInstance": instance}, **SMALL_JOBS}
        return self.make("RestoreRequest", name, spec)

    def get(self, kind: str, name: str) -> Body:
        """The object; empty when there is none."""
        found = self.kubectl("get", kind.lower(), name, "--output=json", "--ignore-not-found")
        return json.loads(found) if found.strip() else {}

    def owned(self, kind: str, uid: str) -> list[Body]:
        """Objects of a kind that were made for the object with that UID, oldest first."""
        found = self.kubectl("get", kind.lower(), "-l", f"{OWNER}={uid}", "--output=json", "--sort-by=.metadata.name")
        items: list[Body] = json.loads(found)["items"]
        return sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])

    def condition(self, kind: str, name: str, type_: str = "Ready") -> Body:
        """A condition of an object; empty while it has none of that type."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def wait(self, holds: Callable[[], bool], what: str, *, seconds: float = READY_SECONDS) -> None:
        """Asks until it holds; a busy machine takes its time. Raises AssertionError."""
        self.cluster.wait(holds, what, seconds=seconds)

    def ready(self, kind: str, name: str) -> bool:
        return bool(self.condition(kind, name).get("status") == "True")

    def wait_ready(self, kind: str, name: str, *, seconds: float = READY_SECONDS) -> Body:
        """The object, once it is Ready."""
        self.wait(lambda: self.ready(kind, name), f"{kind} {name} to be Ready", seconds=seconds)
        return self.get(kind, name)

    def psql(self, query: str, *, database: str = "analytics") -> str:
        """The server's answer to its superuser."""
        command = ["exec", "-i", "analytics-0", "-c", "postgres", "--", *PSQL, "-U", "postgres", "-d", database]
        return self.kubectl(*command, text=query).strip()

    def restored_psql(self, query: str, instance: str, *, database: str = "analytics") -> str:
        """The answer of a restored instance to its superuser, who comes with the password of the instance's Secret."""
        secret = json.loads(self.kubectl("get", "secret", f"{instance}-superuser", "--output=json"))
        user, password = (base64.b64decode(secret["data"][key]).decode() for key in ("username", "password"))
        script = 'read -r PGPASSWORD; export PGPASSWORD; exec "$@"'
        command = [*PSQL, "-h", "127.0.0.1", "-U", user, "-d", database]
        inside = ["exec", "-i", f"{instance}-0", "-c", "postgres", "--", "sh", "-c", script, "sh", *command]
        return self.kubectl(*inside, text=f"{password}\n{query}").strip()

    def records(self, backup_id: str = "") -> list[str]:
        """Paths of the backup.json files in the claim: each lists a backup."""
        found = self.kubectl("exec", "look", "--", "find", "/store", "-name", "backup.json").split()
        return [path for path in found if backup_id in path]

    def folders(self, backup_id: str) -> list[str]:
        """Folders in the claim that attempts at a backup wrote into."""
        found = self.kubectl("exec", "look", "--", "find", "/store", "-type", "d", "-name", "attempt-*").split()
        return [path for path in found if backup_id in path]


def prepare(workplace: Workplace) -> None:
    """Puts a server, a store and their objects there, and waits until an operator has found both in order."""
    samples = workplace.cluster.kubectl("kustomize", "manifests/samples/databases").stdout
    wanted = [body for body in yaml.safe_load_all(samples) if "operational" not in body["metadata"]["name"]]
    for body in wanted:
        if body["kind"] == "StatefulSet":
            body["spec"]["template"]["spec"]["containers"][0]["resources"] = SMALL
    workplace.kubectl("apply", "--filename=-", text=yaml.safe_dump_all([*wanted, claim(), look()]))
    clusters = yaml.safe_load_all(Path("manifests/samples/clusters.yaml").read_text())
    spec = next(body["spec"] for body in clusters if body["metadata"]["name"] == "analytics")
    workplace.kubectl("rollout", "status", "statefulset/analytics", "--timeout=180s")
    with workplace.operator():
        workplace.make("DatabaseCluster", "analytics", spec)
        workplace.make("BackupStore", "claim", {"claim": {"name": "backups"}, **SMALL_JOBS})
        workplace.wait_ready("DatabaseCluster", "analytics")
        workplace.wait_ready("BackupStore", "claim")
    workplace.kubectl("wait", "--for=condition=Ready", "pod/look", "--timeout=60s")


def claim() -> Body:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "backups"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }


def look() -> Body:
    """A pod that can see into the store, and does nothing else."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "look"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "look",
                    "image": "localhost/postgres:17",
                    "command": ["sleep", "infinity"],
                    "volumeMounts": [{"name": "store", "mountPath": "/store", "readOnly": True}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
            "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": "backups"}}],
        },
    }


def killed_after(count: int, process: OperatorProcess) -> Callable[[Request], bool]:
    """For `ApiProxy.after_write`: kills the operator when its write number `count` is done and not yet answered."""
    left = count

    def decide(_: Request) -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            process.kill()
        return left <= 0

    return decide


def kill_after_each_write(workplace: Workplace, proxy: ApiProxy, done: Callable[[], bool]) -> int:
    """Runs operators one after another, each killed when its first write is done; returns how many were killed."""
    for killed in range(MOST_PROCESSES):
        with workplace.operator(proxy) as operator:
            proxy.after_write = killed_after(1, operator)
            workplace.wait(lambda: not operator.running or done(), "a write, or the end of the work")
            if operator.running:
                return killed
    raise AssertionError(f"the work was not done after {MOST_PROCESSES} operators: {proxy.writes()[-10:]}")
