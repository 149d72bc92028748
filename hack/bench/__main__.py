"""Every benchmark, one after the other: `make bench`. Each also runs by itself and explains itself with --help.

    python -m hack.bench [--json FOLDER] [--without-cluster]

Leave the machine alone meanwhile: nothing else may run if the numbers are to mean anything. about an hour on two
processors; ends with a table of all budgets and with 1 when one was missed or a program failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hack.bench.report import judged_in, machine, now

HERE = Path(__file__).parent
WITH_CLUSTER = (("reconcile.py",),)
PROGRAMS = (
    ("backup.py", "--data", "pgbench"),
    ("backup.py", "--data", "random"),
    ("incremental.py", "--data", "random"),
    ("incremental.py", "--data", "pgbench"),
    ("restore.py", "--data", "random"),
    ("memory.py",),
    ("archiver.py",),
    ("archiver.py", "--encrypted"),
    ("listing.py",),
)


def measure(programs: tuple[tuple[str, ...], ...], folder: Path) -> int:
    """Runs all of them, also after one has failed; returns how many failed without a verdict or missed a budget."""
    started, load = now(), os.getloadavg()[0]
    lines, failures = [], 0
    for number, (program, *arguments) in enumerate(programs):
        name = " ".join([program, *arguments])
        print(f"\n== {name}", flush=True)
        file = folder / f"{number:02}-{Path(program).stem}.json"
        file.unlink(missing_ok=True)
        ended = subprocess.run([sys.executable, HERE / program, *arguments, "--json", file], check=False)
        failures += ended.returncode != 0
        if file.exists():
            lines += [judged.line() for judged in judged_in(file)]
        else:
            lines.append(f"FAILED  {name}: ended with {ended.returncode}")
    print(f"\n== all budgets: {machine()}, from {started} (load {load:.2f}) to {now()} (load {os.getloadavg()[0]:.2f})")
    print("\n".join(lines))
    return failures


def main() -> int:
    """0 when all budgets are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="where each program's numbers go as JSON")
    parser.add_argument("--without-cluster", action="store_true", help="leave out what needs a Kubernetes cluster")
    arguments = parser.parse_args()
    programs = PROGRAMS if arguments.without_cluster else PROGRAMS + WITH_CLUSTER
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.json or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        return int(measure(programs, folder) > 0)


if __name__ == "__main__":
    sys.exit(main())
