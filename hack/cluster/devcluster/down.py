"""Ending the cluster, to the last process, mount, interface and file of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from . import cgroups, config, namespace
from .steps import run, succeeds


def down() -> None:
    """Ends every process of ours and removes all state; built programs and images stay cached."""
    namespace.destroy()
    clear_leftovers()
    if config.STATE.exists():
        shutil.rmtree(config.STATE)
    with contextlib.suppress(OSError):
        # Made as a place to mount on; it stays if somebody else keeps anything there.
        Path("/var/lib/cni").rmdir()


def clear_leftovers() -> None:
    """Removes what can outlive the namespaces: control groups, loop devices, mounts of older layouts."""
    cgroups.remove()
    # A build that was killed leaves its mounts; none is under way, as each holds the same lock as this.
    for directory in (config.STATE, config.CACHE / "buildah"):
        for mount in reversed(mounts_below(directory)):
            run(["umount", "--lazy", str(mount)])
    for device in loop_devices():
        succeeds(["losetup", "--detach", device])


def mounts_below(directory: Path) -> list[Path]:
    """Mount points under a directory, in the order of mounting, as this process sees them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(directory):
            found.append(point)
    return found


def loop_devices() -> list[str]:
    """Loop devices whose file is one of our volumes, present or deleted."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text().strip()
        except OSError:
            continue
        if file.startswith(f"{config.VOLUMES}{os.sep}"):
            found.append(f"/dev/{backing.parent.parent.name}")
    return found
