"""Whatever backups come to and whatever the clock does: one at a time, none twice, none lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import plan
from pgwarden.policies.runs import Run, RunType, unfinished
from pgwarden.policies.turns import Turn
from tests.support.objects import NOW
from tests.unit.policies import two_clocks
from tests.unit.policies.bodies import after, policy
from tests.unit.policies.two_clocks import DAY, ENDS, Moment, allowed_wait, longest_wait

STEP = st.sampled_from([timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=5)])
JUMP = st.sampled_from(
    [timedelta(), timedelta(), timedelta(), -timedelta(minutes=30), -DAY / 2, -3 * DAY, DAY, 9 * DAY]
)
CRASH = st.sampled_from([False, False, False, True])


@dataclass
class World(two_clocks.World):
    runs: list[Run] = field(default_factory=list)
    really: dict[str, datetime] = field(default_factory=dict)
    """Name -> when it was truly begun."""

    def look(self, *, crash: bool = False) -> None:
        result = plan(self.policy, ObservedPolicy(runs=self.runs), self.now)
        for turn in result.backups:
            self.check_not_twice(turn)
            self.runs.append(Run(name=turn.name, type=turn.type, made=self.now, reason="BackingUp"))
            self.really[turn.name] = self.true
        if not crash:
            self.policy = after(result, self.policy)
            gone = set(result.forget)
            self.runs = [run for run in self.runs if run.name not in gone]
        assert len(unfinished(self.runs, physical=True)) <= 1
        assert len(unfinished(self.runs, physical=False)) <= 1

    def check_not_twice(self, turn: Turn) -> None:
        """A turn is taken twice only where the first time a clock that ran ahead said so, the operator died before it
        could write that down, and the backup's object has been cleared away before its time really came."""
        assert turn.name not in {run.name for run in self.runs}
        first = self.really.get(turn.name)
        assert first is None or first < turn.slot, f"{turn.name} was taken twice"

    def end(self, how: str) -> None:
        if how == "goes on":
            return
        good = how == "succeeds"
        ended = self.now if good else None
        self.runs = [
            run if run.finished else replace(run, finished=True, restorable=good, reason=how, ended=ended)
            for run in self.runs
        ]


def world() -> World:
    schedules = {
        "full": {"schedule": "30 1 * * *"},
        "incremental": {"schedule": "10 * * * *"},
        "logical": {"schedule": "0 4 * * *", "timeZone": "Europe/Berlin"},
    }
    return World(policy(schedules=schedules, historyLimit=5))


@given(steps=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), min_size=1, max_size=60))
@settings(max_examples=60)
def test_one_at_a_time_and_none_twice(steps: list[Moment]) -> None:
    it = world()
    it.live(steps)


@given(before=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), max_size=12), hour=st.integers(0, 60), jump=JUMP)
@settings(max_examples=40)
def test_no_day_passes_without_a_full(before: list[Moment], hour: int, jump: timedelta) -> None:
    """Whatever came before, while backups succeed, and the clock jumps once."""
    it = world()
    it.live(before)
    it.end("fails")
    began = it.true
    it.live_hours(["succeeds"] * 120, hour, jump)
    fulls = [moment for name, moment in it.really.items() if "-full-" in name]
    assert longest_wait(began, fulls, it.true) <= allowed_wait(before)


@pytest.mark.parametrize("step", [timedelta(minutes=7), timedelta(hours=1)])
def test_with_a_steady_clock_every_turn_is_taken_once(step: timedelta) -> None:
    it = world()
    while it.true < NOW + 5 * DAY:
        it.true += step
        it.look()
        it.end("succeeds")
    taken = Counter(name.split("-")[1] for name in it.really)
    # The first full is taken at once, and a full stands in for the incremental that is due with it.
    assert (taken["full"], taken["logical"]) == (6, 5)
    assert 5 * 22 <= taken["incremental"] <= 5 * 24


def test_an_absence_of_a_week_is_made_up_for_once() -> None:
    it = world()
    it.look()
    it.end("succeeds")
    it.true += 7 * DAY
    before = len(it.really)
    for _ in range(3):
        it.look()
        it.end("succeeds")
    types = sorted(run.type for run in it.runs if it.really[run.name] >= NOW + 7 * DAY)
    assert types == [RunType.FULL, RunType.LOGICAL]
    assert len(it.really) == before + 2
