"""A drill: measured, checked, thrown away; given up when it cannot begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.quantities import parse_quantity
from pgwarden.backups.record import BackupRecord
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Progress, Result
from pgwarden.restores.drills import BEGINS_WITHIN, STANDS_STILL, volume, volume_bytes
from pgwarden.restores.plan import ObservedRestore, finished, plan
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.space import needed_room
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    Body,
    attempt,
    drill_request,
    ended_job,
    failure,
    job_state,
    kstatus,
    restorable_backup,
    said,
    success,
    written,
)

from .records import record

LATE = NOW + BEGINS_WITHIN + timedelta(minutes=1)
POLICY = "uid-of-operational"
OPEN: Body = {"attempts": [{**attempt(), "startTime": "2026-11-23T11:50:00Z"}], "startTime": "2026-11-23T11:50:00Z"}
LAST: Body = {"attempts": [attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED, ago=999)]}
REPORT: Body = {
    "endLsn": "0/6000000",
    "timeline": 2,
    "systemIdentifier": "7301",
    "endTime": "2026-11-23T11:40:00Z",
    "checks": [{"name": "amcheck", "passed": True, "builtIn": True}],
    "steps": [
        {"name": "Recover", "started": "2026-11-23T11:52:00Z", "finished": "2026-11-23T11:53:00Z"},
        {"name": "Amcheck", "started": "2026-11-23T11:54:00Z", "finished": "2026-11-23T11:58:30Z"},
    ],
}
RESOLVED: Body = {
    "backupId": "20261123T110000Z-full-0123456789",
    "location": "shop/operational/0001/backups/20261123T110000Z-full-0123456789",
    "chain": ["20261123T110000Z-full-0123456789"],
    "target": "the end of the archive on timeline 1",
    "timeline": 1,
    "endLsn": "0/5000000",
    "archivedLsn": "0/5900000",
    "archivedTime": "2026-11-23T11:50:20Z",
    "walUntil": "0/6000000",
    "archive": "shop/operational/0001",
}


def laid_out(**resolved: Any) -> Result:
    """What the container `restore` told."""
    steps = [{"name": "Resolve", "started": "2026-11-23T11:50:30Z", "finished": "2026-11-23T11:50:31Z"}]
    return success("LaidOut", resolved=RESOLVED | resolved, steps=steps)


def seen(job: JobState = ABSENT, **more: Any) -> ObservedRestore:
    return ObservedRestore(backup=None, job=job, **more)


def over(**report: Any) -> JobState:
    """The Job of a drill that went well."""
    recovered = success("Recovered", **REPORT | report)
    return ended_job(recovered, told={"restore": laid_out(), "agent": recovered})


@pytest.mark.parametrize(
    ("before", "observed", "triple", "reason", "starts"),
    [
        (drill_request(), seen(), WORKING, "Starting", 1),
        (drill_request(suspend=True), seen(), WORKING, "Suspended", None),
        (drill_request(), seen(busy="another drill"), WORKING, "Queued", None),
        (drill_request(by=POLICY), seen(obstacle=Obstacle("SecretMissing", "x")), WORKING, "SecretMissing", None),
        (drill_request(status=OPEN), seen(job_state(JobPhase.QUEUED, reason="R")), WORKING, "R", None),
        (drill_request(status=OPEN), seen(job_state(JobPhase.RUNNING)), WORKING, "Restoring", None),
        (drill_request(status=OPEN), seen(over()), IN_FORCE, "Completed", None),
        (drill_request(status=OPEN), seen(ended_job(failure("CheckFailed"))), STUCK, "CheckFailed", None),
        (drill_request(status=OPEN), seen(ended_job(success(a=1))), STUCK, "ReportUnreadable", None),
        (drill_request(status=LAST), seen(), STUCK, "Ended", None),
        (drill_request(status=OPEN, cancel=True), seen(job_state(JobPhase.RUNNING)), STUCK, "Cancelled", None),
    ],
)
def test_each_state_has_its_step_and_its_words(
    before: RestoreRequest, observed: ObservedRestore, triple: tuple[str, ...], reason: str, starts: int | None
) -> None:
    result = plan(before, observed, NOW)
    assert (kstatus(result.judgments), said(result.judgments)[1]) == (triple, reason)
    assert (result.attempt, result.make_instance) == (starts, False)
    assert finished(drill_request(status=written(result, before))) == (triple != WORKING)


def test_it_tells_how_long_a_restore_takes_and_what_would_have_been_lost() -> None:
    """Ten minutes by the Job, less four and a half of pg_amcheck; the archive told of 11:50:20 when it was asked."""
    status = written(plan(drill_request(status=OPEN), seen(over()), NOW), drill_request())
    assert status["recoverySeconds"] == 600 - 270
    assert (status["dataLossSeconds"], status["restoredTime"]) == (10, "2026-11-23T11:50:20Z")
    assert (status["durationSeconds"], status["step"], status["checksPassed"]) == (600.0, "Done", 1)
    assert "host" not in status or not status["host"]
    steps = {step["name"]: step["state"] for step in status["steps"]}
    assert "HandOver" not in steps and "StartInstance" not in steps
    assert steps["Amcheck"] == "Done"
    message = next(each["message"] for each in status["conditions"] if each["type"] == "Ready")
    assert "a restore takes 5m30s, and 10s of data would have been lost" in message


def test_recovery_that_came_less_far_than_the_archive_tells_is_as_old_as_its_last_commit() -> None:
    job = over(endLsn="0/5800000")
    status = written(plan(drill_request(status=OPEN), seen(job), NOW), drill_request())
    assert (status["restoredTime"], status["dataLossSeconds"]) == ("2026-11-23T11:40:00Z", 630)


def test_to_another_moment_than_the_latest_nothing_is_lost_or_not() -> None:
    source = {"policyRef": {"name": "operational"}, "target": {"time": "2026-11-23T11:30:00Z"}}
    status = written(plan(drill_request(status=OPEN, source=source), seen(over()), NOW), drill_request())
    assert "dataLossSeconds" not in status
    assert status["restoredTime"] == "2026-11-23T11:30:00Z"


def test_what_it_failed_at_is_a_step_of_a_drill() -> None:
    steps = [
        {"name": name, "started": NOW.isoformat(), "finished": NOW.isoformat()}
        for name in ("Resolve", "Prepare", "Fetch", "Verify", "Combine", "MakeHarmless")
    ]
    before = [{"name": name, "started": NOW.isoformat(), "finished": NOW.isoformat()} for name in ("Recover", "Check")]
    told = {"restore": success(steps=steps), "agent": failure(steps=before)}
    job = ended_job(failure("ToolFailed", steps=before), told=told)
    status = written(plan(drill_request(status=OPEN), seen(job), NOW), drill_request())
    assert [step["name"] for step in status["steps"] if step["state"] == "Failed"] == ["Amcheck"]


def test_another_attempt_begins_with_the_first_step() -> None:
    """Its volume is a new one."""
    ended = {"attempts": [attempt(1, AttemptOutcome.FAILED, ago=999)]}
    known = {**ended, "steps": [{"name": "Fetch", "state": "Done", "startTime": "2026-11-23T11:00:00Z"}]}
    result = plan(drill_request(status=known), seen(), NOW)
    assert result.attempt == 2
    assert {step["state"] for step in written(result, drill_request())["steps"]} == {"Pending"}


UNSCHEDULABLE = job_state(JobPhase.QUEUED, reason="PodUnschedulable", message="no node takes the pod")


@pytest.mark.parametrize(
    ("before", "observed"),
    [
        (drill_request(status=OPEN), seen(UNSCHEDULABLE)),
        (drill_request(by=POLICY), seen(obstacle=Obstacle("SecretMissing", "Secret key is missing"))),
        (drill_request(by=POLICY), seen(busy="50 Jobs run")),
    ],
)
def test_a_drill_that_cannot_begin_is_given_up_and_says_what_kept_it(
    before: RestoreRequest, observed: ObservedRestore
) -> None:
    assert said(plan(before, observed, NOW).judgments)[1] != "DrillNotBegun"
    result = plan(before, observed, LATE)
    assert (kstatus(result.judgments), said(result.judgments)[1]) == (STUCK, "DrillNotBegun")
    why = (observed.obstacle.message if observed.obstacle else observed.busy) or observed.job.message
    assert why in next(each.message for each in result.judgments if each.type == "Ready")
    assert result.delete_job == (observed.job.name or None)


def test_a_drill_that_does_not_get_on_for_a_day_is_ended() -> None:
    progress = Progress(nonce="n", step="Amcheck")
    first = plan(drill_request(status=OPEN), seen(job_state(JobPhase.RUNNING), progress=progress), NOW)
    going = drill_request(status=written(first, drill_request()))
    running = seen(job_state(JobPhase.RUNNING), progress=progress)
    assert said(plan(going, running, NOW + STANDS_STILL).judgments)[1] == "Restoring"
    result = plan(going, running, NOW + STANDS_STILL + timedelta(seconds=1))
    assert (kstatus(result.judgments), said(result.judgments)[1]) == (STUCK, "DrillStuck")
    assert result.delete_job == "job-1"
    assert "progress" not in written(result, going)


@pytest.mark.parametrize(
    ("before", "observed"),
    [
        (drill_request(), seen(obstacle=Obstacle("SecretMissing", "x"))),
        (drill_request(status=OPEN), seen(job_state(JobPhase.RUNNING))),
    ],
)
def test_one_that_a_person_made_waits_and_one_that_runs_goes_on(
    before: RestoreRequest, observed: ObservedRestore
) -> None:
    assert kstatus(plan(before, observed, LATE + timedelta(days=3)).judgments) == WORKING


def test_a_cancelled_drill_leaves_nothing() -> None:
    result = plan(drill_request(status=OPEN, cancel=True), seen(job_state(JobPhase.RUNNING)), NOW)
    assert result.delete_job == "job-1"
    message = next(each.message for each in result.judgments if each.type == "Stalled")
    assert "goes with its Job" in message
    assert "delete" not in message


def test_a_volume_that_is_named_too_small_is_refused() -> None:
    small = drill_request(target={"drill": {"storage": {"size": "64Mi"}}})
    result = plan(small, ObservedRestore(backup=restorable_backup(), job=ABSENT), NOW)
    assert said(result.judgments)[1] == "VolumeTooSmall"
    assert "target.drill.storage.size 64Mi" in next(each.message for each in result.judgments if each.type == "Ready")
    unnamed = plan(drill_request(), ObservedRestore(backup=restorable_backup(), job=ABSENT), NOW)
    assert unnamed.attempt == 1


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ({}, {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Mi"}}}),
        (
            {"size": "7Gi", "storageClassName": "fast"},
            {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "7Gi"}},
                "storageClassName": "fast",
            },
        ),
    ],
)
def test_the_volume_is_a_claim_that_goes_with_the_pod(storage: Body, expected: Body) -> None:
    made = volume(drill_request(target={"drill": {"storage": storage}}), (2 << 20) + 1)
    assert made["name"] == "data"
    template = made["ephemeral"]["volumeClaimTemplate"]
    assert template["spec"] == expected
    assert template["metadata"]["labels"]["pgwarden.dev/owner-name"] == "exercise"


def test_without_a_storage_class_the_volume_is_on_the_node_and_limited() -> None:
    made = volume(drill_request(target={"drill": {"storage": {"storageClassName": ""}}}), 5 << 30)
    assert made == {"name": "data", "emptyDir": {"sizeLimit": "5120Mi"}}


def stored(number: int, plain: int) -> tuple[DatabaseBackup, BackupRecord]:
    """A backup of a chain, as its object and as its record tell it."""
    parent = f"id-{number - 1}" if number else ""
    told = restorable_backup(
        f"backup-{number}", backupID=f"id-{number}", plainBytes=plain, parent=parent, chainLength=number + 1,
        startLSN="0/3000028", stopLSN="0/3000120",
    )  # fmt: skip
    made = record()
    # The archive of every record has ten bytes.
    return told, made.model_copy(update={"manifest": made.manifest.model_copy(update={"plain_bytes": plain - 10})})


SIZES = st.integers(10, 1 << 40)


@given(st.lists(SIZES, min_size=1, max_size=5))
def test_a_volume_that_is_sized_by_objects_holds_what_the_agent_asks_for(sizes: list[int]) -> None:
    pairs = [stored(number, plain) for number, plain in enumerate(sizes)]
    chain = [found for found, _ in pairs]
    wanted = needed_room([made for _, made in pairs]).bytes
    room = volume_bytes(chain[-1], chain)
    assert room is not None
    assert wanted * 1.2 <= room <= wanted * 1.3
    size = volume(drill_request(), room)["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    assert parse_quantity(size) >= room


@given(st.lists(SIZES, min_size=2, max_size=5), st.data())
def test_a_backup_without_an_object_is_taken_for_as_large_as_the_largest(sizes: list[int], data: st.DataObject) -> None:
    """So are those before it: nothing tells which they are."""
    chain = [stored(number, plain)[0] for number, plain in enumerate(sizes)]
    gone = data.draw(st.integers(0, len(chain) - 2))
    there = [each for number, each in enumerate(chain) if number != gone]
    known = [plain for number, plain in enumerate(sizes) if number != gone]
    room = volume_bytes(chain[-1], there)
    assert room is not None
    assert room >= 2 * (sum(sizes[gone + 1 :]) + (gone + 1) * max(known))


def test_nothing_is_guessed_where_there_is_no_physical_backup() -> None:
    assert volume_bytes(None, []) is None
    assert volume_bytes(restorable_backup(plainBytes=None), []) is None
