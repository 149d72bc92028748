"""Who takes backups in the benchmarks: our agent, and pg_basebackup with the same compression.

Each is a process of its own, from its start to its end, and asks for a fast checkpoint.
"""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from pathlib import Path

from hack.bench.measure import Cost, machine_cpu_seconds, run
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.jobs.task import Outcome, Result
from pgwarden.storage.store import open_store
from tests.support.backups import backup_task, envelope, new_backup_id
from tests.support.postgres import PostgresServer
from tests.support.s3 import BUCKET, S3Server

ROOT = Path(__file__).resolve().parents[2]
LEVEL, WORKERS = 3, 2
"""Of zstd, for everybody."""
MODULES = "import pgwarden.backups.task, pgwarden.storage.bucket, pgwarden.storage.claim"
AGENT = "import sys; from pgwarden.jobs.agent import leave, main; leave(main(sys.argv[1], sys.argv[2]))"


class Agent:
    """Backups into an S3 server on loopback, with TLS and every part signed with its hash, or into a claim."""

    def __init__(self, server: PostgresServer, folder: Path, store: StoreLocation, stored: Path) -> None:
        """`stored` is the folder in which the store's objects are found; `folder` is for the task's files."""
        self._server = server
        self._folder = folder
        self.store = store
        self._stored = stored
        # In the image all modules are compiled; here they are by whoever imports them first.
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        self._environment = {"PYTHONPATH": str(ROOT / "operator"), **compiled}
        run([sys.executable, "-c", MODULES], self._environment)

    @classmethod
    def to_bucket(cls, server: PostgresServer, s3: S3Server, recipients: list[str] | None = None) -> Agent:
        return cls(server, s3.folder, s3.location(recipients=recipients), s3.data / BUCKET)

    @classmethod
    def to_claim(cls, server: PostgresServer, folder: Path) -> Agent:
        stored = folder / "claim"
        stored.mkdir()
        return cls(server, folder, StoreLocation(claim=ClaimLocation(path=str(stored))), stored)

    def full(self) -> Cost:
        return self._take(type="full")

    def incremental(self) -> Cost:
        """On the newest full."""
        return self._take(type="incremental", backup_id=new_backup_id().replace("full-", "bench-incr-"))

    def stored_bytes(self) -> int:
        """What lies in the store."""
        return sum(file.stat().st_size for file in self._stored.rglob("*") if file.is_file())

    def forget(self) -> None:
        """Empties the store."""
        for path in self._stored.iterdir():
            if not path.name.startswith("."):
                shutil.rmtree(path)

    def _take(self, **changes: object) -> Cost:
        task = backup_task(
            self._server.address(), self.store, compression_level=LEVEL, compression_threads=WORKERS, **changes
        )
        task_file, result_file = self._folder / "task.json", self._folder / "result.json"
        task_file.write_text(envelope(task).model_dump_json(by_alias=True))
        cost = run([sys.executable, "-c", AGENT, task_file, result_file], self._environment)
        result = Result.model_validate_json(result_file.read_bytes())
        if result.outcome != Outcome.SUCCEEDED:
            raise RuntimeError(f"the agent took no backup: {result.reason}: {result.message}")
        return cost


class BaseBackup:
    """pg_basebackup: tar, the WAL it needs inside, a manifest with SHA-256, nothing synced."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._full, self._incremental = folder / "full", folder / "incremental"

    def full(self) -> Cost:
        return self._take(self._full)

    def incremental(self) -> Cost:
        """On the last full."""
        return self._take(self._incremental, f"--incremental={self._full / 'backup_manifest'}")

    def full_into(self, s3: S3Server) -> Cost:
        """A full, and then its files put into an S3 server, as somebody would who has no other means."""
        cost = self.full()
        store = open_store(s3.location(prefix=f"basebackup-{time.monotonic_ns()}"))
        busy, started, own = machine_cpu_seconds(), time.monotonic(), time.process_time()
        for file in self._full.iterdir():
            with file.open("rb") as opened:
                store.put_stream(file.name, iter(partial(opened.read, 1 << 20), b""))
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - own
        return cost + Cost(seconds, cpu_seconds, machine_cpu_seconds() - busy, 0, 0)

    def forget(self) -> None:
        for folder in (self._full, self._incremental):
            shutil.rmtree(folder, ignore_errors=True)

    def _take(self, target: Path, *options: str) -> Cost:
        return run(
            [
                self._server.bin / "pg_basebackup",
                f"--pgdata={target}",
                "--format=tar",
                f"--compress=client-zstd:level={LEVEL},workers={WORKERS}",
                "--checkpoint=fast",
                "--wal-method=fetch",
                "--manifest-checksums=SHA256",
                "--no-sync",
                *options,
            ],
            self._server.environment(),
        )
