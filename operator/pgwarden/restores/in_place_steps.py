"""The steps of a restore in place as its status shows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Progress, shorten
from pgwarden.restores.progress import INSPECT, completed, step_report
from pgwarden.restores.resource import Step, StepState

PREFLIGHT = "Preflight"
STOP_SERVICES = "StopServices"
CONNECTIONS = "Connections"
STOP_SERVER = "StopServer"
HAND_OVER = "HandOver"
START_SERVER = "StartServer"
ARCHIVE_TIMELINE = "ArchiveTimeline"
START_SERVICES = "StartServices"
START_STANDBYS = "StartStandbys"
RESEED = "Reseed"
PUT_BACK = "PutBack"
JOB_STEPS = (
    "Resolve",
    "Prepare",
    "KeepOld",
    "Fetch",
    "Verify",
    "Combine",
    "MakeHarmless",
    "Recover",
    INSPECT,
    "Check",
    "ShutDown",
    "VerifyFiles",
    "Configure",
    RESEED,
)
"""What the long Job does, by the names that its containers give it."""
STEPS = (
    *(PREFLIGHT, STOP_SERVICES, CONNECTIONS, STOP_SERVER),
    *JOB_STEPS,
    *(HAND_OVER, START_SERVER, ARCHIVE_TIMELINE, START_SERVICES, START_STANDBYS),
)
OF_SEVERAL = (RESEED, START_STANDBYS)
"""Where the server has one member only there is nothing to do for these."""


def steps_at(before: Sequence[Step], current: str, now: datetime, *, message: str = "") -> list[Step]:
    """All steps while `current` is worked on: what comes before it is done."""
    moment = now.replace(microsecond=0)
    steps = every_step(before)
    names = list(steps)
    for name in names[: names.index(current)]:
        if steps[name].state != StepState.DONE:
            steps[name] = ended(steps[name], StepState.DONE, moment, steps[name].message)
    if steps[current].state != StepState.DONE:
        began = steps[current].start_time or moment
        change = {"state": StepState.RUNNING, "start_time": began, "message": shorten(message, 1024)}
        steps[current] = steps[current].model_copy(update=change)
    return list(steps.values())


def steps_of_job(before: Sequence[Step], job: JobState, progress: Progress | None, now: datetime) -> list[Step]:
    """All steps while the long Job works, or has ended, as far as it has told."""
    steps = every_step(steps_at(before, JOB_STEPS[0], now))
    for result in job.told.values():
        for told in result.report.get("steps") or []:
            report = step_report(told)
            if report is not None and report.name in JOB_STEPS and report.name in steps:
                steps[report.name] = completed(report)
    running = progress.step if progress is not None and job.phase == JobPhase.RUNNING else ""
    if running in JOB_STEPS and running in steps:
        return steps_at(list(steps.values()), running, now)
    return list(steps.values())


def all_done(before: Sequence[Step], now: datetime) -> list[Step]:
    """All steps once the restore is finished."""
    last = list(every_step(before))[-1]
    steps = every_step(steps_at(before, last, now))
    steps[last] = ended(steps[last], StepState.DONE, now.replace(microsecond=0), steps[last].message)
    return list(steps.values())


def put_back(before: Sequence[Step], why: str, now: datetime, *, done: bool = False) -> list[Step]:
    """All steps while the old data are put back, or once they are: the one that was worked on has failed."""
    moment = now.replace(microsecond=0)
    last = next((step for step in before if step.name == PUT_BACK), Step(name=PUT_BACK, start_time=moment))
    state = StepState.DONE if done else StepState.RUNNING
    last = last.model_copy(update={"state": state, "completion_time": moment if done else None})
    return [*failed(before, why, now), last]


def failed(before: Sequence[Step], why: str, now: datetime) -> list[Step]:
    """All steps once the one that was worked on has failed."""
    steps = every_step(before)
    if any(step.state == StepState.FAILED for step in steps.values()):
        return list(steps.values())
    current = next(name for name, step in steps.items() if step.state != StepState.DONE)
    steps[current] = ended(steps[current], StepState.FAILED, now.replace(microsecond=0), why)
    return list(steps.values())


def step_of(steps: Sequence[Step], name: str) -> Step:
    """One of the steps; pending where nothing was told of it."""
    return every_step(steps)[name]


def handed_over_at(steps: Sequence[Step]) -> datetime | None:
    """When the restored data came into their place; None before."""
    return step_of(steps, HAND_OVER).completion_time


def every_step(before: Sequence[Step]) -> dict[str, Step]:
    """The steps by name, in order; those that were never told of are pending."""
    known = {step.name: step for step in before}
    names = [name for name in STEPS if name in known or name not in OF_SEVERAL]
    return {name: known.get(name) or Step(name=name) for name in names}


def of_several(before: Sequence[Step]) -> list[Step]:
    """The steps, with those that only a server of several members has."""
    known = {step.name for step in before}
    return [*before, *(Step(name=name) for name in OF_SEVERAL if name not in known)]


def ended(step: Step, state: StepState, moment: datetime, message: str) -> Step:
    change = {"state": state, "completion_time": step.completion_time or moment, "message": shorten(message, 1024)}
    return step.model_copy(update=change)
