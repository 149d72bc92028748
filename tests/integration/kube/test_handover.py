"""Operators as processes on a real API server: one takes over from another, and nothing that happened goes untold."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import ROOT, Cluster
from tests.support.operator_process import free_port
from tests.support.workplace import LABEL, kept_out

OBJECTS = 200
AIM_SECONDS = 5.0


@pytest.fixture
def namespace(cluster: Cluster, kinds: None) -> Iterator[str]:
    value = f"handover-{secrets.token_hex(3)}"
    # An operator that is installed would take this namespace's objects too.
    with kept_out(cluster, value), cluster.namespace(f"test-{value}") as name:
        cluster.kubectl("label", "namespace", name, f"{LABEL}={value}")
        yield name


class Operator:
    """One operator for one namespace, whose Lease is there as well."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{self.port}.log"
        file = folder / f"operator-{self.port}.yaml"
        images = {"agent": {"17": "agent:17"}, "monitor": "operator"}
        settings = {"images": images, "namespaces": [namespace], "leaseNamespace": namespace, "listenPort": self.port}
        file.write_text(yaml.safe_dump(settings))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgwarden", "operator", "--config", str(file)],
                env={**cluster.environment, "PYTHONPATH": str(ROOT / "operator")},
                stdout=log,
                stderr=log,
            )

    @property
    def state(self) -> str:
        """`leading` or `standing by`, once it is ready; else nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return str(answer.read().decode().strip())
        except (urllib.error.URLError, OSError):
            return ""

    def wait_until(self, state: str) -> None:
        until(lambda: self.state == state, self.log)


def until(holds: Callable[[], bool], log: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)


@contextmanager
def operators(cluster: Cluster, namespace: str, folder: Path, count: int) -> Iterator[list[Operator]]:
    """So many operators, the first of which leads; none is left afterwards."""
    begun: list[Operator] = []
    try:
        for number in range(count):
            begun.append(Operator(cluster, namespace, folder))
            begun[-1].wait_until("standing by" if number else "leading")
        yield begun
    finally:
        for each in begun:
            each.process.kill()
            each.process.wait()


def make_backups(cluster: Cluster, namespace: str) -> None:
    """Objects that wait for a cluster that is not there: each gets a status and an Event."""
    spec = {"clusterRef": {"name": "none"}, "storeRef": {"name": "none"}}
    kind = {"apiVersion": "pgwarden.dev/v1alpha1", "kind": "DatabaseBackup", "spec": spec}
    made = [{**kind, "metadata": {"name": f"b-{number:03}"}} for number in range(OBJECTS)]
    cluster.kubectl("create", "-n", namespace, "-f", "-", text=yaml.safe_dump_all(made))


def told_of(cluster: Cluster, namespace: str) -> list[str]:
    """Names of the backups about which an Event was written, each as often as it was."""
    path = "-o=jsonpath={range .items[*]}{.reason} {.involvedObject.name}{'\\n'}{end}"
    lines = cluster.kubectl("get", "events", "-n", namespace, path).stdout.splitlines()
    return [line.split()[1] for line in lines if line.startswith("ClusterNotFound ")]


def test_a_leader_that_is_told_to_end_hands_over_in_time(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    with operators(cluster, namespace, tmp_path, 2) as (leader, standby):
        make_backups(cluster, namespace)
        leader.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        standby.wait_until("leading")
        assert time.monotonic() - began < AIM_SECONDS, leader.log.read_text()[-3000:]
        assert leader.process.wait(30) == 0
        until(lambda: len(set(told_of(cluster, namespace))) == OBJECTS, standby.log)
        assert len(told_of(cluster, namespace)) == OBJECTS


def test_what_a_killed_operator_wrote_and_did_not_tell_is_told_by_the_next(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with operators(cluster, namespace, tmp_path, 1) as (leader,):
        make_backups(cluster, namespace)
        leader.process.kill()
        leader.process.wait()
        cluster.kubectl("delete", "lease", "-n", namespace, "--all")
    with operators(cluster, namespace, tmp_path, 1) as (successor,):
        until(lambda: len(set(told_of(cluster, namespace))) == OBJECTS, successor.log)
        assert len(told_of(cluster, namespace)) == OBJECTS
