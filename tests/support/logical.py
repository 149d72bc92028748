"""Takes logical backups as an agent does, and loads them by hand, with the commands that stand in their records."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
from pathlib import Path

from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import ArchiveIdentity, StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Outcome, Result, Task
from pgwarden.logical.contract import LogicalBackupReport, LogicalBackupTask
from pgwarden.logical.record import LogicalRecord, read_logical_record
from pgwarden.storage import layout
from pgwarden.storage.store import open_store

from .backups import NONCE
from .postgres import PostgresServer, bin_dir

IDENTITY = ArchiveIdentity(namespace="shop", cluster="operational", cluster_uid="7b0c2f5e-uid")

_numbers = itertools.count(1)


def logical_task(server: PostgresServer, store: StoreLocation, folder: Path, **changes: object) -> LogicalBackupTask:
    """A task with an id of its own; `folder` takes the private and the scratch volume, `changes` replace fields."""
    private, scratch = folder / "private", folder / "scratch"
    private.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(exist_ok=True)
    values: dict[str, object] = {
        "backup_id": f"logical-{os.getpid()}-{next(_numbers)}",
        "archive": IDENTITY,
        "database": server.address(),
        "store": store,
        "private_folder": str(private),
        "scratch_folder": str(scratch),
    }
    return LogicalBackupTask.model_validate(values | changes)


def envelope(payload: LogicalBackupTask) -> Task:
    """The whole task, as it stands in a Job's annotation."""
    return Task(
        operation=Operation.LOGICAL_BACKUP,
        nonce=NONCE,
        object=ObjectRef(kind="DatabaseBackup", namespace="shop", name="nightly", uid="1"),
        attempt=payload.attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )


def run_logical(payload: LogicalBackupTask, context: AgentContext | None = None) -> Result:
    """Runs the task inside this process, with the agent's own frame around it."""
    task = envelope(payload)
    return perform(task, context or AgentContext(task, output=io.StringIO()))


def take_logical(payload: LogicalBackupTask) -> tuple[LogicalBackupReport, LogicalRecord]:
    """Takes a backup that has to succeed; its report and the record that stands in the store."""
    result = run_logical(payload)
    assert result.outcome == Outcome.SUCCEEDED, f"{result.reason}: {result.message}"
    report = LogicalBackupReport.model_validate(result.report)
    path = layout.record_file(report.location)
    return report, read_logical_record(open_store(payload.store).read_small(path), path)


def load_by_hand(
    record: LogicalRecord, files: Path, target: PostgresServer, *databases: str, identity: Path | None = None
) -> str:
    """Runs the record's script in `files`, the backup's folder on a disk; what it printed. Raises RuntimeError."""
    script = files / "restore.sh"
    script.write_text("\n".join(record.restore_by_hand) + "\n")
    arguments = ["bash", str(script), *([str(identity)] if identity else []), *databases]
    tools = f"{bin_dir(target.major)}:{os.environ['PATH']}"
    environment = {**os.environ, **target.environment(), "PATH": tools}
    environment.pop("PGDATABASE")
    done = subprocess.run(arguments, cwd=files, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"the script ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
