"""Takes backups as an agent does, and restores them by hand, with the commands that stand in their records."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgwarden.backups.contract import BackupReport, BackupTask
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import ArchiveIdentity, DatabaseAddress, StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Outcome, Result, Task
from pgwarden.storage import layout
from pgwarden.storage.store import open_store

from .postgres import PostgresServer, as_server_user, free_port, give_to_server_user, new_folder, owned_folder

NONCE = "0123456789abcdef"
IDENTITY = ArchiveIdentity(namespace="shop", cluster="operational", cluster_uid="7b0c2f5e-uid")

_numbers = itertools.count(1)


def new_backup_id() -> str:
    """An id that no other test uses."""
    return f"full-{os.getpid()}-{next(_numbers):06d}"


def backup_task(address: DatabaseAddress, store: StoreLocation, **changes: object) -> BackupTask:
    """A task with an id of its own; `changes` replace fields of it."""
    task = BackupTask(backup_id=new_backup_id(), archive=IDENTITY, database=address, store=store)
    return task.model_copy(update=changes)


def envelope(payload: BackupTask) -> Task:
    """The whole task, as it stands in a Job's annotation."""
    return Task(
        operation=Operation.BACKUP,
        nonce=NONCE,
        object=ObjectRef(kind="DatabaseBackup", namespace="shop", name="nightly", uid="1"),
        attempt=payload.attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )


def run_backup(payload: BackupTask, context: AgentContext | None = None) -> Result:
    """Runs the task inside this process, with the agent's own frame around it."""
    task = envelope(payload)
    return perform(task, context or AgentContext(task, output=io.StringIO()))


def take_backup(address: DatabaseAddress, store: StoreLocation, **changes: object) -> tuple[BackupReport, BackupRecord]:
    """Takes a backup that has to succeed; its report and the record that stands in the store."""
    result = run_backup(backup_task(address, store, **changes))
    assert result.outcome == Outcome.SUCCEEDED, f"{result.reason}: {result.message}"
    report = BackupReport.model_validate(result.report)
    return report, stored_record(store, report.location)


def stored_record(store: StoreLocation, location: str) -> BackupRecord:
    """backup.json at `location`."""
    path = layout.record_file(location)
    return read_record(open_store(store).read_small(path), path)


@contextmanager
def restored_by_hand(
    record: BackupRecord, files: Path, major: int, *, identity: Path | None = None, programs: Path | None = None
) -> Iterator[PostgresServer]:
    """A server started on what the record's own script restored out of `files`: the backup's folder on a disk, or for
    an incremental the one that holds those of its chain."""
    folder = new_folder()
    server = PostgresServer(major, folder, free_port(), programs=programs)
    try:
        restore_by_hand(record, files, server, identity=identity)
        owned_folder(server.socket_folder)
        server.configure({})
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)


def restore_by_hand(record: BackupRecord, files: Path, server: PostgresServer, *, identity: Path | None = None) -> None:
    """Runs the record's script as the server's user; raises RuntimeError with what it said."""
    owned_folder(server.folder / "pg")
    backup = server.folder / "backup"
    shutil.copytree(files, backup)
    give_to_server_user(backup)
    script = backup / "restore.sh"
    script.write_text("\n".join(record.restore_by_hand) + "\n")
    arguments: list[str | Path] = ["bash", script, server.data]
    if identity is not None:
        own = backup / "identity"
        shutil.copy(identity, own)
        give_to_server_user(own)
        arguments.append(own)
    done = subprocess.run(
        as_server_user(arguments),
        cwd=backup,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{server.bin}:{os.environ['PATH']}"},
    )
    if done.returncode:
        raise RuntimeError(f"the script ended with {done.returncode}: {done.stdout}{done.stderr}")


def download_chain(store: StoreLocation, record: BackupRecord, location: str, folder: Path) -> Path:
    """Copies all backups that a restore of `record` needs, each into a folder of its own."""
    parent = location.rsplit("/", 1)[0]
    for backup_id in (*record.chain, record.backup_id):
        download(store, f"{parent}/{backup_id}", folder / backup_id)
    return folder


def download(store: StoreLocation, location: str, folder: Path) -> Path:
    """Copies the backup at `location` out of the store as it lies there, as any S3 tool would."""
    source = open_store(store)
    for info in source.list(location):
        target = folder / Path(info.path).relative_to(location)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(source.read(info.path)))
    return folder
