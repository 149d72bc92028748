"""PostgreSQL's own tools out of the agent's image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from pgwarden.jobs.agent import AgentContext, Stopped
from pgwarden.jobs.errors import TaskError

POLL_SECONDS = 0.2
OUTPUT_LINES = 5


def find_tool(name: str, major: int) -> Path:
    """Where a tool of that major version is. Raises TaskError with reason AgentImageMismatch.

    Debian keeps each major in a folder of its own; elsewhere it is on PATH.
    """
    debian = Path(f"/usr/lib/postgresql/{major}/bin/{name}")
    found = str(debian) if debian.exists() else shutil.which(name)
    if found is None:
        raise mismatch(f"has no {name}", major)
    done = subprocess.run([found, "--version"], capture_output=True, text=True, env=environment(), check=False)
    version = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if version is None or int(version[1]) != major:
        raise mismatch(f"has {done.stdout.strip() or f'a {name} that does not start'}", major)
    return Path(found)


def run_tool(context: AgentContext, name: str, major: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool to its end; its output goes into the pod's log. Raises Stopped when SIGTERM comes meanwhile."""
    command = [str(find_tool(name, major)), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
    )
    with process:
        while True:
            try:
                output, _ = process.communicate(timeout=POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if context.stop.is_set():
                    process.terminate()
                    raise Stopped() from None
    if output and process.returncode:
        context.log(f"{name}: {output.strip()}")
    return subprocess.CompletedProcess(command, process.returncode, output, "")


def first_lines(output: str) -> str:
    """The first lines of what a tool printed, on one line, for a message."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    more = f" (and {len(lines) - OUTPUT_LINES} lines more in the pod's log)" if len(lines) > OUTPUT_LINES else ""
    return "; ".join(lines[:OUTPUT_LINES]) + more


def environment() -> dict[str, str]:
    """The environment for a tool: its messages in English."""
    return {**os.environ, "LC_ALL": "C"}


def mismatch(what: str, major: int) -> TaskError:
    return TaskError(
        "AgentImageMismatch",
        f"the backup is of PostgreSQL {major}, but the agent's image {what}",
        remedy=f"Set the chart's value images.agent.{major} to the agent image for PostgreSQL {major}.",
    )
