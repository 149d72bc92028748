"""Running commands, waiting for conditions, and telling how long each step took."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.5


class DemoError(Exception):
    """A step did not come to what it should have."""


@dataclass
class Demo:
    """The namespace the demo works in, and the steps so far."""

    namespace: str
    console: Console = field(default_factory=lambda: Console(highlight=False))
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    steps: list[tuple[str, float, str]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Prints the step's name and, when it is over, its seconds; what is appended to the list is its outcome."""
        self.console.rule(f"[bold]{name}", align="left")
        began, outcome = time.monotonic(), list[str]()
        yield outcome
        seconds = time.monotonic() - began
        self.steps.append((name, seconds, "; ".join(outcome)))
        self.console.print(f"[green]done[/green] in {seconds:.1f} s{': ' + '; '.join(outcome) if outcome else ''}")

    def table(self) -> Table:
        """All steps with their seconds."""
        table = Table("Step", "Seconds", "Outcome", title="pgwarden demo")
        table.columns[1].justify = "right"
        for name, seconds, outcome in self.steps:
            table.add_row(name, f"{seconds:.1f}", outcome)
        table.add_section()
        table.add_row("Together", f"{sum(seconds for _, seconds, _ in self.steps):.1f}", "")
        return table

    def run(self, *command: str, text: str | None = None, show: bool = False, directory: Path = ROOT) -> str:
        """Runs a command and returns what it printed. Raises DemoError with its last words when it fails."""
        if show:
            self.console.print(f"[dim]$ {shlex.join(command)}[/dim]")
            finished = subprocess.run(command, cwd=directory, env=self.environment, text=True, input=text)
            output = ""
        else:
            finished = subprocess.run(
                command, cwd=directory, env=self.environment, text=True, input=text, capture_output=True
            )
            output = finished.stdout
        if finished.returncode != 0:
            words = (finished.stderr or output or "").strip().splitlines()[-15:]
            raise DemoError(f"{shlex.join(command)} ended with {finished.returncode}\n" + "\n".join(words))
        return output

    def kubectl(self, *arguments: str, text: str | None = None, show: bool = False) -> str:
        """kubectl in the demo's namespace."""
        return self.run("kubectl", "--namespace", self.namespace, *arguments, text=text, show=show)

    def apply(self, manifest: str) -> None:
        """Applies manifests given as text."""
        self.kubectl("apply", "--filename", "-", text=manifest)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        body: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        return body

    def wait(
        self,
        kind: str,
        name: str,
        until: Callable[[dict[str, Any]], bool],
        *,
        timeout: float,
        mended: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Waits until the object is as wanted, and shows what it says meanwhile.

        `mended` is the object as it was when a person had helped it already: the operator may not have looked since.
        Raises DemoError when the time is over or only a person could help (Stalled).
        """
        past = condition(mended or {}, "Stalled")
        deadline, said = time.monotonic() + timeout, ""
        while True:
            body = self.get(kind, name)
            says = summary(body)
            if says != said:
                said = says
                self.console.print(f"  {kind}/{name}: {says}", soft_wrap=True)
            if until(body):
                return body
            stalled = condition(body, "Stalled")
            if stalled.get("status") == "True" and stalled != past:
                raise DemoError(f"{kind}/{name} is stuck: {stalled.get('message')}")
            if time.monotonic() > deadline:
                raise DemoError(f"{kind}/{name} took longer than {timeout:.0f} s; it last said: {said}")
            time.sleep(POLL_SECONDS)


def condition(body: dict[str, Any], type_: str) -> dict[str, Any]:
    """The condition of that type; empty when there is none."""
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


def is_ready(body: dict[str, Any]) -> bool:
    """Whether the object's present generation is Ready."""
    ready = condition(body, "Ready")
    return ready.get("status") == "True" and ready.get("observedGeneration") == body["metadata"]["generation"]


def summary(body: dict[str, Any]) -> str:
    """What an object says about itself now, on one line."""
    ready, progress = condition(body, "Ready"), (body.get("status") or {}).get("progress") or {}
    text = f"{ready.get('reason', 'waiting for the operator')}: {ready.get('message', '')}".rstrip(": ")
    if progress.get("step"):
        text += f" [{progress['step']} {progress.get('percent', 0)}%]"
    return text


def cluster_environment() -> dict[str, str]:
    """The variables that lead kubectl and helm to the development cluster."""
    shell = 'eval "$(hack/cluster/cluster env)"; env -0'
    output = subprocess.run(["bash", "-c", shell], cwd=ROOT, check=True, capture_output=True).stdout
    variables = [entry.split("=", 1) for entry in output.decode().split("\0") if "=" in entry]
    return {name: value for name, value in variables}  # noqa: C416 - the pairs are lists, not tuples


def fail(console: Console, error: DemoError) -> int:
    """Says what went wrong."""
    console.print(f"[red bold]The demo stopped:[/red bold] {error}", soft_wrap=True)
    sys.stdout.flush()
    return 1
