"""Checks of files by PostgreSQL's own tools."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.restored import RestoredServer
from pgwarden.restores.contract import CheckResult
from pgwarden.restores.control_data import ControlData, parse_control_data
from pgwarden.restores.paths import BackupPlace, RestorePaths
from pgwarden.restores.tools import first_lines, run_tool

FIRST_WITH_SYNC_METHOD = 17
AMCHECK_JOBS = 2
ANOTHER_BACKUP = "Restore another backup; the DatabaseBackup's objects in the store are not what was written."


def verify_backup(place: BackupPlace, wal: Path | None, major: int, context: AgentContext) -> None:
    """Compares every file with the manifest, and reads the WAL from the first to the last record that is needed; none
    where `wal` is None.

    Raises TaskError with reason VerificationFailed.
    """
    options = [f"--wal-directory={wal}"] if wal is not None else ["--no-parse-wal"]
    done = run_tool(
        context, "pg_verifybackup", major, f"--manifest-path={place.manifest}", *options, "--quiet", place.data
    )
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


def find_corruption(server: RestoredServer, major: int, context: AgentContext) -> CheckResult:
    """What pg_amcheck finds in the tables and B-tree indexes of all databases; it makes the extension where it is
    missing, which only a copy that is thrown away allows.

    An index in another order than the server's collations have is found as well.
    """
    done = run_tool(
        context,
        "pg_amcheck",
        major,
        "--all",
        "--install-missing",
        "--no-password",
        f"--maintenance-db={server.database}",
        f"--jobs={AMCHECK_JOBS}",
        variables=server.variables(),
    )
    detail = first_lines(done.stdout) if done.returncode else "tables and B-tree indexes of all databases are sound"
    return CheckResult(name="amcheck", passed=not done.returncode, detail=detail, built_in=True)
