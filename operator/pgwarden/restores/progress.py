"""The steps of a restore as its status shows them, out of what the pod's containers tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Progress, shorten
from pgwarden.restores.contract import StepReport
from pgwarden.restores.resource import Step, StepState

RESOLVE = "Resolve"
INSPECT = "Inspect"
AMCHECK = "Amcheck"
START_INSTANCE = "StartInstance"
# What the init container `restore` and the container `agent` do, by the names they give it.
AGENT_STEPS = (
    RESOLVE,
    "Prepare",
    "Fetch",
    "Verify",
    "Combine",
    "MakeHarmless",
    "Recover",
    INSPECT,
    "Check",
    "ShutDown",
    "VerifyFiles",
    "HandOver",
)
STEPS = (*AGENT_STEPS, START_INSTANCE)
# Of a drill, which is looked at more closely, by nobody but the agent, and handed over to nobody.
DRILL_STEPS = (*AGENT_STEPS[: AGENT_STEPS.index(INSPECT)], "Check", AMCHECK, "ShutDown", "VerifyFiles")
# Into a server that runs: what is recovered is loaded there, and not handed over.
LOAD_STEPS = ("Select", "Preflight", "Load", "Analyze", "CountRows", "Publish")
PARTS_STEPS = ("LookAtTarget", *AGENT_STEPS[: AGENT_STEPS.index(INSPECT)], "Check", *LOAD_STEPS, "ShutDown")
# Out of a dump nothing is recovered.
DUMP_STEPS = ("LookAtTarget", RESOLVE, *LOAD_STEPS)


def steps_of(
    before: Sequence[Step],
    job: JobState,
    progress: Progress | None,
    *,
    names: Sequence[str] = STEPS,
    starting: bool = False,
    started: bool = False,
    now: datetime | None = None,
) -> list[Step]:
    """All steps in order. What was told once stays, also when the pod that told it is gone."""
    # A request that an earlier pgwarden began has fewer steps.
    steps = {name: Step(name=name) for name in names} | {step.name: step for step in before}
    for result in job.told.values():
        for told in result.report.get("steps") or []:
            report = step_report(told)
            if report is not None and report.name in steps:
                steps[report.name] = completed(report)
    running = progress.step if progress is not None and job.phase == JobPhase.RUNNING else ""
    if running in names:
        passed(steps, names, running)
    if job.phase == JobPhase.FAILED:
        fail(steps, names, job)
    if starting:
        passed(steps, names, START_INSTANCE)
        begin = steps[START_INSTANCE].start_time or (now.replace(microsecond=0) if now else None)
        end = now.replace(microsecond=0) if started and now else None
        state = StepState.DONE if started else StepState.RUNNING
        steps[START_INSTANCE] = Step(name=START_INSTANCE, state=state, start_time=begin, completion_time=end)
    return [steps[name] for name in names]


def step_report(told: object) -> StepReport | None:
    """One step as an agent told it; None when an agent of another version told it otherwise."""
    try:
        return StepReport.model_validate(told)
    except ValidationError:
        return None


def completed(report: StepReport) -> Step:
    """A step that an agent reports as done."""
    return Step(
        name=report.name,
        state=StepState.DONE,
        start_time=report.started.replace(microsecond=0),
        completion_time=report.finished.replace(microsecond=0),
        message=shorten(report.detail, 1024),
    )


def passed(steps: dict[str, Step], names: Sequence[str], running: str) -> None:
    """Marks the step that runs, and those before it as done."""
    for name in names[: names.index(running)]:
        if steps[name].state != StepState.DONE:
            steps[name] = steps[name].model_copy(update={"state": StepState.DONE})
    if steps[running].state != StepState.DONE:
        steps[running] = steps[running].model_copy(update={"state": StepState.RUNNING})


def fail(steps: dict[str, Step], names: Sequence[str], job: JobState) -> None:
    """Marks the step at which the Job failed: the first agent step that is not done."""
    for name in names:
        if name != START_INSTANCE and steps[name].state != StepState.DONE:
            message = shorten(job.message, 1024)
            steps[name] = steps[name].model_copy(update={"state": StepState.FAILED, "message": message})
            return
