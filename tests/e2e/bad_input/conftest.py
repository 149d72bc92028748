"""One sound PostgreSQL server, one sound store and a shell beside it; the tests of this folder add what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pyrage
import pytest

from tests.support.cluster import Cluster
from tests.support.place import Body, Place, claim, database_cluster, is_reachable, is_writable, secret, store
from tests.support.sample_servers import rolled_out, server_files, single_server

SHELL_IMAGE = "localhost/postgres:18"


@pytest.fixture(scope="session")
def place(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Place:
    """A namespace with DatabaseCluster `sound`, and BackupStores `shelf` and `sealed` on one claim."""
    place = make_place("mistakes")
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    encryption = {"recipients": [str(identity.to_public())], "identity": {"name": "identity", "key": "identity"}}
    place.apply(
        server_files(),
        *single_server("sound", 18),
        claim("shelf", "1Gi"),
        shell("shell", "shelf"),
        secret("identity", identity=str(identity)),
        secret("other-identity", identity=str(other)),
        store("shelf", claim={"name": "shelf"}, prefix="plain"),
        store("sealed", claim={"name": "shelf"}, prefix="sealed", encryption=encryption),
    )
    rolled_out(place, "sound")
    place.apply(database_cluster("sound"))
    place.until("databasecluster", "sound", is_reachable)
    for name in ("shelf", "sealed"):
        place.until("backupstore", name, is_writable)
    place.kubectl("wait", "pod/shell", "--for=condition=Ready", "--timeout=240s")
    return place


def shell(name: str, claim_name: str) -> Body:
    """A pod that holds a claim at /store, as the user that writes backups, and waits for commands."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
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
                    "name": "main",
                    "image": SHELL_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "store", "mountPath": "/store"}],
                }
            ],
            "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": claim_name}}],
        },
    }
