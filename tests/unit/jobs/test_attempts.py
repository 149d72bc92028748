"""decide: an attempt after the other, never two at once, an end in sight, and nothing after the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.status import Attempt
from pgwarden.jobs.attempts import (
    KEPT_ATTEMPTS,
    LONGEST_BACKOFF_SECONDS,
    MAX_ATTEMPTS,
    AttemptOutcome,
    Verdict,
    backoff,
    begin,
    decide,
)
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Outcome, Result
from tests.support.objects import NOW, attempt, ended_job, failure, job_state, success

OPEN = [Attempt.model_validate(attempt(1))]


def closed(outcome: AttemptOutcome, number: int = 1, ago: float = 0.0) -> list[Attempt]:
    return [Attempt.model_validate(attempt(number, outcome, ago=ago))]


@pytest.mark.parametrize(
    ("attempts", "state", "verdict", "number"),
    [
        ([], ABSENT, Verdict.START, 1),
        (OPEN, job_state(JobPhase.QUEUED), Verdict.WAIT, 0),
        (OPEN, job_state(JobPhase.RUNNING), Verdict.WAIT, 0),
        # A crash came between creating the Job and recording it.
        ([], job_state(JobPhase.RUNNING), Verdict.WAIT, 0),
        ([], ended_job(success()), Verdict.SUCCEEDED, 0),
        (OPEN, ended_job(success()), Verdict.SUCCEEDED, 0),
        (OPEN, ended_job(failure(retryable=True)), Verdict.BACK_OFF, 0),
        (OPEN, ended_job(failure()), Verdict.FAILED, 0),
        # The pod, or the whole Job, was deleted before its result was read.
        (OPEN, ended_job(None), Verdict.BACK_OFF, 0),
        (OPEN, ABSENT, Verdict.BACK_OFF, 0),
        (closed(AttemptOutcome.FAILED), ABSENT, Verdict.BACK_OFF, 0),
        (closed(AttemptOutcome.FAILED, ago=5), ABSENT, Verdict.START, 2),
        (closed(AttemptOutcome.FAILED, MAX_ATTEMPTS, ago=9999), ABSENT, Verdict.FAILED, 0),
        # What was recorded stands, also when the Job has long been cleared away.
        (closed(AttemptOutcome.SUCCEEDED, ago=9999), ABSENT, Verdict.SUCCEEDED, 0),
        (closed(AttemptOutcome.REJECTED, ago=9999), ABSENT, Verdict.FAILED, 0),
    ],
)
def test_each_state_has_its_verdict(attempts: list[Attempt], state: JobState, verdict: Verdict, number: int) -> None:
    decision = decide(attempts, state, now=NOW)
    assert (decision.verdict, decision.number) == (verdict, number)


def test_a_failure_is_recorded_with_its_reason_and_what_to_do() -> None:
    record = decide(OPEN, ended_job(failure("Broken")), now=NOW).attempts[-1]
    assert (record.outcome, record.reason, record.completion_time) == ("Rejected", "Broken", NOW)
    assert record.message == "it broke. Mend it."


def test_a_clock_that_is_ahead_of_ours_does_not_make_the_pause_longer() -> None:
    tomorrow = ended_job(failure(retryable=True))
    ahead = JobState(**{**tomorrow.__dict__, "finished": NOW + timedelta(days=1)})
    assert decide(OPEN, ahead, now=NOW).seconds == backoff(1)


def test_the_message_of_a_pause_does_not_change_from_look_to_look() -> None:
    first = decide(OPEN, ended_job(failure(retryable=True)), now=NOW)
    later = decide(first.attempts, ABSENT, now=NOW + timedelta(seconds=2))
    assert first.message == later.message


def test_pauses_grow_up_to_five_minutes() -> None:
    pauses = [backoff(number) for number in range(1, 30)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_BACKOFF_SECONDS


RESULTS = st.one_of(
    st.none(),
    st.builds(
        Result,
        outcome=st.sampled_from(Outcome),
        reason=st.text(min_size=1, max_size=90),
        message=st.text(max_size=1200),
        retryable=st.booleans(),
    ),
)


@dataclass
class World:
    """Jobs as they come and go, and the operator's record of them."""

    now: datetime = NOW
    record: list[Attempt] = field(default_factory=list)
    jobs: dict[int, JobState] = field(default_factory=dict)
    started: list[int] = field(default_factory=list)
    ended: Verdict | None = None

    def state(self) -> JobState:
        number = self.record[-1].number if self.record else 1
        return self.jobs.get(number, ABSENT)

    def look(self, *, crash: bool) -> None:
        """One look of the operator; a crash comes after the Job was made and before anything was written."""
        decision = decide(self.record, self.state(), now=self.now)
        after = decision.attempts
        if decision.verdict == Verdict.START:
            assert self.ended is None, "something started after the end"
            number = decision.number
            # The Job of that very number may be there after a crash: it is adopted.
            open_ = {other for other, job in self.jobs.items() if not job.ended}
            assert open_ <= {number}, "two attempts at once"
            if number not in self.jobs:
                self.jobs[number] = job_state(JobPhase.QUEUED, f"job-{number}", number)
                self.started.append(number)
            after = [*after, begin(number, f"job-{number}", now=self.now)]
        if crash:
            return
        if self.ended is not None:
            assert decision.verdict == self.ended, "the end was forgotten"
        if decision.verdict in (Verdict.SUCCEEDED, Verdict.FAILED):
            self.ended = decision.verdict
        self.record = after[-KEPT_ATTEMPTS:]
        assert [each.number for each in self.record] == sorted({each.number for each in self.record})
        assert sum(each.completion_time is None for each in self.record) <= 1

    def happen(self, what: str, result: Result | None) -> None:
        """Something happens to the Job that is open."""
        open_ = [number for number, job in self.jobs.items() if not job.ended]
        if what == "run" and open_:
            self.jobs[open_[0]] = job_state(JobPhase.RUNNING, f"job-{open_[0]}", open_[0])
        if what == "end" and open_:
            self.jobs[open_[0]] = ended_job(result, f"job-{open_[0]}", open_[0])
        if what == "delete" and self.jobs and self.record:
            self.jobs.pop(max(self.jobs))


STEPS = st.lists(
    st.tuples(st.sampled_from(["look", "crash", "run", "end", "delete"]), RESULTS, st.floats(0, 400)), max_size=60
)


@given(STEPS)
def test_whatever_happens_attempts_follow_each_other_and_come_to_an_end(
    steps: list[tuple[str, Result | None, float]],
) -> None:
    world = World()
    for what, result, seconds in steps:
        world.now += timedelta(seconds=seconds)
        if what in ("look", "crash"):
            world.look(crash=what == "crash")
        else:
            world.happen(what, result)
    # From here on every Job fails, and an operator that looks now and then comes to an end.
    for _ in range(4 * MAX_ATTEMPTS):
        world.happen("end", failure(retryable=True))
        world.look(crash=False)
        world.now += timedelta(seconds=LONGEST_BACKOFF_SECONDS)
    assert world.ended is not None
    assert max(world.started, default=0) <= MAX_ATTEMPTS
    assert world.started == sorted(world.started)


@given(RESULTS, st.sampled_from(["gone", "without result", "as it was"]), st.floats(0, 1e6))
def test_a_success_is_never_forgotten(result: Result | None, later: str, seconds: float) -> None:
    first = decide(OPEN, ended_job(result), now=NOW)
    states = {"gone": ABSENT, "without result": ended_job(None), "as it was": ended_job(result)}
    second = decide(first.attempts, states[later], now=NOW + timedelta(seconds=seconds))
    assert (first.verdict == Verdict.SUCCEEDED) == (second.verdict == Verdict.SUCCEEDED)
