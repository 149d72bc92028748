"""What is done and said about a backup that a person wants pinned, or pinned no more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.backups.pinning import pin_job, plan_pin, unlike, wanted_pinned
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.backups.wishes import ObservedWish
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from tests.support.objects import (
    NOW,
    attempt,
    backup,
    condition,
    ended_job,
    failure,
    job_state,
    restorable_backup,
    said,
    success,
    written,
)

DONE = [condition("Ready", "True"), condition("Restorable", "True")]


def wanted(*, pinned: bool = True, said: str = "", **status: Any) -> DatabaseBackup:
    """A finished backup with that spec.pinned, and the condition Pinned where it has one."""
    if said:
        status["conditions"] = [*DONE, condition("Pinned", said)]
    done = restorable_backup(**status)
    return done.model_copy(update={"spec": done.spec.model_copy(update={"pinned": pinned})})


def open_attempt(number: int = 1, outcome: AttemptOutcome | None = None, ago: float = 0.0) -> dict[str, Any]:
    return attempt(number, outcome, ago=ago, job=pin_job(wanted(), number))


@pytest.mark.parametrize(
    ("pinned", "said", "expected"),
    [
        (True, "", True),
        (True, "Unknown", True),
        (True, "False", True),
        (True, "True", False),
        (False, "", False),
        (False, "False", False),
        (False, "True", True),
        (False, "Unknown", True),
    ],
)
def test_the_store_is_told_where_it_has_another_pin_than_the_spec(pinned: bool, said: str, expected: bool) -> None:
    assert unlike(wanted(pinned=pinned, said=said)) == expected


def test_what_lies_in_no_store_cannot_be_pinned() -> None:
    being_taken = backup(pinned=True)
    failed = backup(
        status={"conditions": [condition("Stalled", "True"), condition("Restorable", "False")]}, pinned=True
    )
    gone = wanted(conditions=[*DONE, condition("Expired", "True")])
    assert [unlike(each) for each in (being_taken, failed, gone)] == [False, False, False]


def test_a_job_that_runs_is_followed_although_the_wish_was_taken_back() -> None:
    assert unlike(wanted(pinned=False, said="False", attempts=[open_attempt()]))


@pytest.mark.parametrize(("reason", "truth"), [("Pinned", "True"), ("Unpinned", "False")])
def test_what_the_job_did_is_told_whatever_the_spec_says_by_now(reason: str, truth: str) -> None:
    for pinned in (True, False):
        before = wanted(pinned=pinned, attempts=[open_attempt()])
        result = plan_pin(before, ObservedWish(ended_job(success(reason))), NOW)
        assert said(result.judgments, "Pinned") == (truth, reason)
        after = DatabaseBackup.model_validate({**before.to_json(), "status": written(result, before)})
        assert unlike(after) == (pinned != (reason == "Pinned")), "it is told again where the wish has turned"
        assert pin_job(after, 1) != pin_job(before, 1)


def test_a_job_under_way_is_waited_for() -> None:
    result = plan_pin(wanted(attempts=[open_attempt()]), ObservedWish(job_state(JobPhase.RUNNING)), NOW)
    assert (result.attempt, said(result.judgments, "Pinned")) == (None, ("Unknown", "Pinning"))


def refused(ago: float) -> DatabaseBackup:
    return wanted(attempts=[open_attempt(MAX_ATTEMPTS, AttemptOutcome.REJECTED, ago)])


def test_a_refusal_is_told_and_asked_again_in_an_hour() -> None:
    job: JobState = ended_job(failure("ArchiveBelongsToAnother"))
    result = plan_pin(wanted(attempts=[open_attempt()]), ObservedWish(job), NOW)
    assert said(result.judgments, "Pinned") == ("Unknown", "ArchiveBelongsToAnother")
    assert result.again_after == 3600
    later = plan_pin(refused(ago=600), ObservedWish(ABSENT), NOW)
    assert (later.attempt, later.again_after) == (None, 3000)
    ahead = plan_pin(refused(ago=-900), ObservedWish(ABSENT), NOW)
    assert ahead.again_after == 3600, "the cluster's clock may be ahead of ours"
    again = plan_pin(refused(ago=3600), ObservedWish(ABSENT), NOW)
    after = DatabaseBackup.model_validate({**refused(3600).to_json(), "status": written(again, refused(3600))})
    assert plan_pin(after, ObservedWish(ABSENT), NOW + timedelta(seconds=1)).attempt == 1


def test_whoever_prunes_is_told_of_wishes_that_the_store_does_not_know_yet() -> None:
    mine, plain = wanted(), restorable_backup("plain", backupID="plain-1")
    elsewhere = backup("elsewhere", {"backupID": "elsewhere-1"}, storeRef={"name": "bucket"}, pinned=True)
    assert wanted_pinned(mine, [mine, plain, elsewhere]) == [mine.status.backup_id]
