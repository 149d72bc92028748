"""Checks of files by PostgreSQL's own tools."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.control_data import ControlData, parse_control_data
from pgwarden.restores.manifest import UnknownManifest, differing
from pgwarden.restores.paths import BackupPlace, RestorePaths
from pgwarden.restores.tools import first_lines, run_tool

FIRST_WITH_SYNC_METHOD = 17
NAMED_FILES = 5
ANOTHER_BACKUP = "Restore another backup; the DatabaseBackup's objects in the store are not what was written."


def verify_backup(
    place: BackupPlace, wal: Path | None, major: int, context: AgentContext, *, parallel: int = 1
) -> None:
    """Compares every file with the manifest, and reads the WAL from the first to the last record that is needed; none
    where `wal` is None.

    pg_verifybackup looks at the manifest itself, at names and sizes and at the WAL; the files' checksums are compared
    here, `parallel` files at a time, and by pg_verifybackup where they are no SHA-256, as after pg_combinebackup.
    Raises TaskError with reason VerificationFailed.
    """
    options = [f"--wal-directory={wal}"] if wal is not None else ["--no-parse-wal"]
    run_verifybackup(place, major, context, *options, "--skip-checksums")
    try:
        wrong = differing(place.manifest, place.data, parallel, context)
    except UnknownManifest:
        run_verifybackup(place, major, context, "--no-parse-wal")
        wrong = []
    except OSError as error:
        raise TaskError(
            "VerificationFailed",
            f"{error.filename} of the unpacked backup cannot be read: {error.strerror}",
            remedy="Look at the data volume and the node's disks; then make a new RestoreRequest.",
        ) from error
    if wrong:
        names = ", ".join(map(str, wrong[:NAMED_FILES]))
        raise TaskError(
            "VerificationFailed",
            f"{len(wrong)} files of the unpacked backup are not what its manifest says, by their SHA-256: {names}",
            remedy=ANOTHER_BACKUP,
        )


def run_verifybackup(place: BackupPlace, major: int, context: AgentContext, *options: str) -> None:
    """Raises TaskError with reason VerificationFailed."""
    manifest = f"--manifest-path={place.manifest}"
    done = run_tool(context, "pg_verifybackup", major, manifest, *options, "--quiet", place.data)
    if done.returncode:
        raise TaskError(
            "VerificationFailed",
            f"pg_verifybackup found the unpacked backup to differ from its manifest: {first_lines(done.stdout)}",
            remedy=ANOTHER_BACKUP,
        )


def sync_to_disk(paths: RestorePaths, major: int, context: AgentContext) -> None:
    """Has everything that was unpacked written to disk. Raises TaskError with reason SyncFailed."""
    method = ["--sync-method=syncfs"] if major >= FIRST_WITH_SYNC_METHOD else []
    done = run_tool(context, "initdb", major, "--sync-only", *method, f"--pgdata={paths.data}")
    if done.returncode:
        raise TaskError(
            "SyncFailed",
            f"the restored files could not be written to disk: {first_lines(done.stdout)}",
            remedy="Look at the data volume and the node's disks; then make a new RestoreRequest.",
            retryable=True,
        )


def read_control_data(folder: Path, major: int, context: AgentContext) -> ControlData:
    """What pg_control says. Raises TaskError with reason ControlDataUnreadable."""
    done = run_tool(context, "pg_controldata", major, f"--pgdata={folder}")
    if done.returncode:
        raise TaskError(
            "ControlDataUnreadable",
            f"pg_controldata could not read {folder}: {first_lines(done.stdout)}",
            remedy=ANOTHER_BACKUP,
        )
    return parse_control_data(done.stdout)


def find_wrong_pages(paths: RestorePaths, major: int, context: AgentContext) -> str:
    """What pg_checksums finds wrong in a data directory that is shut down; empty when nothing is."""
    done = run_tool(context, "pg_checksums", major, "--check", f"--pgdata={paths.data}")
    return first_lines(done.stdout) if done.returncode else ""
