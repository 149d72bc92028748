"""Lets several candidates do the same in turn, round after round, and compares what it cost them.

What the machine does beside shifts from minute to minute; so everybody's runs lie between everybody else's, each round
begins with another candidate, and ratios are taken within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hack.bench.measure import Cost
from hack.bench.report import spread

Costs = Mapping[str, Sequence[Cost]]
"""Of each candidate, by its name: what each round cost."""


@dataclass(frozen=True)
class Candidate:
    """Somebody who does something that can be measured."""

    name: str
    take: Callable[[], Cost]
    forget: Callable[[], None] = lambda: None
    """Removes what `take` left behind; not measured."""


def in_turn(candidates: Sequence[Candidate], rounds: int) -> dict[str, list[Cost]]:
    """One round to warm up, then as many as asked for."""
    costs: dict[str, list[Cost]] = {candidate.name: [] for candidate in candidates}
    for turn in range(rounds + 1):
        start = turn % len(candidates)
        for candidate in [*candidates[start:], *candidates[:start]]:
            cost = candidate.take()
            candidate.forget()
            if turn:
                costs[candidate.name].append(cost)
    return costs


def seconds(costs: Sequence[Cost]) -> float:
    """The median."""
    return statistics.median(cost.seconds for cost in costs)


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost]) -> float:
    """Our time in theirs: the median of the rounds' ratios."""
    return statistics.median(our.seconds / their.seconds for our, their in zip(ours, theirs, strict=True))


def peak_mib(costs: Sequence[Cost]) -> float:
    """The highest."""
    return max(cost.peak_mib for cost in costs)


def print_table(costs: Costs, ours: str, size: int) -> None:
    """A line for each candidate; `size` is that of the data in bytes."""
    print(f"\n{size / 2**30:.2f} GiB, medians of {len(costs[ours])} rounds, and the least and most seconds")
    print(
        f"{'':28}{'seconds':>8}{'least to most':>16}{'MiB/s':>7}{'CPU s':>7}{'a GB':>6}{'machine':>8}"
        f"{'peak MiB':>9}{'disk MiB':>9}{'ours/its':>9}"
    )
    for name, taken in costs.items():
        cpu = statistics.median(cost.cpu_seconds for cost in taken)
        machine = statistics.median(cost.all_cpu_seconds for cost in taken)
        disk = max(cost.disk_bytes for cost in taken)
        print(
            f"{name:28}{seconds(taken):8.2f}{spread([cost.seconds for cost in taken]):>16}"
            f"{size / 2**20 / seconds(taken):7.0f}{cpu:7.2f}{cpu / (size / 1e9):6.2f}{machine:8.2f}"
            f"{peak_mib(taken):9.0f}{disk / 2**20:9.2f}{ratio(costs[ours], taken):9.2f}"
        )
    print("CPU s: the program and its children; machine: all processors' time meanwhile, servers included")


def as_json(costs: Costs) -> dict[str, object]:
    """Every run, for the file."""
    return {name: [asdict(cost) for cost in taken] for name, taken in costs.items()}
