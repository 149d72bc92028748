"""The development cluster's volumes behave like disks: a size that is enforced, and a group that fsGroup changes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.cluster import Cluster

IMAGE = "localhost/postgres:17"
MIB = 1024 * 1024

pytestmark = pytest.mark.timeout(180)


def claim(name: str, size: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def pod(name: str, volume: str, script: str, group: int) -> dict[str, Any]:
    """A pod that runs a script once with the claim at /data."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "fsGroup": group,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}],
        },
    }


def output(cluster: Cluster, namespace: str, manifest: dict[str, Any]) -> str:
    """What the pod prints, once it has succeeded."""
    name = manifest["metadata"]["name"]
    cluster.apply(manifest, "-n", namespace)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", namespace, "--timeout=90s")
    return cluster.kubectl("logs", name, "-n", namespace).stdout


def test_a_full_volume_says_so_at_its_size(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("small", "128Mi"), "-n", namespace)
    script = """
        dd if=/dev/zero of=/data/filler bs=1M 2>&1 | grep -o 'No space left on device'
        stat --format=%s /data/filler
        rm /data/filler && echo again > /data/file && cat /data/file
    """
    error, written, after = output(cluster, namespace, pod("filler", "small", script, 999)).splitlines()
    assert error == "No space left on device"
    assert 100 * MIB < int(written) < 128 * MIB, "the size asked for, less what the filesystem needs itself"
    assert after == "again"


def test_the_group_is_changed_by_fsgroup(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("grouped", "128Mi"), "-n", namespace)
    first = "mkdir -m 0700 /data/pgdata && touch /data/pgdata/file && stat --format='%g %a' /data"
    assert output(cluster, namespace, pod("first", "grouped", first, 2001)).split() == ["2001", "2775"]
    # What PostgreSQL refuses: another fsGroup makes the whole tree the group's, and 0700 is gone.
    second = "stat --format='%g %a' /data/pgdata /data/pgdata/file"
    seen = output(cluster, namespace, pod("second", "grouped", second, 2002)).splitlines()
    assert [line.split()[0] for line in seen] == ["2002", "2002"]
    assert re.fullmatch(r"2002 2770", seen[0])


def test_a_volume_goes_with_its_claim(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("passing", "128Mi"), "-n", namespace)
    output(cluster, namespace, pod("user", "passing", "true", 999))
    volume = cluster.get("pvc", "passing", "-n", namespace)["spec"]["volumeName"]
    cluster.kubectl("delete", "pod/user", "pvc/passing", "-n", namespace, "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", f"pv/{volume}", "--timeout=60s")
