"""The control groups that all pods are in, below one name in every hierarchy."""

from __future__ import annotations

import os
import time
from pathlib import Path

from . import config

_ROOT = Path("/sys/fs/cgroup")


def _hierarchies() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink()]


def create() -> None:
    """Makes our group in every hierarchy; the kubelet wants to find it."""
    for hierarchy in _hierarchies():
        group = hierarchy / config.CGROUP
        group.mkdir(exist_ok=True)
        if (hierarchy / "cgroup.subtree_control").exists() and hierarchy == _ROOT:
            _delegate(hierarchy)
            _delegate(group)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # In the first version of cgroups a new cpuset is empty, and nothing can run in it.
            if (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())


def remove() -> None:
    """Removes our groups, deepest first; what is busy for a moment is tried again."""
    deadline = time.monotonic() + 10
    for hierarchy in _hierarchies():
        group = hierarchy / config.CGROUP
        while group.exists():
            for path, _, _ in os.walk(group, topdown=False):
                try:
                    Path(path).rmdir()
                except OSError:
                    continue
            if time.monotonic() > deadline:
                break
            if group.exists():
                time.sleep(0.1)


def left() -> list[Path]:
    """Our groups that exist."""
    return [group for hierarchy in _hierarchies() if (group := hierarchy / config.CGROUP).exists()]


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    for controller in available:
        (group / "cgroup.subtree_control").write_text(f"+{controller}")
