"""Puts a full backup and its incrementals together with pg_combinebackup."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.tools import first_lines, run_tool

FIRST_WITH_LINK = 18
FICLONE = 0x40049409
"""ioctl that makes one file share the blocks of another (linux/fs.h)."""
NOT_SUPPORTED = "not supported"
COPY = "--copy"
CHECKSUMS = "CRC32C"
"""In the result's manifest, which is compared with it at once: what it is made of was verified by SHA-256, and to hash
every block again, one after the other, would take as long as to put them together."""


def combine(paths: RestorePaths, chain: Sequence[BackupRecord], major: int, context: AgentContext) -> None:
    """Makes one data directory of the inputs, which are gone afterwards.

    The tablespaces of the last input are linked to its own folders, and are mapped to those of the result: unlinked,
    pg_combinebackup would leave them out without a word. Raises TaskError with reason CombineFailed.
    """
    inputs = [paths.chain_input(number) for number in range(len(chain))]
    last = inputs[-1]
    mappings = [
        f"--tablespace-mapping={last.tablespace(space.oid)}={paths.tablespace(space.oid)}"
        for space in chain[-1].tablespaces
    ]
    for mode in (quickest_mode(paths.work, major), COPY):
        # It wants to make the folders itself.
        shutil.rmtree(paths.data, ignore_errors=True)
        for space in chain[-1].tablespaces:
            shutil.rmtree(paths.tablespace(space.oid), ignore_errors=True)
        options = [] if mode == COPY else [mode]
        folders = [each.data for each in inputs]
        options += ["--no-sync", f"--manifest-checksums={CHECKSUMS}", *mappings, f"--output={paths.data}"]
        done = run_tool(context, "pg_combinebackup", major, *options, *folders)
        if not done.returncode or NOT_SUPPORTED not in done.stdout:
            break
    if done.returncode:
        raise TaskError(
            "CombineFailed",
            f"pg_combinebackup could not put {', '.join(record.backup_id for record in chain)} together: "
            f"{first_lines(done.stdout)}",
            remedy="Restore the full backup of the chain, or another chain; WAL of the archive leads there, too.",
        )
    (paths.data / "backup_manifest").replace(paths.manifest)
    shutil.rmtree(paths.inputs)


def shares_files(major: int) -> bool:
    """Whether what is combined takes no second copy of unchanged files."""
    return major >= FIRST_WITH_LINK


def quickest_mode(folder: Path, major: int) -> str:
    """How files that are unchanged since the full come into the result: linked, because the inputs are ours and are
    thrown away; with shared blocks; copied by the kernel; or copied."""
    if shares_files(major):
        return "--link"
    if clones(folder):
        return "--clone"
    return "--copy-file-range" if hasattr(os, "copy_file_range") else COPY


def clones(folder: Path) -> bool:
    """Whether the file system lets files share blocks."""
    one, other = folder / "clone.from", folder / "clone.to"
    try:
        one.write_bytes(b"block")
        with one.open("rb") as source, other.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    finally:
        one.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    return True
