"""The pod of a restore as three processes of the unprivileged user, with the volumes as folders.

    pod = RestorePod(18, volume, location)
    restored = pod.restore()          # the init container, to its end
    server = pod.start_server()       # what the container `postgres` runs: sh run-server.sh
    recovered = pod.recover()         # the container `agent`, to its end

Another pod on the same volume is what Kubernetes starts after the first one has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import ObjectRef, Payload, Result, Task
from pgwarden.restores.contract import (
    PSQL_SCRIPT,
    DrillTask,
    MemberVolume,
    RecoverTask,
    RestoreTask,
    SQLCheck,
    TargetPoint,
)
from pgwarden.restores.in_place_contract import Action, InPlaceTask
from pgwarden.restores.parts_contract import LiveTarget, PartsTask, RecoverPartsTask
from pgwarden.restores.paths import InPlacePaths, RestorePaths

from .postgres import (
    HOST,
    SUPERUSER_PASSWORD,
    PostgresServer,
    as_server_user,
    bin_dir,
    child_processes,
    free_port,
    new_folder,
    owned_folder,
    wait_for_end,
    wait_until,
)

REPOSITORY = Path(__file__).parents[2]
NONCE = "0123456789abcdef"
RUN_AGENT = """
import sys
from pgwarden.jobs.agent import main
from pgwarden.restores import server
server.SILENCE_SECONDS = int(sys.argv[3])
sys.exit(main(sys.argv[1], sys.argv[2]))
"""
SECONDS = 120


@dataclass
class Container:
    """One process with its log and, for an agent, its result file."""

    process: subprocess.Popen[bytes]
    log_file: Path
    result_file: Path | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float = SECONDS) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(seconds)

    def result(self, seconds: float = SECONDS) -> Result:
        """Waits for an agent's end and returns what it answered."""
        self.wait(seconds)
        assert self.result_file is not None
        assert self.result_file.exists(), f"the agent left no result:\n{self.log}"
        return Result.model_validate_json(self.result_file.read_text())

    def kill(self) -> None:
        """kill -9 of the process and of everything it started, as when a container is killed."""
        pids = with_descendants(self.process.pid)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(SECONDS)
        wait_for_end(pids)


def accepts(instance: PostgresServer, password: str) -> bool:
    """Whether the instance lets its superuser in; raises RuntimeError with its log when it has ended."""
    if not instance.running:
        raise RuntimeError(f"the instance ended: {instance.log}")
    try:
        instance.connect(password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def with_descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        try:
            found += child_processes(parent)
        except FileNotFoundError:
            continue
    return found


@contextmanager
def server_on(major: int, pgdata: Path, port: int) -> Iterator[PostgresServer]:
    """A server on a data directory with the configuration that lies there, but for where it listens."""
    instance = PostgresServer(major, new_folder(), port)
    owned_folder(instance.socket_folder)
    command: list[str | Path] = [
        bin_dir(major) / "postgres",
        "-D",
        pgdata,
        f"--port={port}",
        f"--listen_addresses={HOST}",
        f"--unix_socket_directories={instance.socket_folder}",
    ]
    with (instance.folder / "log").open("wb") as log:
        instance.process = subprocess.Popen(
            as_server_user(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
        )
    try:
        yield instance
    finally:
        instance.destroy()


@dataclass
class RestorePod:
    """One pod; every pod has a scratch volume of its own, the data volume outlives it."""

    major: int
    volume: Path
    store: StoreLocation
    location: str
    request_uid: str = "7c1d1a5e-0000-4000-8000-000000000001"
    archive: str = ""
    target: TargetPoint | None = None
    parallel: int = 4
    checks: Sequence[SQLCheck] = ()
    password_file: Path | None = None
    drill: bool = False
    timeout_seconds: int = 60
    silence_seconds: int = 60
    """How long either side of the pod may be silent; tests of that do not wait for the real minute."""
    replaces: str = ""
    """In place: the restore token of what lies on the volume."""
    inspect_seconds: int | None = None
    """For how long the copy is held open to be looked at."""
    standbys: Sequence[MemberVolume] = ()
    """In place: the volumes of the other members."""
    into: LiveTarget | None = None
    """The live server that parts go into."""
    agent_major: int | None = None
    """Major of the tools in the agent's image, where it is not the backup's."""
    folder: Path = field(default_factory=new_folder)
    containers: list[Container] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    """What the last `run` answered."""

    def __post_init__(self) -> None:
        owned_folder(self.folder / "pod")
        owned_folder(self.shared)

    @property
    def shared(self) -> Path:
        return self.folder / "scratch"

    @property
    def paths(self) -> RestorePaths:
        if self.replaces:
            return self.in_place
        return RestorePaths(self.volume / "pgdata", self.shared, self.request_uid)

    @property
    def in_place(self) -> InPlacePaths:
        return InPlacePaths(self.volume / "pgdata", self.shared, self.request_uid)

    @property
    def task(self) -> RestoreTask:
        plain = (DrillTask if self.drill else RestoreTask)(
            request_uid=self.request_uid,
            store=self.store,
            location=self.location,
            archive=self.archive,
            target=self.target,
            pgdata=str(self.paths.pgdata),
            shared=str(self.shared),
            parallel=self.parallel,
            replaces=self.replaces,
            standbys=list(self.standbys),
        )
        return PartsTask(**dict(plain), into=self.into) if self.into is not None else plain

    def start_restore(self) -> Container:
        return self._start_agent("restore", self.task)

    def act(
        self,
        action: Action,
        attempt: int = 1,
        *,
        volume_mounted: bool = True,
        members: Sequence[MemberVolume] = (),
    ) -> Result:
        """One of the short Jobs of a restore in place, to its end."""
        return self.start_act(action, attempt, volume_mounted=volume_mounted, members=members).result()

    def start_act(
        self,
        action: Action,
        attempt: int = 1,
        *,
        volume_mounted: bool = True,
        members: Sequence[MemberVolume] = (),
    ) -> Container:
        task = InPlaceTask(action=action, restore=self.task, volume_mounted=volume_mounted, members=list(members))
        return self._start_agent("in-place", task, attempt)

    def start_recover(self) -> Container:
        plain = RecoverTask(
            request_uid=self.request_uid,
            store=self.store,
            pgdata=str(self.paths.pgdata),
            shared=str(self.shared),
            checks=list(self.checks),
            superuser_password_file=str(self.password_file) if self.password_file else None,
            drill=self.drill,
            server_start_timeout_seconds=self.timeout_seconds,
            replaces=self.replaces,
            inspect_seconds=self.inspect_seconds,
            proceed_file=str(self.folder / "proceed"),
            standbys=list(self.standbys),
        )
        into = self.into
        return self._start_agent("recover", RecoverPartsTask(**dict(plain), into=into) if into is not None else plain)

    def say_proceed(self) -> None:
        """What an annotation of the pod comes to."""
        (self.folder / "proceed").write_text("true")

    def psql(self, query: str) -> subprocess.CompletedProcess[str]:
        """What a person gets who looks at the copy, in the server's container, by the line that they are told."""
        command: list[str | Path] = [
            "sh",
            self.shared / PSQL_SCRIPT,
            "--no-align",
            "--tuples-only",
            f"--command={query}",
        ]
        return subprocess.run(
            as_server_user(command),
            env={"PATH": f"{bin_dir(self.major)}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )

    def start_server(self, path: str | None = None, shell: Sequence[str] = ("sh",)) -> Container:
        """The container with the cluster's own image: no Python, nothing of ours but the shell line."""
        path = path or f"{bin_dir(self.major)}:/usr/bin:/bin"
        command: list[str | Path] = [*shell, self.shared / "run-server.sh", self.shared]
        return self._start("postgres", command, {"PATH": path})

    def set_agent_patience(self, seconds: int) -> None:
        """How long run-server.sh waits for a silent agent; after `restore`, before `start_server`."""
        file = self.shared / "server.settings"
        lines = [line for line in file.read_text().splitlines() if not line.startswith("agent_patience_seconds=")]
        file.write_text("\n".join([*lines, f"agent_patience_seconds={seconds}", ""]))

    @property
    def server_log(self) -> str:
        """What PostgreSQL has logged."""
        file = self.shared / "server.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def state(self) -> str:
        """How far the marker on the volume says the restore is."""
        return str(json.loads(self.paths.marker.read_text())["state"])

    def restore(self) -> Result:
        return self.start_restore().result()

    def recover(self) -> Result:
        return self.start_recover().result()

    def run(self) -> tuple[Result, Result, int]:
        """The whole pod: results of `restore` and `recover`, and the exit code of the server's container."""
        restored = self.restore()
        assert restored.outcome == "Succeeded", restored
        server = self.start_server()
        recovered = self.recover()
        self.report = recovered.report
        return restored, recovered, server.wait()

    @contextmanager
    def instance(self, password: str = SUPERUSER_PASSWORD) -> Iterator[PostgresServer]:
        """The new instance: PGDATA started with the configuration it was handed over with.

        Only where it listens is changed, because tests have no network of their own.
        """
        with server_on(self.major, self.paths.pgdata, free_port()) as instance:
            wait_until(lambda: accepts(instance, password), f"the instance did not start: {instance.log}")
            yield instance

    def destroy(self) -> None:
        """Ends what is left of the pod and deletes its scratch volume."""
        for container in self.containers:
            if container.running:
                container.kill()
        shutil.rmtree(self.folder)

    def wait_for_step(self, container: Container, step: str) -> None:
        """Waits until an agent has told that it is at a step."""
        wait_until(
            lambda: f'"step":"{step}"' in container.log or not container.running, f"{step} was not reached", SECONDS
        )
        assert f'"step":"{step}"' in container.log, container.log

    def _start_agent(self, name: str, payload: Payload, attempt: int = 1) -> Container:
        number = len(self.containers)
        result_file = self.folder / "pod" / f"{name}-{number}.result"
        task_file = self.folder / f"{name}-{number}.task"
        task = Task(
            operation=payload.OPERATION,
            nonce=NONCE,
            object=ObjectRef(kind="RestoreRequest", namespace="test", name="restore", uid=self.request_uid),
            attempt=attempt,
            payload=json.loads(payload.model_dump_json(by_alias=True)),
        )
        task_file.write_text(task.model_dump_json(by_alias=True))
        task_file.chmod(0o644)
        environment = {
            "PATH": f"{bin_dir(self.agent_major or self.major)}:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command: list[str | Path] = [sys.executable, "-c", RUN_AGENT, task_file, result_file, str(self.silence_seconds)]
        container = self._start(name, command, environment)
        container.result_file = result_file
        return container

    def _start(self, name: str, command: list[str | Path], environment: dict[str, str]) -> Container:
        log_file = self.folder / f"{name}-{len(self.containers)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                as_server_user(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
            )
        container = Container(process, log_file)
        self.containers.append(container)
        return container
