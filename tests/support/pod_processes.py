"""Processes of a pod, as this machine sees them: found through their control groups, so that they can be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def processes_of(pod_uid: str, word: str) -> list[int]:
    """Ids of the pod's processes whose command line holds the word.

    The kubelet's cgroupfs driver names a pod's control group after its UID.
    """
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            groups, command = (folder / "cgroup").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if pod_uid in groups and word.encode() in command:
            found.append(int(folder.name))
    return sorted(found)


def kill(pod_uid: str, word: str) -> int:
    """Kills them as the kernel does when memory is short; returns how many there were."""
    found = processes_of(pod_uid, word)
    for process in found:
        os.kill(process, signal.SIGKILL)
    return len(found)
