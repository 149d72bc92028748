"""Runs programs and measures what they cost: wall time, processor time, peak memory, bytes written to disk.

    python measure.py COMMAND...        the cost of one command as JSON

`run` starts each command from a small process (this file by itself), because a process that is started by a large one
begins with the large one's peak as its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Of one process and the children it waited for."""

    seconds: float
    cpu_seconds: float
    all_cpu_seconds: float
    """What the whole machine spent meanwhile: servers on both sides, and whoever else was at work."""
    peak_mib: float
    """Largest resident set of one process: that of the largest where there are several."""
    disk_bytes: int
    """Sent to a disk; sockets and file systems in memory do not count."""

    def __add__(self, then: Cost) -> Cost:
        """Of the one and then the other."""
        return Cost(
            self.seconds + then.seconds,
            self.cpu_seconds + then.cpu_seconds,
            self.all_cpu_seconds + then.all_cpu_seconds,
            max(self.peak_mib, then.peak_mib),
            self.disk_bytes + then.disk_bytes,
        )


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end; raises RuntimeError with its output when it fails."""
    done = subprocess.run(
        [sys.executable, "-I", __file__, *map(str, command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:500]} failed: {done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout))


def measured(command: Sequence[str]) -> Cost:
    """The cost of a command; ends this process with what the command printed when it fails."""
    busy = machine_cpu_seconds()
    started = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        # The process has ended but is not waited for yet: its counters can still be read.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - started
        disk_bytes = written_to_disk(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode}: {output.decode(errors='replace')}")
    return Cost(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        all_cpu_seconds=machine_cpu_seconds() - busy,
        peak_mib=usage.ru_maxrss / 1024,
        disk_bytes=disk_bytes,
    )


def written_to_disk(pid: int) -> int:
    """`write_bytes` of /proc/<pid>/io: what the process and the children it waited for sent to a disk."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


def machine_cpu_seconds() -> float:
    """Processor time that the machine has spent since it started, by whomever (proc_stat(5): all but idle, iowait)."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(asdict(measured(sys.argv[1:]))))
