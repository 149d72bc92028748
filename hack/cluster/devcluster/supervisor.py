"""The first process inside the cluster's own namespaces.

It has a process, a mount and a network namespace to itself, and every process of
the cluster lives in them, the pods' too. That is what makes `down` exact: when
this process ends, the kernel ends all the others, and with the last of them go
the mounts, the pods' networks, the interfaces and the iptables rules. Nothing
has to be found again, after a crash either.

Its second job: start the components in order, and start again what ends.
It reads them from a file on SIGHUP, and writes what it sees to another.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

_LOG_LIMIT = 64 * 1024 * 1024
_RESTART_DELAY = 1.0


@dataclass(frozen=True)
class Component:
    """A program to be kept running, or (once) to be run to its end before the next."""

    name: str
    argv: list[str]
    log: str
    once: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    component: Component
    pid: int
    restarts: int
    not_before: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """What is to run; the revision tells the writer when it has been carried out."""

    revision: str = ""
    components: tuple[Component, ...] = ()


def write_wanted(path: Path, components: list[Component]) -> str:
    """Writes the file that the supervisor reads, whole or not at all; returns its revision."""
    content = [asdict(component) for component in components]
    revision = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"revision": revision, "components": content}))
    new.rename(path)
    return revision


def read_wanted(path: Path) -> Wanted:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return Wanted()
    return Wanted(content["revision"], tuple(Component(**entry) for entry in content["components"]))


class Supervisor:
    def __init__(self, wanted: Path, status: Path) -> None:
        self._wanted_path = wanted
        self._status_path = status
        self._running: dict[str, Running] = {}

    def serve(self) -> None:
        signals = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self._report("")
        while True:
            received = signal.sigtimedwait(signals, _RESTART_DELAY)
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return
            self._bury()
            self._converge()

    def _bury(self) -> None:
        """Reaps every dead child: orphans of the whole cluster come to the first process."""
        by_pid = {running.pid: running for running in self._running.values() if running.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if ended := by_pid.get(pid):
                self._note(f"{ended.component.name} ended: status {os.waitstatus_to_exitcode(status)}")
                ended.pid = 0
                ended.restarts += 1
                ended.not_before = time.monotonic() + _RESTART_DELAY

    def _converge(self) -> None:
        wanted = read_wanted(self._wanted_path)
        names = {component.name for component in wanted.components}
        for name in [name for name in self._running if name not in names]:
            self._stop(self._running.pop(name))
        for component in wanted.components:
            running = self._running.get(component.name)
            if running and running.component != component:
                self._stop(running)
                running = None
            if running is None:
                self._running[component.name] = self._start(component, 0)
            elif running.pid == 0 and not component.once and time.monotonic() >= running.not_before:
                self._running[component.name] = self._start(component, running.restarts)
        self._report(wanted.revision)

    def _start(self, component: Component, restarts: int) -> Running:
        log = Path(component.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.rename(log.with_suffix(".old"))
        with log.open("ab") as sink:
            child = subprocess.Popen(
                component.argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/",
                env={**os.environ, **component.environment}, start_new_session=True, preexec_fn=_unblock,
            )  # fmt: skip
        self._note(f"{component.name} started")
        if component.once:
            self._note(f"{component.name} ended: status {child.wait()}")
            return Running(component, 0, restarts)
        # This process reaps all children itself. A Popen that is collected while its child runs would be polled by the
        # next Popen, and a child that died in between would be reaped there, unseen by _bury.
        child.returncode = 0
        return Running(component, child.pid, restarts)

    def _stop(self, running: Running) -> None:
        if not running.pid:
            return
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if os.waitpid(running.pid, os.WNOHANG)[0]:
                break
            time.sleep(0.05)
        else:
            os.kill(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)
        self._note(f"{running.component.name} stopped")

    def _report(self, revision: str) -> None:
        components = {
            name: {"running": bool(running.pid), "restarts": running.restarts, "once": running.component.once}
            for name, running in self._running.items()
        }
        new = self._status_path.with_suffix(".new")
        new.write_text(json.dumps({"revision": revision, "components": components}))
        new.rename(self._status_path)

    def _note(self, text: str) -> None:
        print(time.strftime("%H:%M:%S"), text, flush=True)


def _unblock() -> None:
    """Children begin with the signals that this process blocks unblocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1]), Path(sys.argv[2])).serve()
