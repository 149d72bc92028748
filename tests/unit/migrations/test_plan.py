"""What is done and said about a DatabaseMigration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase
from pgwarden.migrations.files import Parsed, parse
from pgwarden.migrations.plan import ObservedMigration, migration_job, plan, wanted_digest
from pgwarden.migrations.resource import DatabaseMigration
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    attempt,
    ended_job,
    failure,
    job_state,
    kstatus,
    migration,
    said,
    success,
    written,
)

FILES = parse([("files/1_a.up.sql", b"SELECT 1;"), ("files/2_b.up.sql", b"SELECT 2;")])
OTHER_FILES = parse([("files/1_a.up.sql", b"SELECT 1;")])
TWICE = parse([("files/1_a.up.sql", b"SELECT 1;"), ("files/1_b.up.sql", b"SELECT 2;")])
WANTED = wanted_digest(migration(), FILES)
REPORT: dict[str, Any] = {
    "currentVersion": "2",
    "latestVersion": "2",
    "applied": 2,
    "pending": 0,
    "durationSeconds": 0.5,
}
FAILED: dict[str, Any] = {
    "currentVersion": "1",
    "applied": 1,
    "pending": 1,
    "failed": {"version": "2", "file": "2_b.up.sql", "sqlstate": "42601", "statement": "SELEC", "error": "x" * 5000},
}


def tried(*attempts: Any, **status: Any) -> DatabaseMigration:
    """A migration whose present files were tried."""
    return migration(status={"triedDigest": WANTED, "attempts": list(attempts), **status})


def observed(job: Any = ABSENT, files: Parsed = FILES, **more: Any) -> ObservedMigration:
    return ObservedMigration(files=files, job=job, **more)


@pytest.mark.parametrize(
    ("before", "seen", "triple", "reason", "starts"),
    [
        (migration(), observed(), WORKING, "Starting", 1),
        (migration(), observed(missing=["ConfigMap x"]), WORKING, "SourceMissing", None),
        (migration(), observed(files=TWICE), STUCK, "DuplicateVersion", None),
        (migration(), observed(files=parse([])), STUCK, "NoMigrations", None),
        (migration(version="7"), observed(), STUCK, "UnknownVersion", None),
        (migration(version="0"), observed(), WORKING, "Starting", 1),
        (migration(version="001"), observed(), WORKING, "Starting", 1),
        (migration(suspend=True), observed(), WORKING, "Suspended", None),
        (migration(), observed(obstacle=Obstacle("ClusterNotFound", "x")), WORKING, "ClusterNotFound", None),
        (migration(), observed(busy="waits"), WORKING, "Queued", None),
        (tried(attempt()), observed(job_state(JobPhase.QUEUED, reason="PodForbidden")), WORKING, "PodForbidden", None),
        (tried(attempt()), observed(job_state(JobPhase.RUNNING)), WORKING, "Migrating", None),
        (tried(attempt()), observed(ended_job(failure("LockTimeout", retryable=True))), WORKING, "LockTimeout", None),
        (tried(attempt()), observed(ended_job(failure("MigrationFailed", **FAILED))), STUCK, "MigrationFailed", None),
        (tried(attempt()), observed(ended_job(success("Migrated", **REPORT))), IN_FORCE, "UpToDate", None),
        # A database that is where it should be stays so, also when nobody can be reached to look again.
        (migration(status={"appliedDigest": WANTED}), observed(), IN_FORCE, "UpToDate", None),
        (
            migration(status={"appliedDigest": WANTED}),
            observed(obstacle=Obstacle("ClusterUnreachable", "x")),
            IN_FORCE,
            "UpToDate",
            None,
        ),
        # Other files: what the earlier ones came to says nothing about them.
        (tried(attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED)), observed(files=OTHER_FILES), WORKING, "Starting", 1),
        (migration(status={"appliedDigest": WANTED}), observed(files=OTHER_FILES), WORKING, "Starting", 1),
    ],
)
def test_each_state_has_its_step_and_its_words(
    before: DatabaseMigration, seen: ObservedMigration, triple: tuple[str, ...], reason: str, starts: int | None
) -> None:
    result = plan(before, seen, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments)[1] == reason
    assert result.attempt == starts


def test_a_failure_for_good_is_not_tried_again_when_its_job_is_cleared_away() -> None:
    failed = plan(tried(attempt()), observed(ended_job(failure("MigrationFailed", **FAILED))), NOW)
    later = migration(status=written(failed, tried(attempt())))
    for hours in (1, 24, 24 * 365):
        again = plan(later, observed(ABSENT), NOW + timedelta(hours=hours))
        assert (again.attempt, kstatus(again.judgments)) == (None, STUCK)
    assert written(plan(later, observed(ABSENT), NOW), later) == later.status.to_json()


@pytest.mark.parametrize(
    ("before", "job"),
    [
        (migration(), ABSENT),
        (migration(status={"appliedDigest": WANTED}), ABSENT),
        (tried(attempt()), ended_job(success(**REPORT))),
        (tried(attempt(1, AttemptOutcome.FAILED)), ABSENT),
    ],
)
def test_a_database_that_an_older_migration_has_is_left_alone(before: DatabaseMigration, job: Any) -> None:
    result = plan(before, observed(job, taken_by="shop/older"), NOW)
    assert (result.attempt, result.start, kstatus(result.judgments)) == (None, None, STUCK)
    assert said(result.judgments)[1] == "DatabaseTaken"
    message = result.judgments[0].message
    assert "DatabaseMigration shop/older" in message and "delete the other" in message


def test_a_run_under_way_is_waited_for_before_its_database_is_left_to_the_older_one() -> None:
    running = plan(tried(attempt()), observed(job_state(JobPhase.RUNNING), taken_by="shop/older"), NOW)
    assert said(running.judgments)[1] == "Migrating"


def test_how_much_is_pending_is_not_told_before_anybody_knows() -> None:
    first = plan(migration(), observed(), NOW)
    assert not {"pending", "applied"} & written(first, migration()).keys()
    done = migration(status=written(plan(tried(attempt()), observed(ended_job(success(**REPORT))), NOW), migration()))
    assert done.status.pending == 0
    changed = written(plan(done, observed(files=OTHER_FILES), NOW), done)
    assert not {"pending", "applied"} & changed.keys()


def test_the_retry_annotation_begins_afresh() -> None:
    failed = plan(tried(attempt()), observed(ended_job(failure(**FAILED))), NOW)
    later = migration(status=written(failed, tried(attempt())))
    asked = later.model_copy(
        update={"metadata": later.metadata.model_copy(update={"annotations": {"pgwarden.dev/retry": "1"}})}
    )
    assert plan(asked, observed(), NOW).attempt == 1
    digest = wanted_digest(asked, FILES)
    assert migration_job(asked, digest, 1) != migration_job(later, WANTED, 1)


def test_what_failed_stands_in_status_within_its_bounds_and_goes_when_it_is_mended() -> None:
    failed = written(plan(tried(attempt()), observed(ended_job(failure(**FAILED))), NOW), migration())
    assert (failed["failed"]["sqlstate"], failed["currentVersion"], failed["pending"]) == ("42601", "1", 1)
    assert len(failed["failed"]["error"]) == 1024
    again = migration(status={**failed, "attempts": [attempt()]})
    mended = written(plan(again, observed(ended_job(success(**REPORT))), NOW), migration())
    assert "failed" not in mended
    assert (mended["currentVersion"], mended["appliedDigest"]) == ("2", WANTED)


def test_a_report_that_cannot_be_read_leaves_the_rest_as_it_was() -> None:
    result = plan(tried(attempt(), currentVersion="1"), observed(ended_job(success(applied="many"))), NOW)
    assert kstatus(result.judgments) == IN_FORCE
    assert written(result, migration())["currentVersion"] == "1"


@pytest.mark.parametrize(
    "spec",
    [
        {"version": "1"},
        {"down": {"allow": True}},
        {"role": "owner"},
        {"lockTimeoutSeconds": 6},
        {"statementTimeoutSeconds": 1},
    ],
)
def test_a_changed_setting_is_something_new_to_do(spec: dict[str, Any]) -> None:
    assert wanted_digest(migration(**spec), FILES) != WANTED


@pytest.mark.parametrize("spec", [{"suspend": True}, {"jobTemplate": {"labels": {"a": "b"}}}])
def test_what_does_not_touch_the_database_is_nothing_new(spec: dict[str, Any]) -> None:
    assert wanted_digest(migration(**spec), FILES) == WANTED


def test_at_rest_nothing_is_written() -> None:
    result = plan(tried(attempt()), observed(ended_job(success(**REPORT))), NOW)
    after = written(result, migration())
    again = migration(status=after)
    assert written(plan(again, observed(ABSENT), NOW + timedelta(days=1)), again) == after


def test_people_are_told_once_of_a_failure() -> None:
    seen = observed(ended_job(failure("MigrationFailed", **FAILED)))
    assert [(n.reason, n.warning) for n in plan(tried(attempt()), seen, NOW).notices] == [("MigrationFailed", True)]
    known = migration(status=written(plan(tried(attempt()), seen, NOW), migration()))
    assert plan(known, seen, NOW).notices == []
