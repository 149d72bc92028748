"""Who restores in the benchmarks: our agent in the three processes of its pod, and a person with stock tools.

The person runs the script that stands in the backup's record, from the folder of a store of files itself: sha256sum,
zstd, tar, pg_verifybackup, pg_combinebackup; then PostgreSQL with the settings that our recovery had (its own file, and
a restore_command that unpacks local WAL), stops it and runs pg_checksums. `unchecked` leaves out what only checks:
sha256sum, pg_verifybackup, pg_checksums.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hack.bench.measure import Cost, run
from hack.bench.takers import ROOT, WORKERS
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import ObjectRef, Outcome, Payload, Result, Task
from pgwarden.restores.contract import RecoverTask, RestoreTask, StepReport, TargetPoint
from pgwarden.restores.paths import RestorePaths
from pgwarden.storage.layout import timeline_folder
from tests.support.postgres import as_server_user, owned_folder

MODULES = """
import pgwarden.restores.task, pgwarden.restores.recover_task
import pgwarden.storage.bucket, pgwarden.storage.claim
"""
AGENT = """
import sys
from pgwarden.jobs.agent import leave, main
sys.stdout = open(sys.argv[3], "w")
main(sys.argv[1], sys.argv[2])
leave(0)  # what became of it stands in the result
"""
UID = "7c1d1a5e-0000-4000-8000-000000000001"
WAITED = re.compile(r"the server waited ([0-9.]+) s for WAL")
REPLAYED = re.compile(r"redo done at .*elapsed: ([0-9.]+) s")
WATCH_SECONDS = 0.05


@dataclass
class Told:
    """What a restore said of itself beside its cost."""

    steps: dict[str, float] = field(default_factory=dict)
    """Seconds of each step."""
    waited_seconds: float = 0.0
    """For how long the server waited for WAL."""
    replayed_seconds: float = 0.0
    peak_bytes: int = 0
    """The most that lay on the file system of the volume, beyond what had been there."""


@contextmanager
def watched(folder: Path, told: Told) -> Iterator[None]:
    """Keeps the highest use of the file system of `folder` during the block; nobody else may write to it."""
    done = threading.Event()
    before = used(folder)

    def watch() -> None:
        while not done.wait(WATCH_SECONDS):
            told.peak_bytes = max(told.peak_bytes, used(folder) - before)

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def used(folder: Path) -> int:
    """Bytes that are taken on the file system."""
    numbers = os.statvfs(folder)
    return (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize


class Pod:
    """Restores into a folder as a restore's Job does, with the init container, the server's and the agent's."""

    def __init__(self, folder: Path, store: StoreLocation, programs: Path) -> None:
        """`programs` is the folder of PostgreSQL's; `folder` must be the pod's own."""
        self._folder = owned_folder(folder, 0o755)
        self._store = store
        self._programs = programs
        self.paths = RestorePaths(folder / "data/pgdata", folder / "scratch", UID)
        self.told: list[Told] = []
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        self._environment = {
            "PYTHONPATH": str(ROOT / "operator"),
            "PATH": f"{programs}:/usr/bin:/bin",
            **compiled,
        }
        run([sys.executable, "-c", MODULES], self._environment)

    def lay_out(self, location: str, *, latest: bool = False) -> Cost:
        """The init container alone: everything up to a verified directory that can recover."""
        for place in (self._folder / "data", self._folder / "scratch"):
            owned_folder(place)
        told = Told()
        with watched(self._folder, told):
            cost = self._run("restore", self._restore_task(location, latest=latest), told)
        self.told.append(told)
        return cost

    def restore(self, location: str) -> Cost:
        """The whole pod, to the end of the archive."""
        cost = self.lay_out(location, latest=True)
        told = self.told[-1]
        peak = Told()
        with watched(self._folder, peak), self._server() as server:
            task = RecoverTask(
                request_uid=UID, store=self._store, pgdata=str(self.paths.pgdata), shared=str(self.paths.shared)
            )
            cost += self._run("recover", task, told)
            if server.wait():
                raise RuntimeError(f"the server's container ended with {server.returncode}")
        told.waited_seconds = float(WAITED.findall((self._folder / "recover.log").read_text())[-1])
        told.replayed_seconds = float(REPLAYED.findall((self.paths.shared / "server.log").read_text())[-1])
        told.peak_bytes = max(told.peak_bytes, restored_bytes(self._folder) + peak.peak_bytes)
        return cost

    @property
    def configuration(self) -> str:
        """The settings that the last recovery had."""
        return (self._folder / "postgresql.conf").read_text()

    def forget(self) -> None:
        """Deletes what was restored; the settings stay, for a person to use the same."""
        settings = self.paths.server_config / "postgresql.conf"
        if settings.exists():
            settings.replace(self._folder / "postgresql.conf")
        for place in ("data", "scratch"):
            shutil.rmtree(self._folder / place)

    def _restore_task(self, location: str, *, latest: bool) -> RestoreTask:
        return RestoreTask(
            request_uid=UID,
            store=self._store,
            location=location,
            target=TargetPoint(latest=True) if latest else None,
            pgdata=str(self.paths.pgdata),
            shared=str(self.paths.shared),
            parallel=WORKERS,
        )

    def _run(self, name: str, payload: Payload, told: Told) -> Cost:
        task_file, result_file, log = (self._folder / f"{name}.{kind}" for kind in ("task", "result", "log"))
        task = Task(
            operation=payload.OPERATION,
            nonce="0123456789abcdef",
            object=ObjectRef(kind="RestoreRequest", namespace="shop", name="restore", uid=UID),
            payload=json.loads(payload.model_dump_json(by_alias=True)),
        )
        task_file.write_text(task.model_dump_json(by_alias=True))
        task_file.chmod(0o644)
        cost = run(as_server_user([sys.executable, "-c", AGENT, task_file, result_file, log]), self._environment)
        result = Result.model_validate_json(result_file.read_bytes())
        if result.outcome != Outcome.SUCCEEDED:
            raise RuntimeError(f"the agent did not {name}: {result.reason}: {result.message}")
        for each in result.report.get("steps", []):
            step = StepReport.model_validate(each)
            told.steps[step.name] = (step.finished - step.started).total_seconds()
        return cost

    @contextmanager
    def _server(self) -> Iterator[subprocess.Popen[bytes]]:
        """The container with the server, which waits for the agent."""
        with subprocess.Popen(
            as_server_user(["sh", self.paths.shared / "run-server.sh", self.paths.shared]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": f"{self._programs}:/usr/bin:/bin"},
        ) as server:
            try:
                yield server
            finally:
                server.terminate()


def restored_bytes(folder: Path) -> int:
    """What lies in the folder, files that are linked counted once."""
    sizes = {(status.st_dev, status.st_ino): status.st_blocks * 512 for status in map(os.lstat, folder.rglob("*"))}
    return sum(sizes.values())


class Hand:
    """A person with the commands of the record, and a store of files."""

    def __init__(self, folder: Path, stored: Path, archive: str, programs: Path) -> None:
        """`stored` is the claim's folder, `archive` that of the cluster's archive within."""
        self._folder = owned_folder(folder, 0o755)
        self._stored = stored
        self._archive = archive
        self._programs = programs

    def lay_out(self, record: BackupRecord, *, unchecked: bool = False) -> Cost:
        """Everything up to a directory that can recover."""
        return self._run(self._laid_out(record, unchecked=unchecked))

    def restore(self, record: BackupRecord, configuration: str, *, unchecked: bool = False) -> Cost:
        """The same, recovered to the end of the archive and stopped; `configuration` are our recovery's settings."""
        pgdata, settings = self._folder / "data/pgdata", self._folder / "postgresql.conf"
        wal = self._stored / timeline_folder(self._archive, record.timeline)
        object_ = f"{wal}/%f.zst"
        own = {
            "data_directory": pgdata,
            "hba_file": pgdata / "pg_hba.conf",
            "ident_file": pgdata / "pg_ident.conf",
            "unix_socket_directories": self._folder / "data",
            "restore_command": f"test -e {object_} && zstd -dqf {object_} -o %p",
        }
        settings.write_text(configuration + "".join(f"{name} = '{value}'\n" for name, value in own.items()))
        control = f"pg_ctl --wait --timeout=900 --silent --pgdata={pgdata}"
        lines = [
            *self._laid_out(record, unchecked=unchecked),
            f"touch {pgdata}/recovery.signal",
            f"rm -f {pgdata}/postgresql.auto.conf",
            f"{control} --log={self._folder}/data/log --options='-c config_file={settings}' start",
            f"{control} --mode=fast stop",
            *([] if unchecked else [f"pg_checksums --check --pgdata={pgdata} >/dev/null"]),
        ]
        return self._run(lines)

    def forget(self) -> None:
        shutil.rmtree(self._folder / "data")

    def _laid_out(self, record: BackupRecord, *, unchecked: bool) -> list[str]:
        script = self._folder / "restore.sh"
        lines = without_checks(record.restore_by_hand) if unchecked else record.restore_by_hand
        script.write_text("\n".join([*lines, ""]))
        backups = self._stored / self._archive / "backups"
        place = backups / record.backup_id if record.type == "full" else backups
        return [f"cd {shlex.quote(str(place))}", f"bash {script} {self._folder}/data/pgdata >/dev/null"]

    def _run(self, lines: list[str]) -> Cost:
        owned_folder(self._folder / "data")
        script = "\n".join(["set -euo pipefail", *lines])
        return run(as_server_user(["bash", "-c", script]), {"PATH": f"{self._programs}:/usr/bin:/bin"})


def without_checks(script: list[str]) -> list[str]:
    """The script of a record without what compares checksums."""
    lines, in_sums = [], False
    for line in script:
        if line.startswith("sha256sum "):
            in_sums = True
        elif in_sums:
            in_sums = line != "SUMS"
        elif not line.startswith("pg_verifybackup "):
            lines.append(line)
    return lines
