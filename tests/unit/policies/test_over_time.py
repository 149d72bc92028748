"""Whatever backups come to and whatever the clock does: one at a time, none twice, none lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import plan
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import Run, RunType, unfinished
from pgwarden.policies.turns import Turn
from tests.support.objects import NOW
from tests.unit.policies.bodies import after, policy

DAY = timedelta(days=1)
STEP = st.sampled_from([timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=5)])
JUMP = st.sampled_from(
    [timedelta(), timedelta(), timedelta(), -timedelta(minutes=30), -DAY / 2, -3 * DAY, DAY, 9 * DAY]
)
ENDS = st.sampled_from(["succeeds", "fails", "goes on"])
CRASH = st.sampled_from([False, False, False, True])


@dataclass
class World:
    """The API server, an operator, and two clocks: the one it reads, and the one that is true."""

    policy: BackupPolicy
    true: datetime = NOW
    offset: timedelta = timedelta()
    runs: list[Run] = field(default_factory=list)
    really: dict[str, datetime] = field(default_factory=dict)
    """Name -> when it was truly begun."""

    @property
    def now(self) -> datetime:
        return self.true + self.offset

    def look(self, *, crash: bool = False) -> None:
        """One look; a crash keeps the status from being written."""
        result = plan(self.policy, ObservedPolicy(runs=self.runs), self.now)
        for turn in result.backups:
            self.check_not_twice(turn)
            self.runs.append(Run(name=turn.name, type=turn.type, made=self.now, reason="BackingUp"))
            self.really[turn.name] = self.true
        if not crash:
            self.policy = after(result, self.policy)
            gone = set(result.forget)
            self.runs = [run for run in self.runs if run.name not in gone]

    def check_not_twice(self, turn: Turn) -> None:
        """A turn is taken twice only where the first time a clock that ran ahead said so, the operator died before it
        could write that down, and the backup's object has been cleared away before its time really came."""
        assert turn.name not in {run.name for run in self.runs}
        first = self.really.get(turn.name)
        assert first is None or first < turn.slot, f"{turn.name} was taken twice"

    def end(self, how: str) -> None:
        """What runs comes to an end, or not."""
        if how == "goes on":
            return
        good = how == "succeeds"
        ended = self.now if good else None
        self.runs = [
            run if run.finished else replace(run, finished=True, restorable=good, reason=how, ended=ended)
            for run in self.runs
        ]

    def check(self) -> None:
        assert len(unfinished(self.runs, physical=True)) <= 1
        assert len(unfinished(self.runs, physical=False)) <= 1


def world() -> World:
    schedules = {
        "full": {"schedule": "30 1 * * *"},
        "incremental": {"schedule": "10 * * * *"},
        "logical": {"schedule": "0 4 * * *", "timeZone": "Europe/Berlin"},
    }
    return World(policy(schedules=schedules, historyLimit=5))


@given(steps=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), min_size=1, max_size=60))
@settings(max_examples=60)
def test_one_at_a_time_and_none_twice(steps: list[tuple[timedelta, timedelta, str, bool]]) -> None:
    it = world()
    for step, jump, how, crash in steps:
        it.true += step
        it.offset += jump
        it.look(crash=crash)
        it.check()
        it.end(how)


@given(before=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), max_size=12), hour=st.integers(0, 60), jump=JUMP)
@settings(max_examples=40)
def test_no_day_passes_without_a_full(
    before: list[tuple[timedelta, timedelta, str, bool]], hour: int, jump: timedelta
) -> None:
    """Whatever came before: while backups succeed, and the clock jumps once, two fulls are at most two days apart in
    true time: one day, and one that the jump may put the next turn off by. A jump back shortly before may have put off
    that turn already, by another day at most.
    """
    it = world()
    for step, earlier_jump, how, crash in before:
        it.true += step
        it.offset += earlier_jump
        it.look(crash=crash)
        it.end(how)
    it.end("fails")
    began = it.true
    for passed in range(120):
        it.true += timedelta(hours=1)
        it.offset += jump if passed == hour else timedelta()
        it.look()
        it.check()
        it.end("succeeds")
    moments = [began, *sorted(at for name, at in it.really.items() if "-full-" in name and at > began), it.true]
    days = 3 if any(earlier_jump < timedelta() for _, earlier_jump, _, _ in before) else 2
    assert max(later - earlier for earlier, later in pairwise(moments)) <= days * DAY + timedelta(hours=1)


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
