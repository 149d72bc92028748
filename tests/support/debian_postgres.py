"""PostgreSQL as Debian packages it, for what the wheels' releases are too old for: incremental backups.

    programs = debian_programs()      # initdb, postgres, pg_combinebackup, ... of 17.12 or later
    server = PostgresServer.create(17, programs=programs)

The packages of Debian 13 and all libraries they need are unpacked below the cache folder, once, and nothing of them is
installed. They want a newer C library than the system may have, so each program is made to use the unpacked one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

RELEASE = "trixie"
PACKAGE = "postgresql-17"
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
PROGRAMS = Path("usr/lib/postgresql/17/bin")
ELF = b"\x7fELF"
COMPLETE = "complete"


@cache
def debian_programs() -> Path:
    """Folder with the programs of PostgreSQL 17; raises RuntimeError with what to install where a tool is missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgwarden"
    base.mkdir(parents=True, exist_ok=True)
    tree = readable_by_all(base / f"{PACKAGE}-{RELEASE}")
    with (base / f"{PACKAGE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / COMPLETE).exists():
            shutil.rmtree(tree, ignore_errors=True)
            unpack(tree)
            (tree / COMPLETE).touch()
    return tree / PROGRAMS


def readable_by_all(tree: Path) -> Path:
    """Where the user who runs the servers can get at it: a home folder is often closed to others."""
    walkable = all(parent.stat().st_mode & 0o001 for parent in tree.parents)
    return tree if walkable else Path("/var/tmp") / f"pgwarden-{os.getuid()}" / tree.name


def unpack(tree: Path) -> None:
    for tool in ("mmdebstrap", "patchelf"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is missing: hack/test-packages.sh installs it")
    tree.mkdir(parents=True, mode=0o755)
    tree.parent.chmod(0o755)
    options = ["--variant=extract", f"--include={PACKAGE}", "--dpkgopt=path-exclude=/usr/share/man/*"]
    run("mmdebstrap", "--quiet", *options, RELEASE, tree)
    libraries = tree / LIBRARIES
    for program in sorted((tree / PROGRAMS).iterdir()):
        if program.read_bytes()[:4] != ELF or program.is_symlink():
            continue
        loader = libraries / "ld-linux-x86-64.so.2"
        run("patchelf", "--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, program)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
