"""The real cluster that end-to-end tests run on, and helm and kubectl for it.

    cluster = Cluster.find()                       # raises ClusterMissing with the reason
    cluster.kubectl("get", "pods", "-n", "x").stdout
    cluster.apply({"apiVersion": "v1", ...}, "-n", "x")
    cluster.wait(lambda: ..., "what is waited for", seconds=60)

The cluster is the one of KUBECONFIG, or else the development cluster (hack/cluster/cluster).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FRONT_DOOR = ROOT / "hack/cluster/cluster"
RESTRICTED = "pod-security.kubernetes.io/enforce"
SECONDS = 300


class ClusterMissing(Exception):
    """There is no cluster to test on."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, by the environment its clients need."""

    environment: Mapping[str, str]

    @classmethod
    def find(cls) -> Cluster:
        """The cluster that answers. Raises ClusterMissing."""
        environment = dict(os.environ)
        if "KUBECONFIG" not in environment:
            environment |= exported(environment)
        cluster = cls(environment)
        try:
            answer = cluster.run(["kubectl", "get", "--raw", "/readyz", "--request-timeout=5s"], check=False)
        except FileNotFoundError as error:
            raise ClusterMissing(f"there is no kubectl: {error}") from error
        if answer.returncode != 0:
            raise ClusterMissing(f"no cluster answers (`make cluster-up` starts one): {answer.stderr.strip()}")
        return cluster

    def run(
        self, command: Sequence[str], *, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program. Raises AssertionError with what it printed when `check` and it fails."""
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(["kubectl", *arguments], check=check, text=text)

    def helm(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(["helm", *arguments], check=check)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get` as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json").stdout)
        return found

    def apply(
        self, manifest: Mapping[str, Any], *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Applies one object on the server's side."""
        command = ["apply", "--server-side", "--filename=-", *arguments]
        return self.kubectl(*command, check=check, text=yaml.safe_dump(dict(manifest)))

    def wait(self, holds: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
        """Asks until it holds. Raises AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
            # Every question is a kubectl of its own, which costs a tenth of a second of a core.
            time.sleep(0.5)

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """A namespace that holds every pod to Pod Security `restricted`, deleted at the end without waiting."""
        self.kubectl("create", "namespace", name)
        try:
            self.kubectl("label", "namespace", name, f"{RESTRICTED}=restricted")
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found", check=False)


def exported(environment: Mapping[str, str]) -> dict[str, str]:
    """What the front door tells a shell to export. Raises ClusterMissing when it tells nothing."""
    shell = 'eval "$("$0" env)" && env --null'
    done = subprocess.run(
        ["sh", "-c", shell, str(FRONT_DOOR)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise ClusterMissing(f"{FRONT_DOOR.name} env: {done.stderr.strip()}")
    pairs = (entry.partition("=") for entry in done.stdout.split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}
