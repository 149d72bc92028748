"""Where PostgreSQL's own tools are in the agent's image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from pgwarden.jobs.errors import TaskError


def find_tool(name: str, major: int) -> Path:
    """Where a tool of that major version is. Raises TaskError with reason AgentImageMismatch.

    Debian keeps each major in a folder of its own; elsewhere it is on PATH.
    """
    debian = Path(f"/usr/lib/postgresql/{major}/bin/{name}")
    found = str(debian) if debian.exists() else shutil.which(name)
    if found is None:
        raise mismatch(f"has no {name}", major)
    version = tool_version(Path(found))
    if version.split(".")[0] != str(major):
        raise mismatch(f"has {name} {version}" if version else f"has a {name} that does not start", major)
    return Path(found)


def tool_version(tool: Path) -> str:
    """What `--version` tells, for example 17.10; empty when the program does not start."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, env=environment(), check=False)
    version = re.search(r"\(PostgreSQL\) ([\d.]+)", done.stdout)
    return version[1] if version else ""


def environment() -> dict[str, str]:
    """The environment for a tool: its messages in English."""
    return {**os.environ, "LC_ALL": "C"}


def mismatch(what: str, major: int) -> TaskError:
    return TaskError(
        "AgentImageMismatch",
        f"the tools of PostgreSQL {major} are needed, but the agent's image {what}",
        remedy=f"Set the chart's value images.agent.{major} to the agent image for PostgreSQL {major}.",
    )
