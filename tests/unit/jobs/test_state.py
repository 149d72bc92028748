"""observe: what a Job and its pods look like from outside, and what is said about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.state import ABSENT, JobPhase, observe, progress_in
from pgwarden.jobs.task import Progress
from tests.support.objects import Body, failure, job_body, pod_body, success


def container(name: str = "agent", **state: Any) -> Body:
    return {"name": name, "state": state}


def status(*containers: Body, init: list[Body] | None = None, **more: Any) -> Body:
    return {"containerStatuses": list(containers), "initContainerStatuses": init or [], **more}


def terminated(code: int = 0, message: str = "", reason: str = "") -> Body:
    return {"exitCode": code, "message": message, "reason": reason}


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "message": "taint"}]


@pytest.mark.parametrize(
    ("ended", "pod", "phase", "reason"),
    [
        ("", None, JobPhase.QUEUED, "PodNotCreated"),
        ("", {"conditions": UNSCHEDULABLE}, JobPhase.QUEUED, "PodUnschedulable"),
        ("", {}, JobPhase.QUEUED, "PodStarting"),
        ("", status(container(waiting={"reason": "ImagePullBackOff"})), JobPhase.QUEUED, "ImageNotFound"),
        ("", status(container(waiting={"reason": "ErrImageNeverPull"})), JobPhase.QUEUED, "ImageNotFound"),
        (
            "",
            status(container(waiting={"reason": "CreateContainerConfigError"})),
            JobPhase.QUEUED,
            "ContainerNotCreated",
        ),
        ("", status(container(running={})), JobPhase.RUNNING, "Running"),
        ("", status(container(terminated=terminated())), JobPhase.RUNNING, "Finishing"),
        ("Complete", None, JobPhase.SUCCEEDED, "ResultLost"),
        ("Failed", None, JobPhase.FAILED, "PodDeleted"),
        ("Failed", {"reason": "Evicted", "message": "disk"}, JobPhase.FAILED, "Evicted"),
        ("Failed", status(container(terminated=terminated(137, reason="OOMKilled"))), JobPhase.FAILED, "OOMKilled"),
        ("Failed", status(container(terminated=terminated(137))), JobPhase.FAILED, "PodKilled"),
        ("Failed", status(container(terminated=terminated(1, "not json"))), JobPhase.FAILED, "AgentFailed"),
        ("Failed", status(conditions=DISRUPTED), JobPhase.FAILED, "PodKilled"),
    ],
)
def test_what_holds_a_job_up_or_ended_it_is_told_apart(
    ended: str, pod: Body | None, phase: JobPhase, reason: str
) -> None:
    state = observe(job_body(ended=ended), [] if pod is None else [pod_body(status=pod)])
    assert (state.phase, state.reason) == (phase, reason)
    assert state.message or phase == JobPhase.RUNNING


def test_no_job_is_absent() -> None:
    assert observe(None, []) is ABSENT


def test_a_job_that_gets_no_pod_says_what_kubernetes_says() -> None:
    state = observe(job_body(), [], ["exceeded quota: pods"])
    assert state.reason == "PodForbidden"
    assert "exceeded quota" in state.message


def test_a_suspended_job_says_who_must_let_it_go() -> None:
    job = job_body()
    job["spec"]["suspend"] = True
    assert observe(job, []).reason == "JobSuspended"


def test_the_agents_result_is_read_from_its_termination_message() -> None:
    told = status(container(terminated=terminated(0, success("BackupDone", backupId="x").to_message())))
    state = observe(job_body(ended="Complete"), [pod_body(status=told)])
    assert state.result is not None
    assert (state.result.reason, state.result.report) == ("BackupDone", {"backupId": "x"})


def test_the_first_failure_of_several_containers_counts() -> None:
    first = container("restore", terminated=terminated(1, failure("WrongIdentity").to_message()))
    agent = container("agent", terminated=terminated(0, success().to_message()))
    state = observe(job_body(ended="Failed"), [pod_body(status=status(agent, init=[first]))])
    assert state.reason == "WrongIdentity"


def test_a_deadline_is_told_as_such() -> None:
    job = job_body(ended="Failed")
    job["status"]["conditions"][0]["reason"] = "DeadlineExceeded"
    assert observe(job, []).reason == "DeadlineExceeded"


@pytest.mark.parametrize("annotation", ["", "one", "-1", "１"])
def test_an_annotation_that_somebody_edited_breaks_nothing(annotation: str) -> None:
    job = job_body()
    job["metadata"]["annotations"]["pgwarden.dev/attempt"] = annotation
    assert observe(job, []).attempt == 1


@pytest.mark.parametrize("task", ["[]", "{", "null", '"x"'])
def test_a_task_that_somebody_edited_breaks_nothing(task: str) -> None:
    job = job_body()
    job["spec"]["template"]["metadata"]["annotations"]["pgwarden.dev/task"] = task
    assert observe(job, []).nonce == ""


NONCE = "0123456789abcdef"


def test_the_last_line_of_progress_with_the_tasks_nonce_counts() -> None:
    lines = [Progress(nonce=NONCE, step="copy", done=n).model_dump_json() for n in (1, 2)]
    forged = json.dumps({"nonce": "another", "step": "copy", "done": 99})
    progress = progress_in("\n".join([*lines, forged, "plain text", "{broken"]), NONCE)
    assert progress is not None
    assert progress.done == 2


@given(st.text())
def test_no_log_is_believed_without_a_nonce(log: str) -> None:
    assert progress_in(log, "") is None
    assert progress_in(log, NONCE) is None


def test_what_holds_a_starting_pod_up_is_told() -> None:
    """A sandbox that is killed for want of memory is made again and again, and the pod says nothing of it."""
    warnings = ["Failed to create pod sandbox: OOM-killed (memory limit too low?)"]
    state = observe(job_body(), [pod_body()], warnings)
    assert (state.phase, state.reason) == (JobPhase.QUEUED, "PodStarting")
    assert "OOM-killed (memory limit too low?)" in state.message
