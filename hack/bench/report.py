"""What every benchmark tells: the machine and how busy it is, budgets kept and missed, a file for other programs.

report = Report("backup", arguments.json)           # prints the machine and its load
report.judge("peak memory at 2 GiB", 183, "MiB", at_most=256)
return report.finish({"runs": ...})                  # prints what was judged; 1 when a budget was missed
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Judged:
    """One number beside its budget."""

    what: str
    measured: float
    unit: str
    limit: float
    kept: bool
    least: bool = False
    """Whether the limit is the least that is allowed, not the most."""

    def line(self) -> str:
        """For people."""
        bound = "at least" if self.least else "at most"
        verdict = "ok" if self.kept else "MISSED"
        return f"{verdict:7} {self.what:66} {self.measured:9.2f} {self.unit:10} {bound} {self.limit:g}"


class Report:
    """Of one benchmark, from its beginning to its end."""

    def __init__(self, benchmark: str, json_file: Path | None) -> None:
        self._benchmark = benchmark
        self._json_file = json_file
        self._judged: list[Judged] = []
        self._machine = machine()
        self._load_at_start = os.getloadavg()[0]
        # Told to end, it leaves its blocks in order: servers end and folders of gigabytes go.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        print(f"{now()} {self._machine}; load average {self._load_at_start:.2f}", flush=True)

    def judge(
        self, what: str, measured: float, unit: str, *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Puts a number beside its budget; exactly one of the two limits is given."""
        if at_most is not None:
            self._judged.append(Judged(what, measured, unit, at_most, measured <= at_most))
        elif at_least is not None:
            self._judged.append(Judged(what, measured, unit, at_least, measured >= at_least, least=True))

    def finish(self, details: Mapping[str, object]) -> int:
        """Prints all judgments, writes the file where one was asked for; returns the exit code: 1 for a miss."""
        load = os.getloadavg()[0]
        print(f"\n{now()} load average {load:.2f}, {self._load_at_start:.2f} at the start")
        for judged in self._judged:
            print(judged.line())
        if self._json_file is not None:
            told = {
                "benchmark": self._benchmark,
                "machine": self._machine,
                "loadAtStart": self._load_at_start,
                "loadAtEnd": load,
                "judged": [asdict(judged) for judged in self._judged],
                **details,
            }
            self._json_file.write_text(json.dumps(told, indent=2) + "\n")
        return int(not all(judged.kept for judged in self._judged))


def judged_in(file: Path) -> list[Judged]:
    """The judgments in a file that `finish` wrote."""
    told: dict[str, Any] = json.loads(file.read_text())
    return [Judged(**judged) for judged in told["judged"]]


def parser(program: str | None) -> argparse.ArgumentParser:
    """A parser that shows the program's own description, and knows --json."""
    made = argparse.ArgumentParser(description=program, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go as JSON, too")
    return made


def machine() -> str:
    """What the numbers were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def spread(values: Sequence[float]) -> str:
    """From the least to the most."""
    return f"{min(values):.2f} to {max(values):.2f}"
