"""The monitor as a process: its list, its document, its metrics; one server in trouble delays no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgwarden.jobs.files import DatabaseAddress
from pgwarden.monitoring.contract import Observations, Servers, WatchedCluster
from tests.support.postgres import HOST, PostgresServer, free_port, wait_until
from tests.support.silence import silent_server

ROOT = Path(__file__).parents[3]


class MonitorProcess:
    """`pgwarden monitor`, with a list of servers in a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "servers.json"
        self.port = free_port()
        self.output = folder / "monitor.log"
        self.watch()
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgwarden", "monitor", "--servers-file", self.file, "--port", str(self.port)],
                env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: self.get("/readyz")[0] == 200, "the monitor did not become ready")

    def watch(self, **clusters: DatabaseAddress) -> None:
        """Replaces the list, as the kubelet does: the whole file at once."""
        watched = [
            WatchedCluster(name=name, uid=f"uid-{name}", digest=f"{name}-{address.port}", primary=address)
            for name, address in clusters.items()
        ]
        new = self.file.with_suffix(".new")
        new.write_text(Servers(interval_seconds=0.3, clusters=watched).model_dump_json(by_alias=True))
        new.rename(self.file)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    def document(self) -> Observations:
        return Observations.model_validate_json(self.get("/observations")[1])

    def reasons(self) -> dict[str, str]:
        return {seen.name: seen.primary.reason for seen in self.document().clusters}

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[MonitorProcess]:
    started = MonitorProcess(tmp_path)
    yield started
    if started.process.poll() is None:
        started.end()


def test_the_list_may_change_at_any_time(monitor: MonitorProcess, postgres17: PostgresServer) -> None:
    assert monitor.document().clusters == []
    monitor.watch(one=postgres17.address())
    wait_until(lambda: monitor.reasons() == {"one": "Reachable"}, "a new cluster was not looked at")
    gone = postgres17.address().model_copy(update={"port": free_port()})
    monitor.watch(one=gone, two=postgres17.address())
    wait_until(
        lambda: monitor.reasons() == {"one": "ConnectionRefused", "two": "Reachable"}, "an address was not replaced"
    )
    monitor.watch(two=postgres17.address())
    wait_until(lambda: monitor.reasons() == {"two": "Reachable"}, "a cluster that left the list was not forgotten")


def test_a_list_that_cannot_be_read_leaves_all_as_it_is(monitor: MonitorProcess, postgres17: PostgresServer) -> None:
    monitor.watch(one=postgres17.address())
    wait_until(lambda: monitor.reasons() == {"one": "Reachable"}, "the cluster was not looked at")
    monitor.file.write_text("{ broken")
    wait_until(lambda: "cannot be read" in monitor.output.read_text(), "the broken list was not noticed")
    before = monitor.document().clusters[0].time
    wait_until(lambda: monitor.document().clusters[0].time > before, "looking ended with the list")


def test_a_server_that_never_answers_delays_no_other(monitor: MonitorProcess, postgres17: PostgresServer) -> None:
    with silent_server() as port:
        silent = postgres17.address().model_copy(update={"port": port})
        monitor.watch(silent=silent, good=postgres17.address())
        wait_until(lambda: "good" in monitor.reasons(), "the good server was not looked at")
        # While the silent one is waited for (10 s), the other one is looked at again and again.
        times = set()

        def answered() -> bool:
            times.add(next(seen.time for seen in monitor.document().clusters if seen.name == "good"))
            return "silent" in monitor.reasons()

        wait_until(answered, "the silent server was never given up")
        assert len(times) >= 5
        assert monitor.reasons()["good"] == "Reachable"
        assert monitor.reasons()["silent"] != "Reachable"


def test_metrics_are_what_prometheus_reads(monitor: MonitorProcess, postgres17: PostgresServer, database: str) -> None:
    down = postgres17.address().model_copy(update={"port": free_port()})
    monitor.watch(good=postgres17.address(), down=down)
    wait_until(lambda: len(monitor.reasons()) == 2, "not everything was looked at")
    families = {family.name: family for family in text_string_to_metric_families(monitor.get("/metrics")[1])}
    assert set(families) == {"pgwarden_postgres_up", "pgwarden_postgres_database_size_bytes"}
    up = {sample.labels["cluster"]: sample.value for sample in families["pgwarden_postgres_up"].samples}
    assert up == {"good": 1.0, "down": 0.0}
    sizes = families["pgwarden_postgres_database_size_bytes"].samples
    assert {sample.labels["cluster"] for sample in sizes} == {"good"}
    assert all(sample.value > 0 for sample in sizes)
    assert "postgres" in {sample.labels["database"] for sample in sizes}


def test_it_ends_when_told_and_its_log_is_json_without_secrets(
    monitor: MonitorProcess, new_postgres: Callable[..., PostgresServer]
) -> None:
    server = new_postgres(17)
    secret = "a password that stands in no log"
    role = server.create_role(password=secret)
    server.execute("CREATE DATABASE closed", "REVOKE ALL ON DATABASE closed FROM PUBLIC")
    monitor.watch(one=server.address(user=role, password=secret))
    wait_until(lambda: monitor.reasons() == {"one": "PermissionDenied"}, "the server was not looked at")
    monitor.file.write_text("{ broken")
    wait_until(lambda: "cannot be read" in monitor.output.read_text(), "the broken list was not noticed")
    assert monitor.end() == 0
    log = monitor.output.read_text()
    assert all(json.loads(line) for line in log.splitlines())
    assert secret not in log


def test_what_is_not_there_is_not_found(monitor: MonitorProcess) -> None:
    assert monitor.get("/healthz")[0] == 200
    assert monitor.get("/nothing")[0] == 404
