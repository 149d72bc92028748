"""What is done and said about a DatabaseBackup."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.backups.plan import ObservedBackup, backup_id, finished, plan
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Outcome, Progress, Result
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    attempt,
    backup,
    ended_job,
    failure,
    job_state,
    kstatus,
    restorable_backup,
    said,
    success,
    written,
)

REPORT: dict[str, Any] = {
    "backupId": "b",
    "location": "shop/operational/1/backups/b",
    "startTime": "2026-11-23T11:00:00Z",
    "stopTime": "2026-11-23T11:01:00Z",
    "startLsn": "0/2000028",
    "stopLsn": "0/2000158",
    "timeline": 1,
    "systemIdentifier": "7301",
    "postgresVersion": "17.10",
    "plainBytes": 1 << 30,
    "storedBytes": 1 << 28,
    "objects": 3,
}
SKIPPED = Result(outcome=Outcome.SKIPPED, reason="NothingNew", message="no WAL", report={"parentId": "full-1"})
OPEN: dict[str, Any] = {"attempts": [attempt()]}
LAST: dict[str, Any] = {"attempts": [attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED, ago=999)]}


@pytest.mark.parametrize(
    ("before", "observed", "triple", "reason", "restorable", "starts"),
    [
        (backup(), ObservedBackup(ABSENT), WORKING, "Starting", "Unknown", 1),
        (backup(suspend=True), ObservedBackup(ABSENT), WORKING, "Suspended", "Unknown", None),
        (backup(), ObservedBackup(ABSENT, Obstacle("StoreNotFound", "x")), WORKING, "StoreNotFound", "Unknown", None),
        (backup(), ObservedBackup(ABSENT, busy="waits"), WORKING, "Queued", "Unknown", None),
        (backup(status=OPEN), ObservedBackup(job_state(JobPhase.QUEUED, reason="ImageNotFound")), WORKING,
         "ImageNotFound", "", None),
        (backup(status=OPEN), ObservedBackup(job_state(JobPhase.RUNNING)), WORKING, "BackingUp", "", None),
        (backup(status=OPEN, suspend=True), ObservedBackup(job_state(JobPhase.RUNNING)), WORKING, "BackingUp", "",
         None),
        (backup(status=OPEN), ObservedBackup(ended_job(failure("StoreFull", retryable=True))), WORKING, "StoreFull", "",
         None),
        (backup(status=OPEN), ObservedBackup(ended_job(failure("WrongCluster"))), STUCK, "WrongCluster", "False", None),
        (backup(status=LAST), ObservedBackup(ABSENT), STUCK, "Ended", "False", None),
        (backup(status=OPEN), ObservedBackup(ended_job(success(**REPORT))), IN_FORCE, "Completed", "True", None),
        (backup(status=OPEN), ObservedBackup(ended_job(success(**REPORT, damaged=True))), STUCK, "Damaged", "False",
         None),
        (backup(status=OPEN), ObservedBackup(ended_job(success(**REPORT, untrusted="told of by 18.6"))), STUCK,
         "Untrusted", "False", None),
        (backup(status=OPEN, type="Incremental"), ObservedBackup(ended_job(SKIPPED, reason="NothingNew")), IN_FORCE,
         "NothingNew", "False", None),
        (backup(status=OPEN), ObservedBackup(ended_job(success(size="odd"))), STUCK, "ReportUnreadable", "False", None),
        (backup(cancel=True), ObservedBackup(ABSENT), STUCK, "Cancelled", "False", None),
        # The backup was there before anybody could end it.
        (backup(status=OPEN, cancel=True), ObservedBackup(ended_job(success(**REPORT))), IN_FORCE, "Completed", "True",
         None),
    ],
)  # fmt: skip
def test_each_state_has_its_step_and_its_words(
    before: DatabaseBackup,
    observed: ObservedBackup,
    triple: tuple[str, ...],
    reason: str,
    restorable: str,
    starts: int | None,
) -> None:
    result = plan(before, observed, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments)[1] == reason
    assert restorable == "" or said(result.judgments, "Restorable")[0] == restorable
    assert result.attempt == starts
    status = DatabaseBackup.of(
        {"metadata": {"name": "x"}, "spec": before.spec.to_json(), "status": written(result, before)}
    )
    assert finished(status) == (triple != WORKING)


def test_cancelling_ends_the_job_that_runs() -> None:
    result = plan(backup(status=OPEN, cancel=True), ObservedBackup(job_state(JobPhase.RUNNING)), NOW)
    assert result.delete_job == "job-1"


@pytest.mark.parametrize(
    "state", [ABSENT, ended_job(failure()), ended_job(success(**REPORT)), job_state(JobPhase.RUNNING)]
)
@pytest.mark.parametrize("spec", [{}, {"cancel": True}, {"suspend": True}])
def test_nothing_happens_to_a_backup_that_is_done(state: JobState, spec: dict[str, Any]) -> None:
    done = restorable_backup()
    done = done.model_copy(update={"spec": done.spec.model_copy(update=spec)})
    result = plan(done, ObservedBackup(state), NOW)
    assert (result.attempt, result.delete_job, result.judgments, result.status) == (None, None, [], done.status)


def test_progress_is_shown_while_the_job_runs_and_gone_afterwards() -> None:
    progress = Progress(nonce="n", step="copy", done=50, total=200)
    running = plan(backup(status=OPEN), ObservedBackup(job_state(JobPhase.RUNNING), progress=progress), NOW)
    assert written(running, backup())["progress"]["percent"] == 25
    shown = backup(status={**OPEN, "progress": {"step": "copy", "done": 50}})
    for job in (ended_job(success(**REPORT)), ended_job(failure()), ended_job(failure(retryable=True))):
        assert "progress" not in written(plan(shown, ObservedBackup(job), NOW), shown)


def test_every_attempt_of_a_backup_writes_the_same_folder() -> None:
    assert backup_id(backup()) == backup_id(backup(status=LAST))
    assert backup_id(backup()) != backup_id(backup("another"))
    assert backup_id(backup()).startswith("20261123T110000Z-full-")


def test_at_rest_nothing_is_written() -> None:
    result = plan(backup(status=OPEN), ObservedBackup(ended_job(success(**REPORT))), NOW)
    after = written(result, backup())
    again = backup(status=after)
    assert written(plan(again, ObservedBackup(ABSENT), NOW), again) == after


@pytest.mark.parametrize(("why", "usable"), [("", "True"), ("taken with PostgreSQL 18.6", "False")])
def test_a_full_says_whether_incrementals_can_be_taken_on_it(why: str, usable: str) -> None:
    result = plan(backup(status=OPEN), ObservedBackup(ended_job(success(**REPORT, noParent=why))), NOW)
    assert said(result.judgments, "Restorable")[0] == "True"
    assert said(result.judgments, "UsableAsParent")[0] == usable


def test_an_incremental_tells_its_parent_and_how_many_backups_a_restore_needs() -> None:
    report = {**REPORT, "parentId": "full-1", "chain": 2, "note": "taken from the primary"}
    after = written(plan(backup(status=OPEN), ObservedBackup(ended_job(success(**report))), NOW), backup())
    assert (after["parent"], after["chainLength"], after["note"]) == ("full-1", 2, "taken from the primary")
