"""Runs programs and measures what they cost: wall time, CPU, peak memory, bytes written to disk."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Of one process and the children it waited for; `disk_bytes` are the process's own."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    disk_bytes: int


def run(command: list[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end; raises RuntimeError with its output when it fails."""
    started = time.monotonic()
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        # The process has ended but is not waited for yet: its counters can still be read.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        disk_bytes = written_to_disk(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output.decode(errors='replace')[-2000:]}")
    return Cost(
        seconds=time.monotonic() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        disk_bytes=disk_bytes,
    )


def written_to_disk(pid: int) -> int:
    """`write_bytes` of /proc/<pid>/io: what the process caused to be sent to a disk (sockets do not count)."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])
