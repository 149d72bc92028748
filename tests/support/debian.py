"""Programs out of Debian 13, unpacked below the cache folder once; nothing of them is installed.

    tree = unpacked("postgresql-17", ["postgresql-17"], ["usr/lib/postgresql/17/bin/*"])

All libraries they need come with them. They want a newer C library than the system may have, so each program is made
to use the unpacked one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

RELEASE = "trixie"
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
ELF = b"\x7fELF"
COMPLETE = "complete"


def unpacked(
    name: str, packages: Sequence[str], programs: Sequence[str], then: Callable[[Path], None] = lambda tree: None
) -> Path:
    """The folder with the packages' files; `programs` are patterns of those that will be run, `then` is done once.

    Raises RuntimeError with what to install where a tool is missing.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgwarden"
    base.mkdir(parents=True, exist_ok=True)
    tree = readable_by_all(base / f"{name}-{RELEASE}")
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / COMPLETE).exists():
            shutil.rmtree(tree, ignore_errors=True)
            unpack(tree, packages)
            for pattern in programs:
                make_runnable(tree, pattern)
            then(tree)
            (tree / COMPLETE).touch()
    return tree


def readable_by_all(tree: Path) -> Path:
    """Where the user who runs the servers can get at it: a home folder is often closed to others."""
    walkable = all(parent.stat().st_mode & 0o001 for parent in tree.parents)
    return tree if walkable else Path("/var/tmp") / f"pgwarden-{os.getuid()}" / tree.name


def unpack(tree: Path, packages: Sequence[str]) -> None:
    for tool in ("mmdebstrap", "patchelf"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is missing: hack/test-packages.sh installs it")
    tree.mkdir(parents=True, mode=0o755)
    tree.parent.chmod(0o755)
    options = ["--variant=extract", f"--include={','.join(packages)}", "--dpkgopt=path-exclude=/usr/share/man/*"]
    run("mmdebstrap", "--quiet", *options, RELEASE, tree)


def make_runnable(tree: Path, pattern: str) -> None:
    """Has the programs of that pattern use the unpacked libraries."""
    libraries = tree / LIBRARIES
    loader = libraries / "ld-linux-x86-64.so.2"
    for program in sorted(tree.glob(pattern)):
        if program.is_symlink() or not program.is_file() or program.read_bytes()[:4] != ELF:
            continue
        run("patchelf", "--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, program)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
