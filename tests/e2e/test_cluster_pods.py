"""The development cluster treats pods as a real one does: limits, names, isolation, access from outside."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest

from tests.support.cluster import Cluster

IMAGE = "localhost/postgres:17"

pytestmark = pytest.mark.timeout(180)


def pod(name: str, script: str, **container: Any) -> dict[str, Any]:
    """A pod that runs a shell script once, as Pod Security `restricted` wants it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    **container,
                }
            ],
        },
    }


def ended(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """How the pod's container ended, once it has."""
    state: dict[str, Any] = {}

    def has_ended() -> bool:
        statuses = cluster.get("pod", name, "-n", namespace)["status"].get("containerStatuses", [])
        state.update(statuses[0]["state"].get("terminated", {}) if statuses else {})
        return bool(state)

    cluster.wait(has_ended, f"pod {name} to end", seconds=90)
    return state


def output(cluster: Cluster, namespace: str, name: str) -> str:
    assert ended(cluster, namespace, name)["exitCode"] == 0
    return cluster.kubectl("logs", name, "-n", namespace).stdout


def test_a_container_over_its_memory_limit_is_oomkilled(cluster: Cluster, namespace: str) -> None:
    limits = {"limits": {"memory": "64Mi"}}
    cluster.apply(pod("greedy", "dd if=/dev/zero of=/dev/null bs=512M count=1", resources=limits), "-n", namespace)
    state = ended(cluster, namespace, "greedy")
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_a_container_gets_no_more_processor_than_its_limit(cluster: Cluster, namespace: str) -> None:
    script = """
        end=$(($(date +%s) + 4)); while [ "$(date +%s)" -lt $end ]; do :; done
        cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled
    """
    cluster.apply(pod("busy", script, resources={"limits": {"cpu": "100m"}}), "-n", namespace)
    match = re.search(r"nr_throttled (\d+)", output(cluster, namespace, "busy"))
    # A period is a tenth of a second: in four seconds a busy container is stopped in most of 40.
    assert match
    assert int(match[1]) > 10


def test_system_calls_are_filtered(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        pod("filtered", "grep Seccomp: /proc/self/status; unshare --mount true 2>/dev/null && exit 1 || exit 0"),
        "-n",
        namespace,
    )
    assert output(cluster, namespace, "filtered").split() == ["Seccomp:", "2"]


def test_names_of_services_resolve_and_others_fail_at_once(cluster: Cluster, namespace: str) -> None:
    script = """
        getent hosts kubernetes.default.svc
        getent hosts s3.pgwarden-s3.svc
        getent hosts nowhere.example.com || echo no such name
    """
    cluster.apply(pod("names", script), "-n", namespace)
    began = time.monotonic()
    lines = output(cluster, namespace, "names").splitlines()
    assert time.monotonic() - began < 30
    assert [line.split()[-1] for line in lines] == [
        "kubernetes.default.svc.cluster.local",
        "s3.pgwarden-s3.svc.cluster.local",
        "name",
    ]


def test_one_pod_reaches_another_through_a_service(cluster: Cluster, namespace: str) -> None:
    serve = "initdb -D /tmp/data >/dev/null && exec postgres -D /tmp/data -k /tmp -h '*'"
    cluster.apply(pod("server", serve), "-n", namespace)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 5432}]},
    }
    cluster.apply(service, "-n", namespace)
    ask = "i=0; until pg_isready -h server -t 2; do i=$((i + 1)); [ $i -lt 60 ] || exit 1; sleep 0.5; done"
    cluster.apply(pod("client", ask), "-n", namespace)
    assert "accepting connections" in output(cluster, namespace, "client")


def test_logs_exec_and_port_forward_work(cluster: Cluster, namespace: str) -> None:
    script = "echo began; initdb -D /tmp/data >/dev/null; exec postgres -D /tmp/data -k /tmp"
    cluster.apply(pod("served", script), "-n", namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/served", "-n", namespace, "--timeout=60s")
    cluster.wait(
        lambda: (
            cluster.kubectl("exec", "served", "-n", namespace, "--", "pg_isready", "-h", "/tmp", check=False).returncode
            == 0
        ),
        "the server in the pod to answer to exec",
    )
    assert cluster.kubectl("logs", "served", "-n", namespace).stdout.startswith("began")
    command = ["kubectl", "port-forward", "-n", namespace, "pod/served", ":5432"]
    with subprocess.Popen(command, env=dict(cluster.environment), stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout
            port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert port
            probe = f"""
import socket
with socket.create_connection(("127.0.0.1", {port[1]}), 10) as it:
    it.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
    print(it.recv(1))
"""
            # PostgreSQL answers the question for TLS with S or N.
            assert cluster.run(["python3", "-c", probe]).stdout.strip() == "b'N'"
        finally:
            forward.terminate()


def test_the_api_server_is_verified_and_anonymous_callers_see_nothing(cluster: Cluster) -> None:
    view = json.loads(cluster.kubectl("config", "view", "--raw", "--output=json").stdout)
    for entry in view["clusters"]:
        assert "insecure-skip-tls-verify" not in entry["cluster"]
        assert entry["cluster"]["certificate-authority-data"]
    answer = cluster.kubectl("get", "secrets", "-A", "--as=system:anonymous", check=False)
    assert answer.returncode != 0
    assert "forbidden" in answer.stderr
