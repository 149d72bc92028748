"""Dumps one database into the store: pg_dump -> cut -> zstd -> age -> objects."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from pgwarden.backups.record import DatabaseFacts, Extension, StoredObject
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_run import ToolFailed, ToolRun
from pgwarden.jobs.tools import environment
from pgwarden.logical.contract import LogicalBackupTask
from pgwarden.logical.pieces import Pieces
from pgwarden.logical.record import DatabaseDump, DumpFormat
from pgwarden.logical.selection import dump_options
from pgwarden.logical.trouble import dump_failed
from pgwarden.postgres.client_files import ClientFiles
from pgwarden.postgres.databases import ServerDatabase
from pgwarden.postgres.snapshot import Blockers, Snapshot, exported_snapshot
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.pipes import ByteSink, chunks_written_by
from pgwarden.storage.store import Store

OPERATION = "logical-backup"
LOOK_SECONDS = 1.0
"""How often it is asked who holds up the dump."""
FOLDERS_OWN_PACKING = 1
"""zstd level around the directory format, whose files pg_dump has compressed already."""


@dataclass(frozen=True)
class Tools:
    """Programs of the server's major version, and how they connect."""

    pg_dump: Path
    files: ClientFiles
    application_name: str
    """Of their sessions."""

    def environment(self) -> dict[str, str]:
        return {**environment(), **self.files.environment()}


@dataclass(frozen=True)
class Place:
    """Where the objects of this attempt go, and how they are packed."""

    store: Store
    location: str
    attempt: str
    packing: Packing

    def write(self, name: str, plain: Iterable[bytes], at_most: int, *, packing: Packing | None = None) -> StoredObject:
        """Creates one object of the backup."""
        suffix = layout.AGE_SUFFIX if self.packing.recipients else ""
        path = layout.join(self.attempt, f"{name}{suffix}")
        target = layout.join(self.location, path)
        written = write_object(self.store, target, plain, packing or self.packing, plain_at_most=at_most)
        return StoredObject(
            path=path,
            plain_bytes=written.plain_bytes,
            plain_sha256=written.plain_sha256,
            stored_bytes=written.stored_bytes,
            stored_sha256=written.stored_sha256,
        )


class Watch:
    """Looks after a dump while it runs: told to stop, how far, and who is in the way."""

    def __init__(self, context: AgentContext, blockers: Blockers, snapshot: Snapshot, what: str, share: Share) -> None:
        self._context = context
        self._blockers = blockers
        self._snapshot = snapshot
        self._what = what
        self._share = share
        self._next_look = time.monotonic() + LOOK_SECONDS

    def tick(self, run: ToolRun, *, folder: Path | None = None) -> None:
        """Raises Stopped."""
        self._context.check_stop()
        if time.monotonic() < self._next_look:
            return
        self._blockers.look()
        received = run.received if folder is None else sum(each.stat().st_size for each in folder.glob("*"))
        done = self._share.done(received, self._snapshot.bytes)
        detail = f"{self._what}: table {run.tables} of {self._snapshot.relations}"
        self._context.progress("dumping", done, self._share.total, detail=detail)
        self._next_look = time.monotonic() + LOOK_SECONDS


@dataclass(frozen=True)
class Share:
    """The part of the whole work that one database is, in bytes of databases as they lie on the server's disk."""

    before: int
    own: int
    total: int

    def done(self, received: int, expected: int) -> int:
        """How much of the whole is done once `received` of about `expected` bytes are there."""
        return min(self.total - 1, self.before + (self.own * min(received, expected) // expected if expected else 0))


def dump_database(
    task: LogicalBackupTask,
    database: ServerDatabase,
    number: int,
    tools: Tools,
    place: Place,
    context: AgentContext,
    share: Share,
) -> DatabaseDump:
    """Dumps one database; its objects are in the store afterwards.

    Raises TaskError: what connections and stores raise, and the reasons of `pgwarden.logical.trouble`.
    """
    began = time.monotonic()
    blockers = Blockers(task.database, OPERATION, database.name, tools.application_name)
    try:
        with exported_snapshot(task.database, OPERATION, database.name) as snapshot:
            watch = Watch(context, blockers, snapshot, f"database {database.name}", share)
            command = dump_command(task, database.name, snapshot, tools)
            dump = _by_folder if task.directory_format else _streamed
            try:
                tables, objects = dump(task, command, tools, place, f"{number:04d}", watch)
            except ToolFailed as error:
                raise dump_failed("pg_dump", database.name, error.said, blockers.last) from error
    finally:
        blockers.close()
    return DatabaseDump(
        **{name: getattr(database, name) for name in DatabaseFacts.model_fields},
        owner=database.owner,
        extensions=[Extension(name=name, version=version) for name, version in snapshot.extensions],
        snapshot_time=snapshot.time,
        snapshot_lsn=snapshot.lsn,
        relations=tables,
        duration_seconds=round(time.monotonic() - began, 3),
        format=DumpFormat.DIRECTORY if task.directory_format else DumpFormat.CUSTOM,
        objects=objects,
    )


def dump_command(task: LogicalBackupTask, database: str, snapshot: Snapshot, tools: Tools) -> list[str]:
    """pg_dump with all but format and target; where to connect stands in files."""
    return [
        str(tools.pg_dump),
        f"--dbname={tools.files.connection(database)}",
        f"--snapshot={snapshot.name}",
        f"--lock-wait-timeout={task.lock_timeout_seconds * 1000}",
        "--no-password",
        "--verbose",
        *dump_options(task),
    ]


def _streamed(
    task: LogicalBackupTask, command: Sequence[str], tools: Tools, place: Place, name: str, watch: Watch
) -> tuple[int, list[StoredObject]]:
    """Custom format, not compressed by pg_dump: our own threads do that while it reads."""
    objects: list[StoredObject] = []
    with ToolRun([*command, "--format=custom", "--compress=0"], tools.environment(), watch.tick) as run:
        for piece in Pieces(run.chunks(), task.object_bytes):
            objects.append(place.write(f"{name}.dump.zst.{len(objects):05d}", piece, task.object_bytes))
    return run.tables, objects


def _by_folder(
    task: LogicalBackupTask, command: Sequence[str], tools: Tools, place: Place, name: str, watch: Watch
) -> tuple[int, list[StoredObject]]:
    """Directory format on the scratch volume, then as a tar archive into the store."""
    folder = Path(task.scratch_folder, f"{place.attempt}-{name}")
    how = ["--format=directory", f"--jobs={task.parallel}", f"--compress={own_compression(tools)}", f"--file={folder}"]
    try:
        with ToolRun([*command, *how], tools.environment(), partial(watch.tick, folder=folder)) as run:
            run.finish()
        objects: list[StoredObject] = []
        light = Packing(FOLDERS_OWN_PACKING, place.packing.threads, place.packing.recipients)
        for piece in Pieces(archived(folder), task.object_bytes):
            title = f"{name}.dir.tar.zst.{len(objects):05d}"
            objects.append(place.write(title, piece, task.object_bytes, packing=light))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return run.tables, objects


def archived(folder: Path) -> Iterator[bytes]:
    """The files of a folder as a tar archive, in order of their names."""

    def write(sink: ByteSink) -> None:
        file = cast(IO[bytes], sink)  # only write() is used of it
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for each in sorted(folder.iterdir()):
                archive.add(each, each.name)

    return chunks_written_by(write)


def own_compression(tools: Tools) -> str:
    """How pg_dump compresses the files of the directory format: zstd where it was built with that, else light gzip.

    It checks the method before it connects, so that asking it without a database tells.
    """
    asked = [str(tools.pg_dump), "--compress=zstd:3", "--format=custom", "--host=/nonexistent", "--no-password"]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment(), check=False)
    return "gzip:1" if "compress" in done.stderr else "zstd:3"


def dump_globals(
    task: LogicalBackupTask, pg_dumpall: Path, tools: Tools, place: Place, context: AgentContext
) -> StoredObject:
    """The SQL of roles and tablespaces. Raises TaskError as `dump_database` does."""
    command = [
        str(pg_dumpall),
        "--globals-only",
        f"--dbname={tools.files.connection(task.database.database)}",
        f"--database={task.database.database}",
        "--no-password",
        *([] if task.password_hashes else ["--no-role-passwords"]),
    ]
    with ToolRun(command, tools.environment(), lambda _run: context.check_stop()) as run:
        try:
            return place.write("globals.sql.zst", run.chunks(), task.object_bytes)
        except ToolFailed as error:
            failed = dump_failed("pg_dumpall", task.database.database, error.said, ())
            if task.password_hashes and failed.reason == "DumpNotPermitted":
                raise TaskError(
                    "PasswordHashesNotPermitted",
                    failed.message,
                    remedy="A superuser or a member of pg_read_all_data may read them, on some services nobody: "
                    "leave passwordHashes out of the DatabaseBackup.",
                ) from error
            raise failed from error
