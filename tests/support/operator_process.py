"""The operator as a process of this machine, against the real cluster: it can be killed at any moment.

    with operator_process(config, kubeconfig, folder, nameserver) as operator:
        operator.wait_until_leading()
        operator.kill()

The process sees the cluster's name server in place of the machine's own, because the operator reads its monitors by
their Services' names. That takes root, and a machine from which Services can be reached.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
# The process may hold no mount of ours, and must not outlive whoever started it.
ENTER = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sh", "-c"]
SCRIPT = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"'
START_SECONDS = 60.0


class OperatorProcess:
    """One process of the operator."""

    def __init__(self, config: Mapping[str, Any], kubeconfig: Path, folder: Path, nameserver: str) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{self.port}.log"
        config_file, resolver = folder / f"operator-{self.port}.yaml", folder / "resolv.conf"
        config_file.write_text(yaml.safe_dump({**config, "listenPort": self.port}))
        resolver.write_text(f"nameserver {nameserver}\nsearch cluster.local\n")
        command = [*ENTER, SCRIPT, str(resolver), sys.executable, "-m", "pgwarden", "operator"]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT / "operator")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(config_file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self.process.kill()

    def terminate(self) -> None:
        """SIGTERM, as the kubelet sends it."""
        self.process.terminate()

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    def ask(self, path: str) -> str:
        """What its HTTP port answers; empty while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    @property
    def leading(self) -> bool:
        """Whether it holds the Lease and has read the first lists."""
        return self.ask("/readyz").startswith("leading")

    def wait_until_leading(self) -> None:
        """Raises AssertionError with the end of its log."""
        self._wait(lambda: self.leading, "leads")

    def wait_until_standing_by(self) -> None:
        self._wait(lambda: self.ask("/readyz").startswith("standing by"), "stands by")

    def _wait(self, holds: Any, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            assert self.running, f"the operator ended with {self.process.returncode}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the operator never {what}:\n{self.tail()}"
            time.sleep(0.05)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text().splitlines()[-20:])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.ask("/metrics"))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def resident_bytes(self) -> int:
        """Its memory now, as the kernel counts it (VmRSS in proc(5))."""
        return self._status_bytes("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """Its memory at its highest so far (VmHWM in proc(5))."""
        return self._status_bytes("VmHWM")

    def _status_bytes(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    @property
    def processor_seconds(self) -> float:
        """Processor time it has used so far, of all its threads (utime and stime in proc(5))."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def operator_process(
    config: Mapping[str, Any], kubeconfig: Path, folder: Path, nameserver: str
) -> Iterator[OperatorProcess]:
    """An operator that is gone afterwards, however it went."""
    operator = OperatorProcess(config, kubeconfig, folder, nameserver)
    try:
        yield operator
    finally:
        if operator.running:
            operator.process.send_signal(signal.SIGKILL)
        operator.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
