"""What is done and said about a RestoreRequest: carried out once, and never again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Progress
from pgwarden.restores.plan import ObservedRestore, finished, plan
from pgwarden.restores.resource import RestoreRequest
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    attempt,
    drill_request,
    ended_job,
    failure,
    job_state,
    kstatus,
    restorable_backup,
    restore_request,
    said,
    success,
    written,
)

REPORT: dict[str, Any] = {
    "endLsn": "0/3000110",
    "timeline": 2,
    "systemIdentifier": "7301",
    "checks": [{"name": "a", "passed": True}],
}
OPEN: dict[str, Any] = {"attempts": [attempt()], "startTime": "2026-11-23T11:59:00Z"}
LAST: dict[str, Any] = {"attempts": [attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED, ago=999)]}
RECOVERED: dict[str, Any] = {**OPEN, "attempts": [attempt(1, AttemptOutcome.SUCCEEDED)], "restoredTo": "0/3000110"}


def seen(job: JobState = ABSENT, backup: DatabaseBackup | None = None, **more: Any) -> ObservedRestore:
    return ObservedRestore(backup=backup or restorable_backup(), job=job, **more)


HUGE = restorable_backup(plainBytes=1 << 40)


@pytest.mark.parametrize(
    ("before", "observed", "triple", "reason", "starts", "makes"),
    [
        (restore_request(), seen(), WORKING, "Starting", 1, False),
        (restore_request(suspend=True), seen(), WORKING, "Suspended", None, False),
        (restore_request(), seen(obstacle=Obstacle("BackupNotReady", "x")), WORKING, "BackupNotReady", None, False),
        (restore_request(), seen(refusal=Obstacle("NameTaken", "x")), STUCK, "NameTaken", None, False),
        (restore_request(), seen(backup=HUGE), STUCK, "VolumeTooSmall", None, False),
        (restore_request(), seen(busy="limits"), WORKING, "Queued", None, False),
        (restore_request(status=OPEN), seen(job_state(JobPhase.QUEUED, reason="R")), WORKING, "R", None, False),
        (restore_request(status=OPEN), seen(job_state(JobPhase.RUNNING)), WORKING, "Restoring", None, False),
        (restore_request(status=OPEN), seen(ended_job(failure("WrongIdentity"))), STUCK, "WrongIdentity", None, False),
        (
            restore_request(status=OPEN),
            seen(ended_job(failure("StoreUnreachable", retryable=True))),
            WORKING,
            "StoreUnreachable",
            None,
            False,
        ),
        (restore_request(status=LAST), seen(), STUCK, "Ended", None, False),
        (restore_request(status=OPEN), seen(ended_job(success(**REPORT))), WORKING, "StartingInstance", None, True),
        (restore_request(status=OPEN), seen(ended_job(success(a=1))), STUCK, "ReportUnreadable", None, False),
        (restore_request(status=RECOVERED), seen(), WORKING, "StartingInstance", None, True),
        (restore_request(status=RECOVERED), seen(instance_ready=True), IN_FORCE, "Completed", None, False),
        (restore_request(cancel=True), seen(), STUCK, "Cancelled", None, False),
        (restore_request(status=OPEN, cancel=True), seen(job_state(JobPhase.RUNNING)), STUCK, "Cancelled", None, False),
    ],
)
def test_each_state_has_its_step_and_its_words(
    before: RestoreRequest,
    observed: ObservedRestore,
    triple: tuple[str, ...],
    reason: str,
    starts: int | None,
    makes: bool,
) -> None:
    result = plan(before, observed, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments)[1] == reason
    assert (result.attempt, result.make_instance) == (starts, makes)
    after = restore_request(status=written(result, before))
    assert finished(after) == (triple != WORKING)


LOST = [ABSENT, ended_job(None), ended_job(success(**REPORT)), ended_job(failure()), job_state(JobPhase.QUEUED)]


@pytest.mark.parametrize("job", LOST)
@pytest.mark.parametrize("ready", [True, False])
def test_once_recovered_no_other_job_comes_near_the_data(job: JobState, ready: bool) -> None:
    for hours in (0, 1, 1000):
        result = plan(restore_request(status=RECOVERED), seen(job, instance_ready=ready), NOW + timedelta(hours=hours))
        assert result.attempt is None
        assert kstatus(result.judgments) == (IN_FORCE if ready else WORKING)


@pytest.mark.parametrize("job", [ABSENT, ended_job(failure()), job_state(JobPhase.RUNNING)])
@pytest.mark.parametrize("spec", [{}, {"cancel": True}, {"suspend": True}])
def test_a_finished_restore_is_never_begun_again(job: JobState, spec: dict[str, Any]) -> None:
    done = written(plan(restore_request(status=RECOVERED), seen(instance_ready=True), NOW), restore_request())
    result = plan(restore_request(status=done, **spec), seen(job), NOW + timedelta(days=9))
    assert (result.attempt, result.make_instance, result.delete_job, result.judgments) == (None, False, None, [])


def test_why_the_instance_cannot_be_made_is_told() -> None:
    result = plan(restore_request(status=RECOVERED), seen(obstacle=Obstacle("StoreNotFound", "the store is gone")), NOW)
    assert "the store is gone" in next(j.message for j in result.judgments if j.type == "Ready")


def test_a_cancelled_restore_names_what_is_left() -> None:
    before = restore_request(status=OPEN, cancel=True)
    result = plan(before, seen(job_state(JobPhase.RUNNING)), NOW)
    message = next(j.message for j in result.judgments if j.type == "Stalled")
    assert result.delete_job == "job-1"
    assert "data-rescued-0" in message
    assert "rescued-superuser" in message
    late = plan(restore_request(status=RECOVERED, cancel=True), seen(), NOW)
    assert "StatefulSet" in next(j.message for j in late.judgments if j.type == "Stalled")


def test_a_restore_that_was_cancelled_before_it_began_names_nothing() -> None:
    result = plan(restore_request(cancel=True), seen(), NOW)
    message = next(j.message for j in result.judgments if j.type == "Stalled")
    assert "before it began" in message
    assert "claim" not in message and "Secret" not in message


RESOLVED: dict[str, Any] = {
    "backupId": "20261123T110000Z-incr-0123456789",
    "location": "shop/operational/0001/backups/20261123T110000Z-incr-0123456789",
    "chain": ["20261123T010000Z-full-0123456789", "20261123T110000Z-incr-0123456789"],
    "target": "2026-11-23T11:30:00Z on timeline 2",
    "timeline": 2,
    "path": [{"timeline": 1, "end": "0/5000000"}, {"timeline": 2}],
    "endLsn": "0/6000000",
    "walUntil": "0/7000000",
    "archive": "shop/operational/0001",
    "knownUntil": "2026-11-23T11:52:30Z",
}
TO_A_TIME: dict[str, Any] = {
    "source": {
        "clusterRef": {"name": "operational"},
        "storeRef": {"name": "claims"},
        "target": {"time": "2026-11-23T11:30:00Z"},
    }
}


def test_where_the_job_begins_stands_in_the_status() -> None:
    before = restore_request(status=OPEN, **TO_A_TIME)
    told = {"restore": success("LaidOut", resolved=RESOLVED)}
    observed = ObservedRestore(backup=None, job=job_state(JobPhase.RUNNING, told=told))
    status = written(plan(before, observed, NOW), before)
    assert status["backupID"] == RESOLVED["backupId"]
    assert status["resolved"]["chain"] == RESOLVED["chain"]
    assert (status["resolved"]["timeline"], status["resolved"]["lsn"]) == (2, "0/6000000")
    assert status["resolved"]["knownUntil"] == "2026-11-23T11:52:30Z"
    after = restore_request(status=status, **TO_A_TIME)
    done = ObservedRestore(backup=None, job=ended_job(success(**REPORT), told=told))
    assert written(plan(after, done, NOW), after)["restoredTime"] == "2026-11-23T11:30:00Z"


@pytest.mark.parametrize(
    ("made", "short"), [(restore_request(), "rescued"), (drill_request(), "drill")], ids=["new instance", "drill"]
)
def test_the_target_stands_in_the_status_for_a_glance(made: RestoreRequest, short: str) -> None:
    assert written(plan(made, seen(), NOW), made)["target"] == short


def test_a_target_needs_no_backup_to_begin() -> None:
    result = plan(restore_request(**TO_A_TIME), ObservedRestore(backup=None, job=ABSENT), NOW)
    assert (result.attempt, said(result.judgments)[1]) == (1, "Starting")


def test_a_step_that_was_not_needed_is_not_the_one_that_failed() -> None:
    steps = [
        {"name": name, "started": NOW.isoformat(), "finished": NOW.isoformat()}
        for name in ("Resolve", "Prepare", "Fetch", "Verify", "Combine", "MakeHarmless")
    ]
    job = ended_job(failure("RecoveryFailed"), told={"restore": success(steps=steps)})
    status = written(plan(restore_request(status=OPEN), seen(job), NOW), restore_request())
    assert [step["name"] for step in status["steps"] if step["state"] == "Failed"] == ["Recover"]


def test_steps_follow_what_the_pod_tells() -> None:
    progress = Progress(nonce="n", step="Fetch", done=1, total=4)
    job = job_state(JobPhase.RUNNING)
    status = written(plan(restore_request(status=OPEN), seen(job, progress=progress), NOW), restore_request())
    states = {step["name"]: step["state"] for step in status["steps"]}
    assert (states["Resolve"], states["Prepare"], states["Fetch"], states["Verify"]) == (
        "Done", "Done", "Running", "Pending",
    )  # fmt: skip
    assert (status["step"], status["progress"]["percent"]) == ("Fetch", 25)


def test_a_step_that_cannot_be_read_is_passed_over() -> None:
    odd = success(steps=[{"name": "Fetch", "began": "yesterday"}])
    job = job_state(JobPhase.RUNNING, told={"restore": odd})
    assert kstatus(plan(restore_request(status=OPEN), seen(job), NOW).judgments) == WORKING
