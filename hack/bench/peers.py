"""Other people's backup programs, as Debian 13 packages them, set up to do what our agent does as alike as they can.

  pgBackRest  reads the files of the data folder itself, with as many processes as zstd has workers elsewhere; into a
              repository in a folder; WAL is neither archived nor waited for, which is less than the others do
  Barman      backup_method = postgres: runs pg_basebackup with the options of `takers.BaseBackup`, into a folder; its
              own `receive-wal` runs all the time, as it refuses to back up without
Repositories lie in memory where there is room, so that no disk and no fsync decides.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from hack.bench.measure import Cost, run
from hack.bench.takers import LEVEL, WORKERS
from tests.support.debian import unpacked
from tests.support.postgres import (
    HOST,
    SUPERUSER,
    SUPERUSER_PASSWORD,
    UNPRIVILEGED,
    PostgresServer,
    as_server_user,
    child_processes,
    give_to_server_user,
    owned_folder,
    run_as_server_user,
    wait_until,
)

NAME = "bench"
PYTHON = "usr/bin/python3.13"
PGBACKREST = """\
[global]
repo1-path={repository}
log-path={folder}/log
lock-path={folder}/lock
log-level-file=off
log-level-console=warn
process-max={workers}
compress-type=zst
compress-level={level}
start-fast=y
archive-check=n
[{name}]
pg1-path={data}
pg1-port={port}
pg1-socket-path={socket}
pg1-user={user}
"""
BARMAN = """\
[barman]
barman_user = {unprivileged}
barman_home = {folder}
barman_lock_directory = {folder}
log_file = {folder}/log
log_level = INFO
configuration_files_directory = {folder}/servers
path_prefix = {programs}
[{name}]
description = benchmark
conninfo = {conninfo}
streaming_conninfo = {conninfo}
backup_directory = {repository}
backup_method = postgres
backup_compression = zstd
backup_compression_format = tar
backup_compression_location = client
backup_compression_level = {level}
backup_compression_workers = {workers}
immediate_checkpoint = true
archiver = off
streaming_archiver = on
slot_name = barman
create_slot = auto
"""


@cache
def peers() -> Path:
    """The folder with both programs."""
    return unpacked("backup-peers", ["pgbackrest", "barman"], ["usr/bin/pgbackrest", PYTHON], compiled)


def compiled(tree: Path) -> None:
    """Compiles Python's modules as an installation of the packages would have: else each start would."""
    libraries = [tree / "usr/lib/python3/dist-packages", tree / "usr/lib/python3.13"]
    subprocess.run([tree / PYTHON, "-m", "compileall", "-q", *libraries], check=True, capture_output=True)


class PgBackRest:
    """One stanza in a repository of its own."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._folder = owned_folder(folder / "pgbackrest", 0o755)
        self._repository = self._folder / "repository"
        self._environment = {"PGPASSWORD": SUPERUSER_PASSWORD}
        self._configuration = self._folder / "pgbackrest.conf"
        self._configuration.write_text(
            PGBACKREST.format(
                repository=self._repository,
                folder=self._folder,
                name=NAME,
                level=LEVEL,
                workers=WORKERS,
                data=server.data,
                port=server.port,
                socket=server.socket_folder,
                user=SUPERUSER,
            )
        )
        self.forget()

    def full(self) -> Cost:
        return self._take("full")

    def incremental(self) -> Cost:
        """On the last backup: files that were touched, whole."""
        return self._take("incr")

    def restore(self, label: str, target: Path) -> Cost:
        """Restores the backup of that label into `target`, which is empty; every file compared with its checksum."""
        command = [*self._command("restore"), f"--set={label}", f"--pg1-path={target}", "--type=none"]
        return run(as_server_user(command), self._environment)

    def newest(self) -> str:
        """Label of the last backup."""
        told = run_as_server_user([*self._command("info"), "--output=json"], environment=self._environment)
        return str(json.loads(told)[0]["backup"][-1]["label"])

    def forget(self) -> None:
        """Begins the repository anew."""
        shutil.rmtree(self._repository, ignore_errors=True)
        owned_folder(self._repository)
        run_as_server_user(self._command("stanza-create"), environment=self._environment)

    def _take(self, kind: str) -> Cost:
        return run(as_server_user([*self._command("backup"), f"--type={kind}"]), self._environment)

    def _command(self, verb: str) -> list[str | Path]:
        return [peers() / "usr/bin/pgbackrest", f"--config={self._configuration}", f"--stanza={NAME}", verb]


class Barman:
    """One server in a home of its own; its receiver of WAL has to run."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = owned_folder(folder / "barman")
        self._repository = owned_folder(self._folder / NAME)
        owned_folder(self._folder / "servers")
        password_file = self._folder / "pgpass"
        password_file.write_text(f"*:*:*:{SUPERUSER}:{SUPERUSER_PASSWORD}\n")
        password_file.chmod(0o600)
        self._configuration = self._folder / "barman.conf"
        self._configuration.write_text(
            BARMAN.format(
                unprivileged=UNPRIVILEGED,
                folder=self._folder,
                programs=server.bin,
                name=NAME,
                conninfo=f"host={HOST} port={server.port} user={SUPERUSER} dbname=postgres passfile={password_file}",
                repository=self._repository,
                level=LEVEL,
                workers=WORKERS,
            )
        )
        give_to_server_user(self._folder)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Receives WAL for the length of the block, and has archived its first segment when the block begins."""
        self._run("receive-wal", "--create-slot", NAME)
        with subprocess.Popen(
            as_server_user(self._command("receive-wal", NAME)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, **self._environment},
        ) as receiver:
            try:
                wait_until(lambda: child_processes(receiver.pid), "barman receive-wal did not start pg_receivewal")
                self._run("switch-wal", "--force", NAME)
                # A segment is finished when the first record of the next one has come.
                self._server.execute("CHECKPOINT")
                wait_until(self._has_archived, "barman archived no WAL")
                yield
            finally:
                children = child_processes(receiver.pid)
                receiver.terminate()
                receiver.wait()
                wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "it did not end")

    def full(self) -> Cost:
        return run(as_server_user(self._command("backup", NAME)), self._environment)

    def forget(self) -> None:
        """Deletes all but the last backup: with that WAL would go, and without WAL Barman refuses to back up."""
        for _ in list((self._repository / "base").iterdir())[1:]:
            self._run("delete", NAME, "oldest")

    def _has_archived(self) -> bool:
        self._run("archive-wal", NAME)
        return any(file.stat().st_size for file in (self._repository / "wals").glob("*/*"))

    @property
    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def _run(self, *arguments: str) -> None:
        run_as_server_user(self._command(*arguments), environment=self._environment)

    def _command(self, *arguments: str) -> list[str | Path]:
        return [peers() / PYTHON, peers() / "usr/bin/barman", "--config", self._configuration, *arguments]
