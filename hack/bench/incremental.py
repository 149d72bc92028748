"""Incremental backups after light writes on few large tables, beside pg_basebackup's and pgBackRest's.

    python hack/bench/incremental.py [--data pgbench|random] [--gib 2] [--rounds 3] [--json FILE]

Each round: everybody takes a full, one row in 20,000 is changed (each on a page of its own, all over the tables), and
everybody takes an incremental on that full. Server, stores and settings are those of backup.py; PostgreSQL's own
incrementals hold the pages that changed, pgBackRest's the files of 1 GiB that were touched.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench import data  # noqa: E402
from hack.bench.backup import BASE_BACKUP, OURS, PGBACKREST, folder_for  # noqa: E402
from hack.bench.measure import Cost  # noqa: E402
from hack.bench.peers import PgBackRest  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from hack.bench.takers import Agent, BaseBackup  # noqa: E402
from hack.bench.turns import as_json, print_table, ratio  # noqa: E402
from tests.support.s3 import s3_server  # noqa: E402

BUDGET_SHARE = 0.15
"""An incremental's time in that of the full."""

Rounds = dict[str, list[Cost]]


def measure(kind: str, gib: float, rounds: int) -> tuple[Rounds, Rounds, int]:
    """What fulls and incrementals cost, and the size of the data."""
    with ExitStack() as stack:
        server, s3 = stack.enter_context(data.server()), stack.enter_context(s3_server())
        size = data.load(server, kind, gib)
        folder = stack.enter_context(folder_for(size))
        takers: dict[str, Agent | BaseBackup | PgBackRest] = {
            OURS: Agent.to_bucket(server, s3),
            BASE_BACKUP: BaseBackup(server, folder),
            PGBACKREST: PgBackRest(server, folder),
        }
        fulls: Rounds = {name: [] for name in takers}
        incrementals: Rounds = {name: [] for name in takers}
        for turn in range(rounds + 1):
            for name, taker in takers.items():
                fulls[name].append(taker.full())
            data.write_lightly(server, kind)
            for name, taker in takers.items():
                incrementals[name].append(taker.incremental())
                taker.forget()
            if turn == 0:
                for costs in (*fulls.values(), *incrementals.values()):
                    costs.clear()
        return fulls, incrementals, size


def main() -> int:
    """Prints the table; 0 when the budget is kept."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", choices=data.KINDS, default="random")
    arguments.add_argument("--gib", type=float, default=2.0, help="size of the data")
    arguments.add_argument("--rounds", type=int, default=3, help="beside one to warm up")
    chosen = arguments.parse_args()
    report = Report("incremental", chosen.json)
    fulls, incrementals, size = measure(chosen.data, chosen.gib, chosen.rounds)
    print("\nfulls")
    print_table(fulls, OURS, size)
    print("\nincrementals")
    print_table(incrementals, OURS, size)
    for name in fulls:
        print(f"{name:28} an incremental takes {ratio(incrementals[name], fulls[name]):.2f} of its full's time")
    share = ratio(incrementals[OURS], fulls[OURS])
    report.judge(f"incremental of {chosen.data} data: its time in the full's", share, "", at_most=BUDGET_SHARE)
    told = {"fulls": as_json(fulls), "incrementals": as_json(incrementals)}
    return report.finish({"data": chosen.data, "bytes": size, **told})


if __name__ == "__main__":
    sys.exit(main())
