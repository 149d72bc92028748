"""The agent's memory and processor time at two sizes of a database, plain and encrypted: memory must not grow.

    python hack/bench/memory.py [--gib 2 8] [--json FILE]

One full backup at each size with data that shrink about 2.4:1, into an S3 server on loopback, without encryption and
with one age recipient; server and settings are those of backup.py. The rates are of one run each: backup.py measures
speed.
Needs age beside what backup.py needs; free disk of about three times the larger size.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench import data  # noqa: E402
from hack.bench.backup import BUDGET_PEAK_MIB  # noqa: E402
from hack.bench.measure import Cost  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from hack.bench.takers import Agent  # noqa: E402
from tests.support.s3 import s3_server  # noqa: E402

BUDGET_GROWTH = 1.15
"""Peak memory at the larger size in that at the smaller one: what one run differs from another."""


@dataclass(frozen=True)
class Taken:
    """One backup."""

    encrypted: bool
    plain_bytes: int
    stored_bytes: int
    cost: Cost


def new_recipient() -> str:
    """An age recipient whose identity is thrown away."""
    made = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stdout
    return next(line for line in made.splitlines() if "public key" in line).rsplit(" ", 1)[1]


def measure(sizes: list[float]) -> list[Taken]:
    """One backup of each kind at each size, the smallest first."""
    with ExitStack() as stack:
        server, s3 = stack.enter_context(data.server()), stack.enter_context(s3_server())
        agents = {False: Agent.to_bucket(server, s3), True: Agent.to_bucket(server, s3, [new_recipient()])}
        taken, before = [], 0.0
        for gib in sorted(sizes):
            size = data.load(server, "random", gib, above=before)
            before = gib
            for encrypted, agent in agents.items():
                cost = agent.full()
                taken.append(Taken(encrypted, size, agent.stored_bytes(), cost))
                agent.forget()
        return taken


def print_table(taken: list[Taken]) -> None:
    print(
        f"\n{'':12}{'GiB':>7}{'stored':>8}{'seconds':>9}{'MiB/s':>7}{'CPU s':>8}{'a GB':>7}"
        f"{'peak MiB':>10}{'disk MiB':>10}"
    )
    for one in taken:
        cost, gib = one.cost, one.plain_bytes / 2**30
        print(
            f"{'encrypted' if one.encrypted else 'plain':12}{gib:7.2f}{one.stored_bytes / 2**30:8.2f}"
            f"{cost.seconds:9.1f}{gib * 1024 / cost.seconds:7.0f}{cost.cpu_seconds:8.1f}"
            f"{cost.cpu_seconds / (one.plain_bytes / 1e9):7.2f}{cost.peak_mib:10.0f}{cost.disk_bytes / 2**20:10.2f}"
        )


def main() -> int:
    """Prints the table; 0 when all budgets are kept."""
    arguments = parser(__doc__)
    arguments.add_argument("--gib", type=float, nargs=2, default=[2.0, 8.0], help="sizes of the data")
    chosen = arguments.parse_args()
    report = Report("memory", chosen.json)
    taken = measure(chosen.gib)
    print_table(taken)
    for encrypted, kind in ((False, "plain"), (True, "encrypted")):
        small, large = (one.cost for one in taken if one.encrypted == encrypted)
        report.judge(f"{kind}, {max(chosen.gib):g} GiB: peak memory", large.peak_mib, "MiB", at_most=BUDGET_PEAK_MIB)
        growth = large.peak_mib / small.peak_mib
        report.judge(f"{kind}: peak memory in that at {min(chosen.gib):g} GiB", growth, "", at_most=BUDGET_GROWTH)
        report.judge(f"{kind}: written to a disk by the agent", large.disk_bytes / 2**20, "MiB", at_most=1)
    return report.finish({"runs": [asdict(one) for one in taken]})


if __name__ == "__main__":
    sys.exit(main())
