"""Every benchmark, one after the other: `make bench`. Each also runs by itself and explains itself with --help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = (
    ("backup.py", "--data", "pgbench"),
    ("backup.py", "--data", "random"),
    ("archiver.py",),
    ("archiver.py", "--encrypted"),
    ("reconcile.py",),
)


def main() -> int:
    """Runs all of them, also after one has failed; 0 when none has."""
    failures = 0
    for program, *arguments in PROGRAMS:
        print(f"\n== {program} {' '.join(arguments)}", flush=True)
        failures += subprocess.run([sys.executable, HERE / program, *arguments], check=False).returncode != 0
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
