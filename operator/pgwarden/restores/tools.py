"""Runs PostgreSQL's own tools out of the agent's image."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from pgwarden.jobs.agent import AgentContext, Stopped
from pgwarden.jobs.tools import environment, find_tool

POLL_SECONDS = 0.2
OUTPUT_LINES = 5


def run_tool(
    context: AgentContext, name: str, major: int, *arguments: str | Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a tool to its end, with further `variables` in its environment; its output goes into the pod's log.

    Raises Stopped when SIGTERM comes meanwhile.
    """
    command = [str(find_tool(name, major)), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**environment(), **(variables or {})},
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
