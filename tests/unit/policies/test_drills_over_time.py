"""Whatever drills come to and whatever the clock does: one at a time, none twice, none lost, no backup held up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.policies.drills import DrillRun
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import plan
from pgwarden.policies.runs import Run
from tests.support.objects import NOW
from tests.unit.policies import two_clocks
from tests.unit.policies.bodies import after, full, policy
from tests.unit.policies.two_clocks import DAY, ENDS, Moment, allowed_wait, longest_wait

KEPT = 3
STEP = st.sampled_from([timedelta(minutes=10), timedelta(hours=1), timedelta(hours=5), timedelta(hours=30)])
JUMP = st.sampled_from([timedelta(), timedelta(), timedelta(), -timedelta(minutes=30), -3 * DAY, DAY, 9 * DAY])
CRASH = st.sampled_from([False, False, True])


@dataclass
class World(two_clocks.World):
    drills: list[DrillRun] = field(default_factory=list)
    really: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """Name -> its turn, and when it was truly made."""
    backups: list[Run] = field(default_factory=lambda: [full(NOW - timedelta(hours=9))])

    def look(self, *, crash: bool = False) -> None:
        result = plan(self.policy, ObservedPolicy(runs=self.backups, drills=self.drills), self.now)
        without = plan(self.policy, ObservedPolicy(runs=self.backups), self.now)
        assert [turn.name for turn in result.backups] == [turn.name for turn in without.backups]
        turn = result.drill
        if turn is not None:
            first = self.really.get(turn.name)
            assert turn.name not in {run.name for run in self.drills}
            # Twice only where a clock that ran ahead said so the first time, and its object is cleared away since.
            assert first is None or first[1] < turn.slot, f"{turn.name} was made twice"
            self.drills.append(DrillRun(turn.name, self.now, reason="Restoring"))
            self.really[turn.name] = (turn.slot, self.true)
        if not crash:
            self.policy = after(result, self.policy)
            gone = set(result.forget_drills)
            assert not gone & {run.name for run in self.drills if not run.finished}
            self.drills = [run for run in self.drills if run.name not in gone]
        assert len([run for run in self.drills if not run.finished]) <= 1

    def end(self, how: str) -> None:
        good = how == "succeeds"
        if how == "goes on":
            return
        self.drills = [
            run
            if run.finished
            else replace(
                run, finished=True, succeeded=good, ended=self.now, reason=how, recovery_seconds=40 if good else None
            )
            for run in self.drills
        ]


def world() -> World:
    schedules = {"full": {"schedule": "30 1 * * *"}, "incremental": {"schedule": "10 * * * *"}}
    return World(policy(schedules=schedules, drill={"schedule": "0 4 * * *", "keepLast": KEPT}))


@given(steps=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), min_size=1, max_size=40))
@settings(max_examples=50)
def test_one_at_a_time_none_twice_and_the_last_few_kept(
    steps: list[Moment],
) -> None:
    it = world()
    it.live(steps)
    it.look()
    assert len([run for run in it.drills if run.finished]) <= KEPT
    status = it.policy.status.drill
    assert status is not None
    assert len(status.history) <= KEPT
    moments = [each.time for each in status.history]
    assert moments == sorted(moments)
    if status.last_success is not None:
        assert status.last_success.succeeded


@given(before=st.lists(st.tuples(STEP, JUMP, ENDS, CRASH), max_size=10), hour=st.integers(0, 60), jump=JUMP)
@settings(max_examples=30)
def test_no_day_passes_without_a_drill(before: list[Moment], hour: int, jump: timedelta) -> None:
    """Whatever came before, while drills end, well or badly, and the clock jumps once."""
    it = world()
    it.live(before)
    it.end("fails")
    began = it.true
    it.live_hours(["succeeds", "fails"] * 60, hour, jump)
    made = [moment for _, moment in it.really.values()]
    assert longest_wait(began, made, it.true) <= allowed_wait(before)


def test_with_a_steady_clock_every_turn_is_taken_once() -> None:
    it = world()
    while it.true < NOW + 5 * DAY:
        it.true += timedelta(minutes=30)
        it.look()
        it.end("succeeds")
    assert len(it.really) == 5


def test_an_absence_of_a_week_is_made_up_for_once() -> None:
    it = world()
    it.look()
    it.true += 7 * DAY
    for _ in range(3):
        it.look()
        it.end("succeeds")
    assert len(it.really) == 1


def test_turns_that_pass_while_one_runs_are_made_up_for_once() -> None:
    it = world()
    it.look()
    it.true += DAY
    it.look()
    for _ in range(4):
        it.true += DAY
        it.look()
        it.end("goes on")
    assert len(it.really) == 1
    it.end("succeeds")
    it.look()
    it.look()
    assert len(it.really) == 2
