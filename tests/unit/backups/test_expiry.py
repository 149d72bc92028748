"""What is done and said about a backup that a person wants deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pgwarden.backups.expiry import (
    concerned,
    deleting,
    expiry_job,
    may_lose_parent,
    plan_expiry,
    taken_on_it,
    wanted_gone,
)
from pgwarden.backups.plan import BackupPlan, ObservedBackup, backup_id, plan
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.backups.wishes import ObservedWish
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.policies.judgments import last_backup
from pgwarden.policies.runs import run_of
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    attempt,
    backup,
    condition,
    conditions_of,
    ended_job,
    failure,
    job_state,
    kstatus,
    restorable_backup,
    said,
    success,
    written,
)

ID = "20261123T110000Z-full-0123456789"
GONE: dict[str, Any] = {"dryRun": False, "backups": 1, "bytes": 1 << 20, "backupIds": [ID]}
REFUSED: dict[str, Any] = {
    "dryRun": False,
    "refused": [{"backupId": ID, "reason": "WindowNeedsIt", "message": "it stays"}],
    "refusedCount": 1,
}


def doomed(name: str = "nightly", *, expire: bool = True, **status: Any) -> DatabaseBackup:
    """A finished backup that a person wants deleted."""
    done = restorable_backup(name, **status)
    return done.model_copy(update={"spec": done.spec.model_copy(update={"expire": expire})})


def asked(
    job: JobState, before: DatabaseBackup | None = None, now: datetime = NOW
) -> tuple[BackupPlan, dict[str, Any]]:
    """The plan for a backup whose first attempt is open, and the status that it leaves."""
    before = before or doomed(attempts=[attempt(job=expiry_job(doomed(), 1))])
    result = plan_expiry(before, ObservedWish(job), now)
    return result, written(result, before)


def test_what_is_gone_says_so_and_is_left_alone_from_then_on() -> None:
    result, after = asked(ended_job(success(expiry=GONE)))
    assert kstatus(result.judgments) == IN_FORCE
    assert said(result.judgments, "Expired") == ("True", "Expired")
    assert said(result.judgments, "Restorable") == ("False", "Expired")
    assert "1Mi" in conditions_of(after)["Expired"].message
    assert [notice.reason for notice in result.notices] == ["Expired"]
    assert not concerned(doomed(**after))


def test_a_policy_takes_a_backup_that_was_deleted_for_no_failure() -> None:
    _, after = asked(ended_job(success(expiry=GONE)))
    run = run_of(doomed(**after))
    assert (run.failed, run.restorable, run.expired) == (False, False, True)
    assert last_backup([run], "").status == "Unknown"


def test_a_refusal_leaves_the_backup_as_good_as_it_was_and_is_asked_again_in_an_hour() -> None:
    result, after = asked(ended_job(success(expiry=REFUSED)))
    assert kstatus(result.judgments) == ("", "", "")
    assert said(result.judgments, "Expired") == ("False", "WindowNeedsIt")
    assert [notice.warning for notice in result.notices] == [True]
    refused = doomed(**after)
    rest = plan_expiry(refused, ObservedWish(ABSENT), NOW + timedelta(minutes=20))
    assert (rest.attempt, rest.judgments, rest.again_after) == (None, [], 2400)
    again = plan_expiry(refused, ObservedWish(ABSENT), NOW + timedelta(hours=1))
    assert again.attempt == 1
    assert expiry_job(refused, 1) != expiry_job(doomed(), 1), "the answer of the old Job is no answer now"


def test_a_wish_that_is_taken_back_keeps_the_backup() -> None:
    _, after = asked(ended_job(success(expiry=REFUSED)))
    kept = doomed(expire=False, **after)
    assert concerned(kept)
    result = plan_expiry(kept, ObservedWish(ABSENT), NOW)
    assert said(result.judgments, "Expired") == ("False", "Kept")
    assert not concerned(doomed(expire=False, **written(result, kept)))
    wanted_again = doomed(**written(result, kept))
    assert plan_expiry(wanted_again, ObservedWish(ABSENT), NOW).attempt == 1


def test_a_wish_that_is_taken_back_while_the_job_deletes_is_too_late() -> None:
    running = doomed(expire=False, attempts=[attempt(job=expiry_job(doomed(), 1))])
    assert concerned(running)
    assert plan_expiry(running, ObservedWish(job_state(JobPhase.RUNNING)), NOW).delete_job is None
    _, after = asked(ended_job(success(expiry=GONE)), running)
    assert conditions_of(after)["Expired"].status == "True"


def test_a_job_that_fails_is_tried_again_and_then_told() -> None:
    result, _ = asked(ended_job(failure("StoreUnreachable", retryable=True)))
    assert said(result.judgments, "Expired") == ("Unknown", "StoreUnreachable")
    last = attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED, ago=9, job=expiry_job(doomed(), MAX_ATTEMPTS))
    result, after = asked(ABSENT, doomed(attempts=[last]))
    assert said(result.judgments, "Expired")[0] == "False"
    assert "it ended" in conditions_of(after)["Expired"].message
    odd, _ = asked(ended_job(success(expiry={"backups": "odd"})))
    assert said(odd.judgments, "Expired") == ("False", "ReportUnreadable")
    of_another, _ = asked(ended_job(success(expiry={**GONE, "backupIds": ["another"]})))
    assert said(of_another.judgments, "Expired") == ("False", "ReportUnreadable")


def test_what_a_failed_backup_left_is_deleted_and_it_stays_a_failed_one() -> None:
    conditions = [condition("Stalled", "True"), condition("Restorable", "False", "StoreFull")]
    before = doomed(conditions=conditions, attempts=[attempt(job=expiry_job(doomed(), 1))])
    result, after = asked(ended_job(success(expiry=GONE)), before)
    assert kstatus(result.judgments) == ("", "", "")
    assert conditions_of(after)["Restorable"].reason == "StoreFull"
    assert run_of(doomed(**after)).failed


def test_a_backup_that_was_to_expire_before_it_began_is_not_taken() -> None:
    never = backup(expire=True)
    result = plan(never, ObservedBackup(ABSENT), NOW)
    assert (result.attempt, kstatus(result.judgments)) == (None, IN_FORCE)
    assert said(result.judgments, "Restorable") == ("False", "Expired")
    assert not concerned(backup(status=written(result, never), expire=True))


def test_one_that_is_being_taken_ends_first() -> None:
    assert not concerned(backup(status={"attempts": [attempt()]}, expire=True))
    assert kstatus(plan(backup(expire=True), ObservedBackup(job_state(JobPhase.RUNNING)), NOW).judgments) != STUCK


def test_all_that_people_want_gone_of_an_archive_is_judged_together() -> None:
    other = doomed("other", backupID="b-other")
    elsewhere = doomed("elsewhere", backupID="b-elsewhere")
    elsewhere.spec.store_ref.name = "bucket"
    kept = restorable_backup("kept", backupID="b-kept")
    assert wanted_gone(doomed(), [doomed(), other, elsewhere, kept]) == [ID, "b-other"]


def test_nothing_is_deleted_beneath_an_incremental_that_is_being_taken_nor_begun_beside_a_deletion() -> None:
    fresh = backup("hourly", type="Incremental")
    begun = backup("hourly", {"attempts": [attempt()], "backupID": backup_id(fresh)}, type="Incremental")
    assert taken_on_it(doomed(), [fresh]) == ""
    assert "hourly" in taken_on_it(doomed(), [backup("hourly", type="Incremental", parent=ID)])
    elsewhere = backup("hourly", {"attempts": [attempt()]}, type="Incremental", parent="another")
    assert taken_on_it(doomed(), [elsewhere]) == ""
    assert "hourly" in taken_on_it(doomed(), [begun])
    at_work = doomed(attempts=[attempt(job=expiry_job(doomed(), 1))])
    assert deleting(at_work)
    assert "nightly" in may_lose_parent(fresh, [at_work])
    assert may_lose_parent(fresh, [doomed()]) == ""
