"""What to do next with a piece of work that Jobs do: start, wait, take the result, try again, give up. Pure.

Every attempt has its own Job with a deterministic name, and every task begins by asking whether the work has been
done already. So an attempt whose answer was lost is simply followed by another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pgwarden.api.status import Attempt
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Outcome, Result, shorten

MAX_ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 300.0
KEPT_ATTEMPTS = 16


class AttemptOutcome(StrEnum):
    """How an attempt ended, as it stands in its record: a Job and its result may be gone when they are asked for."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """Another attempt may follow."""
    REJECTED = "Rejected"
    """The same task would fail again."""


class Verdict(StrEnum):
    START = "Start"
    """Create the Job of attempt `number`."""
    WAIT = "Wait"
    """The Job is queued or runs."""
    BACK_OFF = "BackOff"
    """An attempt failed; the next one starts in `seconds`."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """For good: nothing more is tried until something changes."""


@dataclass(frozen=True)
class Decision:
    """What to do, and the attempts as they are to be recorded."""

    verdict: Verdict
    attempts: list[Attempt]
    number: int = 0
    seconds: float = 0.0
    reason: str = ""
    message: str = ""
    result: Result | None = None


def decide(attempts: Sequence[Attempt], state: JobState, *, now: datetime, limit: int = MAX_ATTEMPTS) -> Decision:
    """`attempts` as recorded, `state` of the Job of the last one (or, with none recorded, of the first one)."""
    recorded = adopt(attempts, state, now=now)
    if not recorded:
        return Decision(Verdict.START, recorded, number=1)
    last = recorded[-1]
    if last.completion_time is None:
        if state.phase in (JobPhase.QUEUED, JobPhase.RUNNING):
            return Decision(Verdict.WAIT, recorded, reason=state.reason, message=sentence(state.message, state.remedy))
        last = close(last, state, now=now)
        recorded = [*recorded[:-1], last]
    if last.outcome == AttemptOutcome.SUCCEEDED:
        return Decision(Verdict.SUCCEEDED, recorded, reason=last.reason, message=last.message, result=state.result)
    if last.outcome == AttemptOutcome.REJECTED or last.number >= limit:
        return Decision(Verdict.FAILED, recorded, reason=last.reason, message=last.message, result=state.result)
    starts = (last.completion_time or now) + timedelta(seconds=backoff(last.number))
    # The end is told by another machine's clock, which may be ahead of ours.
    wait = min((starts - now).total_seconds(), backoff(last.number))
    if wait > 0:
        message = (
            f"attempt {last.number} of {limit} failed, the next one starts at {clock_time(starts)}: {last.message}"
        )
        return Decision(
            Verdict.BACK_OFF, recorded, seconds=wait, reason=last.reason, message=message, result=state.result
        )
    return Decision(Verdict.START, recorded, number=last.number + 1)


def adopt(attempts: Sequence[Attempt], state: JobState, *, now: datetime) -> list[Attempt]:
    """The attempts with that of `state` added, when a crash came between creating its Job and recording it."""
    recorded = list(attempts)
    known = recorded[-1].number if recorded else 0
    if state.phase != JobPhase.ABSENT and state.attempt > known:
        # It may have ended long ago: it did not begin now.
        recorded.append(begin(state.attempt, state.name, now=state.created or now))
    return recorded[-KEPT_ATTEMPTS:]


def begin(number: int, job: str, *, now: datetime) -> Attempt:
    """The record of an attempt that starts."""
    return Attempt(number=number, job=job, start_time=now.replace(microsecond=0))


def close(attempt: Attempt, state: JobState, *, now: datetime) -> Attempt:
    """The record of an attempt that ended as `state` tells."""
    if state.phase == JobPhase.ABSENT:
        reason, message = "JobDeleted", f"Job {attempt.job} was deleted before its result could be read"
    else:
        reason, message = state.reason or "Ended", sentence(state.message, state.remedy)
    return attempt.model_copy(
        update={
            "completion_time": (state.finished or now).replace(microsecond=0),
            "outcome": outcome_of(state.result),
            "reason": shorten(reason, 63),
            "message": shorten(message, 1024),
        }
    )


def outcome_of(result: Result | None) -> str:
    """What a result says of its attempt; one that was lost says that another attempt may follow."""
    if result is None:
        return AttemptOutcome.FAILED.value
    if result.outcome != Outcome.FAILED:
        return AttemptOutcome.SUCCEEDED.value
    return AttemptOutcome.FAILED.value if result.retryable else AttemptOutcome.REJECTED.value


def clock_time(moment: datetime) -> str:
    """A moment of today for people: 12:00:05 UTC. It does not change from look to look, as seconds left would."""
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def backoff(number: int) -> float:
    """Seconds between the end of attempt `number` and the start of the next."""
    return min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 4.0 ** (number - 1))


def sentence(message: str, remedy: str) -> str:
    """What happened and what to do now, as one text."""
    if not remedy:
        return message
    return f"{message.rstrip('. ')}. {remedy}" if message else remedy
