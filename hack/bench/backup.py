"""Full backup beside pg_basebackup, pgBackRest and Barman: same data, same server, same compression, in turn.

    python hack/bench/backup.py [--data pgbench|random] [--gib 2] [--rounds 5] [--json FILE]

All back up one PostgreSQL 17 on loopback, whose data are in the page cache, with zstd at level 3 in two threads or
processes, after a fast checkpoint, and verify page checksums:
  pgwarden                    the agent, from its start to its end, into an S3 server on loopback with TLS
  pgwarden, to a claim        the same into a folder, as the peers write
  pg_basebackup               --compress=client-zstd:level=3,workers=2 --wal-method=fetch, SHA-256 manifest, to files
  pg_basebackup, and upload   the same, and then its files put into the same S3 server
  pgBackRest                  process-max=2, compress-type=zst, into a repository of files, without WAL
  Barman                      backup_method=postgres, which runs pg_basebackup as above
The peers' files lie in memory (/dev/shm) where there is room; the S3 server writes to a disk, and nobody waits for it.
The S3 server takes its processor time from the same machine, nobody does so for those who write files: the column
`machine` tells how much all of it was. `random` are data that shrink about 2.4:1.
Needs versitygw (see tests/support/s3.py), mmdebstrap and patchelf (hack/test-packages.sh); Debian's packages of
PostgreSQL, pgBackRest and Barman are unpacked below the cache folder by themselves.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench import data  # noqa: E402
from hack.bench.peers import Barman, PgBackRest  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from hack.bench.takers import Agent, BaseBackup  # noqa: E402
from hack.bench.turns import Candidate, Costs, as_json, in_turn, peak_mib, print_table, ratio  # noqa: E402
from tests.support.s3 import s3_server  # noqa: E402

OURS, CLAIM, BASE_BACKUP, UPLOADED, PGBACKREST, BARMAN = (
    "pgwarden",
    "pgwarden, to a claim",
    "pg_basebackup",
    "pg_basebackup, and upload",
    "pgBackRest",
    "Barman",
)
BUDGETS = {UPLOADED: (OURS, 1.10), BASE_BACKUP: (CLAIM, 1.10), PGBACKREST: (CLAIM, 1.0)}
"""Who of us is compared with each peer, like with like: S3 with S3, files with files; and the most of its time.

Barman is shown and not judged: it cannot ask for a manifest with SHA-256, which is half of the server's work."""
BUDGET_PEAK_MIB = 256
MEMORY = Path("/dev/shm")


@contextmanager
def folder_for(size: int) -> Iterator[Path]:
    """An empty folder for about `size` bytes: in memory, or on a disk where that has no room."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * size
    with tempfile.TemporaryDirectory(prefix="pgw-bench-", dir=MEMORY if roomy else None) as name:
        Path(name).chmod(0o755)
        print(f"peers write to {'memory' if roomy else 'a disk'}, the S3 server to a disk", flush=True)
        yield Path(name)


def measure(kind: str, gib: float, rounds: int) -> tuple[Costs, int]:
    """What each round cost each candidate, and the size of the data."""
    with ExitStack() as stack:
        server, s3 = stack.enter_context(data.server()), stack.enter_context(s3_server())
        size = data.load(server, kind, gib)
        folder = stack.enter_context(folder_for(size))
        agent, claim = Agent.to_bucket(server, s3), Agent.to_claim(server, folder)
        files = BaseBackup(server, folder)
        pgbackrest, barman = PgBackRest(server, folder), Barman(server, folder)
        stack.enter_context(barman.receiving())

        def forget_files_and_objects() -> None:
            files.forget()
            agent.forget()

        candidates = [
            Candidate(OURS, agent.full, agent.forget),
            Candidate(CLAIM, claim.full, claim.forget),
            Candidate(BASE_BACKUP, files.full, files.forget),
            Candidate(UPLOADED, lambda: files.full_into(s3), forget_files_and_objects),
            Candidate(PGBACKREST, pgbackrest.full, pgbackrest.forget),
            Candidate(BARMAN, barman.full, barman.forget),
        ]
        return in_turn(candidates, rounds), size


def main() -> int:
    """Prints the table; 0 when all budgets are kept."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", choices=data.KINDS, default="pgbench")
    arguments.add_argument("--gib", type=float, default=2.0, help="size of the data")
    arguments.add_argument("--rounds", type=int, default=5, help="beside one to warm up")
    chosen = arguments.parse_args()
    report = Report("backup", chosen.json)
    costs, size = measure(chosen.data, chosen.gib, chosen.rounds)
    print_table(costs, OURS, size)
    for peer, (which, most) in BUDGETS.items():
        label = f"full of {chosen.data} data: time of {which} in that of {peer}"
        report.judge(label, ratio(costs[which], costs[peer]), "", at_most=most)
    ours = costs[OURS]
    report.judge(f"full of {chosen.data} data: peak memory", peak_mib(ours), "MiB", at_most=BUDGET_PEAK_MIB)
    staged = max(cost.disk_bytes for cost in ours) / 2**20
    report.judge(f"full of {chosen.data} data: written to a disk by the agent", staged, "MiB", at_most=1)
    return report.finish({"data": chosen.data, "bytes": size, "runs": as_json(costs)})


if __name__ == "__main__":
    sys.exit(main())
