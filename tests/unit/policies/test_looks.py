"""When the archive is looked after, and what is made of what a look tells."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from pgwarden.catalogue.contract import CatalogueReport, CheckReport, NewestReport, PointReport, PruneReport, What
from pgwarden.jobs.attempts import AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.policies.looks import Look, in_words, look_after, look_job
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import Run
from tests.support.objects import NOW, ended_job, failure, job_state, success
from tests.unit.policies.bodies import full, policy

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
REPORT = CatalogueReport(
    fulls=3,
    restorable=2,
    backup_bytes=1 << 20,
    wal_bytes=1 << 20,
    earliest=PointReport(time=NOW - timedelta(days=30), lsn="0/2000000"),
    latest=PointReport(time=NOW, lsn="0/5000000"),
    newest={"full": NewestReport(backup_id="new", time=NOW, stored_bytes=1 << 20)},
    prune=PruneReport(dry_run=False, backups=1, bytes=4096, backup_ids=["old"]),
)


def looked(ago: timedelta = 2 * HOUR, **more: Any) -> BackupPolicy:
    """A policy whose archive was looked after some time ago."""
    return policy(status={"catalogue": {"time": (NOW - ago).isoformat(), "what": "prune", **more}})


def under_way(before: BackupPolicy) -> BackupPolicy:
    record = {"number": 1, "job": look_job(before), "startTime": NOW.isoformat()}
    return before.model_copy(
        update={"status": before.status.model_validate({**before.status.to_json(), "attempts": [record]})}
    )


def look(
    before: BackupPolicy,
    runs: list[Run] | None = None,
    job: JobState = ABSENT,
    *,
    now: datetime = NOW,
    verification_due: bool = False,
    held_up: str = "",
) -> Look:
    runs = [full(NOW - 9 * HOUR)] if runs is None else runs
    return look_after(before, runs, job, now, verification_due=verification_due, held_up=held_up)


def told(report: CatalogueReport) -> dict[str, Any]:
    return report.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize(
    ("before", "runs", "expected"),
    [
        (policy(), [], None),
        (policy(), [full(NOW - HOUR)], What.PRUNE),
        # A minute after the backup ended, not at once.
        (policy(), [full(NOW - MINUTE)], None),
        (looked(), None, What.PRUNE),
        (looked(59 * MINUTE), None, None),
        (looked(10 * MINUTE), [full(NOW - 5 * MINUTE)], What.PRUNE),
        (looked(HOUR, failures=1), None, What.PRUNE),
        (looked(MINUTE, failures=1), None, None),
    ],
)
def test_a_look_is_due_every_hour_and_after_a_backup(
    before: BackupPolicy, runs: list[Run] | None, expected: What | None
) -> None:
    assert look(before, runs).start == expected


def test_a_check_that_is_due_takes_the_place_of_a_prune_and_is_repeated_when_it_could_not_be_made() -> None:
    assert look(looked(MINUTE), verification_due=True).start is What.VERIFY
    assert look(looked(HOUR, what="verify", failures=1)).start is What.VERIFY
    assert look(policy(), [], verification_due=True).start is None


def test_nothing_begins_while_something_holds_it_up() -> None:
    held = look(looked(), held_up="the store is full")
    assert (held.start, held.sound) == (None, None)


def test_an_archive_that_nobody_could_look_after_for_long_is_not_called_sound() -> None:
    held = look(looked(7 * HOUR), held_up="a restore has not found out yet which backups it needs")
    assert held.sound is not None and (held.sound.status, held.sound.reason) == ("Unknown", "LookHeldUp")
    assert "a restore has not found out" in held.sound.message


def test_what_a_look_found_stands_in_the_status() -> None:
    before = under_way(looked())
    done = look(before, job=ended_job(success(**told(REPORT)), look_job(before)))
    assert (done.status.fulls, done.status.restorable, done.status.size) == (3, 2, "2Mi")
    assert (done.status.deleted_backups, done.status.failures, done.status.time) == (1, 0, NOW)
    assert done.report == REPORT
    assert done.sound is not None and (done.sound.status, done.sound.reason) == ("True", "Sound")
    assert done.attempts[-1].outcome == AttemptOutcome.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"flawed": ["b1: damaged"], "flawed_count": 1}, "Flawed"),
        ({"troubles": ["b2: forged"], "trouble_count": 1}, "Flawed"),
        ({"prune": PruneReport(dry_run=False, refused=2, refusal="locked")}, "DeletionRefused"),
    ],
)
def test_what_is_wrong_in_the_archive_is_said(change: dict[str, Any], reason: str) -> None:
    before = under_way(looked())
    report = REPORT.model_copy(update=change)
    done = look(before, job=ended_job(success(**told(report)), look_job(before)))
    assert done.sound is not None and (done.sound.status, done.sound.reason) == ("False", reason)


def test_a_check_that_found_rot_counts_as_made() -> None:
    before = under_way(looked(what="verify"))
    report = REPORT.model_copy(update={"last_check": CheckReport(backup_id="b1", time=NOW, passed=False)})
    done = look(before, job=ended_job(failure("CheckFailed", **told(report)), look_job(before)))
    assert done.sound is not None and (done.sound.status, done.sound.reason) == ("False", "CheckFailed")
    assert (done.status.last_check_passed, done.status.last_check_backup, done.status.failures) == (False, "b1", 0)


def test_a_look_that_failed_leaves_what_was_known_and_is_repeated_less_and_less_often() -> None:
    before = under_way(looked(fulls=3))
    failed = look(before, job=ended_job(failure("StoreUnreachable", retryable=True), look_job(before)))
    assert (failed.status.fulls, failed.status.failures) == (3, 1)
    assert failed.sound is not None and failed.sound.status == "Unknown"
    waits = [look(looked(timedelta(), failures=count)).status.next_time for count in (1, 2, 3, 20)]
    assert [moment - NOW for moment in waits if moment] == [2 * MINUTE, 4 * MINUTE, 8 * MINUTE, HOUR]


def test_a_check_for_which_the_store_is_too_full_gives_way_to_a_prune() -> None:
    before = under_way(looked(what="verify"))
    full_store = look(before, job=ended_job(failure("StoreFull"), look_job(before)))
    assert (full_store.status.what, full_store.status.failures) == ("prune", 1)
    another = look(before, job=ended_job(failure("StoreUnreachable", retryable=True), look_job(before)))
    assert another.status.what == "verify"


def test_each_look_has_a_job_of_its_own() -> None:
    names = {look_job(each) for each in (policy(), looked(), looked(HOUR), looked(HOUR, failures=1))}
    assert len(names) == 4
    assert look_job(looked()) == look_job(looked())


def test_a_look_that_runs_is_waited_for() -> None:
    before = under_way(looked())
    assert look(before, job=job_state(JobPhase.RUNNING, look_job(before))).start is None


def test_retention_in_words() -> None:
    assert in_words(policy().spec.retention) == "every moment of 30d, at least 2 full backups"
    told_ = in_words(policy(retention={"window": "2w", "minimumFulls": 1, "monthly": 12}).spec.retention)
    assert told_ == "every moment of 2w, at least 1 full backup, 12 monthly"


def test_fulls_that_the_archive_does_not_hold_any_more_are_said() -> None:
    """Somebody emptied the bucket: nothing in it is flawed, because nothing is in it."""
    before = under_way(looked())
    empty = CatalogueReport()
    done = look(before, [full(NOW - 9 * HOUR, "nightly")], ended_job(success(**told(empty)), look_job(before)))
    assert done.sound is not None and (done.sound.status, done.sound.reason) == ("False", "BackupsMissing")
    assert "nightly" in done.sound.message


def test_a_window_of_nothing_promises_no_moment() -> None:
    kept = policy(retention={"window": "0d", "minimumFulls": 3}).spec.retention
    assert in_words(kept) == "at least 3 full backups"
