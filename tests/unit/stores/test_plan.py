"""When a BackupStore is probed, and what is said about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import AttemptOutcome
from pgwarden.jobs.state import ABSENT, JobPhase
from pgwarden.stores.access import location, mounts, obstacle, volumes, wanted
from pgwarden.stores.plan import (
    ATTEMPTS_PER_PROBE,
    FAILED_AGAIN_AT_MOST_SECONDS,
    FAILED_AGAIN_SECONDS,
    ObservedStore,
    plan,
    probe_job,
    probed_spec,
)
from pgwarden.stores.resource import BackupStore
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    attempt,
    bucket_store,
    claim_store,
    condition,
    conditions_of,
    ended_job,
    failure,
    job_state,
    kstatus,
    said,
    success,
    written,
)

SPEC = probed_spec(claim_store())
SAID_NOTHING = ("", "", "")


def probed(ready: str = "True", writable: str = "True", *, next_in: float = -1, **more: Any) -> BackupStore:
    """A store that was probed with its present spec."""
    status = {
        "probedSpec": SPEC,
        "lastProbeTime": "2026-11-23T10:00:00Z",
        "nextProbeTime": (NOW + timedelta(seconds=next_in)).isoformat(),
        "conditions": [condition("Ready", ready), condition("Writable", writable)],
        **more,
    }
    return claim_store(status=status)


FIRST: dict[str, Any] = {"attempts": [attempt()]}
JUST_BEGUN: dict[str, Any] = {"attempts": [{**attempt(), "startTime": NOW.isoformat()}]}
LAST_JOB = probe_job(claim_store(), ATTEMPTS_PER_PROBE)
LAST: dict[str, Any] = {"attempts": [attempt(ATTEMPTS_PER_PROBE, AttemptOutcome.FAILED, ago=999, job=LAST_JOB)]}


@pytest.mark.parametrize(
    ("before", "observed", "triple", "writable", "starts"),
    [
        (claim_store(), ObservedStore(ABSENT), WORKING, "Unknown", 1),
        (claim_store(), ObservedStore(ABSENT, obstacle=Obstacle("SecretMissing", "x")), WORKING, "Unknown", None),
        (claim_store(suspend=True), ObservedStore(ABSENT), IN_FORCE, "", None),
        (claim_store(status=FIRST), ObservedStore(job_state(JobPhase.RUNNING, reason="R")), WORKING, "Unknown", None),
        (claim_store(status=FIRST), ObservedStore(ended_job(failure(retryable=True))), WORKING, "Unknown", None),
        (claim_store(status=FIRST), ObservedStore(ended_job(failure())), STUCK, "False", None),
        (claim_store(status=LAST), ObservedStore(ABSENT), STUCK, "False", None),
        (claim_store(status=FIRST), ObservedStore(ended_job(success())), IN_FORCE, "True", None),
        # Once in force, a store stays so: that it can't be written now is told by Writable.
        (probed(), ObservedStore(ABSENT), SAID_NOTHING, "", 1),
        (probed(**JUST_BEGUN), ObservedStore(job_state(JobPhase.RUNNING)), SAID_NOTHING, "", None),
        (probed(**FIRST), ObservedStore(ended_job(failure())), SAID_NOTHING, "False", None),
        (probed(next_in=60), ObservedStore(ABSENT), SAID_NOTHING, "", None),
        (probed(ready="False", writable="False"), ObservedStore(ABSENT), WORKING, "", 1),
    ],
)
def test_each_state_has_its_step_and_its_words(
    before: BackupStore, observed: ObservedStore, triple: tuple[str, ...], writable: str, starts: int | None
) -> None:
    result = plan(before, observed, NOW)
    assert kstatus(result.judgments) == triple
    told = [judgment.status.value for judgment in result.judgments if judgment.type == "Writable"]
    assert told == ([writable] if writable else [])
    assert result.attempt == starts


def test_a_probe_that_succeeded_is_repeated_after_the_interval() -> None:
    observed = ObservedStore(ended_job(success(freeBytes=5 << 30, totalBytes=10 << 30)), probe_interval_seconds=3600)
    status = written(plan(claim_store(status=FIRST), observed, NOW), claim_store())
    assert (status["lastProbeTime"], status["nextProbeTime"]) == ("2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z")
    assert "free" not in status or status["free"] == ""
    full = success(reachable=True, writable=True, freeBytes=5 << 30, totalBytes=10 << 30)
    told = written(plan(claim_store(status=FIRST), ObservedStore(ended_job(full)), NOW), claim_store())
    # A claim of 10Gi is shown as one: rounding in powers of ten made 9.97 of it.
    assert (told["free"], told["totalBytes"]) == ("5Gi of 10Gi", 10 << 30)


def failing_for(seconds: float) -> BackupStore:
    since = (NOW - timedelta(seconds=seconds)).isoformat()
    store = probed(ready="False", **FIRST)
    status = store.status.to_json()
    status["conditions"] = [condition("Ready", "False"), condition("Writable", "False") | {"lastTransitionTime": since}]
    return claim_store(status=status)


@pytest.mark.parametrize(
    ("seconds", "pause"), [(1, FAILED_AGAIN_SECONDS), (300, 300), (86400, FAILED_AGAIN_AT_MOST_SECONDS)]
)
def test_a_store_that_has_failed_for_long_costs_few_jobs(seconds: float, pause: float) -> None:
    assert plan(failing_for(seconds), ObservedStore(ended_job(failure())), NOW).again_after == pause


def test_a_changed_spec_is_probed_at_once_and_by_another_job() -> None:
    changed = claim_store(encryption={"recipients": ["age1" + "q" * 58]}, status=probed(next_in=600).status.to_json())
    assert plan(changed, ObservedStore(ABSENT), NOW).attempt == 1
    assert probe_job(changed, 1) != probe_job(probed(), 1)
    assert plan(claim_store(jobTemplate={"suspend": True}, status=probed(next_in=600).status.to_json()),
                ObservedStore(ABSENT), NOW).attempt is None  # fmt: skip


def test_each_probe_has_jobs_of_its_own() -> None:
    later = probed()
    later.status.last_probe_time = NOW
    names = {probe_job(store, number) for store in (claim_store(), probed(), later) for number in (1, 2, 3)}
    assert len(names) == 9


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (None, "StoreNotFound"),
        (claim_store(suspend=True), "StoreSuspended"),
        (claim_store(), "StoreNotProbed"),
        (probed(writable="False"), "StoreNotWritable"),
    ],
)
def test_what_keeps_work_from_a_store_is_named(store: BackupStore | None, reason: str) -> None:
    told = obstacle(store, "claims")
    assert told is not None
    assert told.reason == reason
    assert obstacle(probed(), "claims") is None


@pytest.mark.parametrize("store", [claim_store(), bucket_store()])
def test_what_a_pod_mounts_is_what_its_task_reads(store: BackupStore) -> None:
    paths = {mount["mountPath"] for mount in mounts(store)}
    assert {mount["name"] for mount in mounts(store)} == {volume["name"] for volume in volumes(store)}
    where = location(store)
    files = [where.s3.access_key_id_file, where.s3.secret_access_key_file, where.s3.ca_file] if where.s3 else []
    assert all(file is not None and file.rsplit("/", 1)[0] in paths for file in files)
    assert bool(wanted(store)) == bool(files)


def test_an_event_tells_when_a_store_turns() -> None:
    turned = plan(probed(**FIRST), ObservedStore(ended_job(failure("BucketNotFound"))), NOW)
    assert [(notice.reason, notice.warning) for notice in turned.notices] == [("BucketNotFound", True)]
    assert plan(probed(), ObservedStore(ABSENT), NOW).notices == []
    assert said(turned.judgments, "Writable") == ("False", "BucketNotFound")


@pytest.mark.parametrize(
    ("report", "deletable", "words"),
    [
        ({}, ("True", "Deleted"), "gone"),
        ({"versions": True}, ("True", "KeepsVersions"), "lifecycle rule"),
        ({"kept": "held until May", "keptReason": "ObjectLocked"}, ("False", "ObjectLocked"), "held until May"),
        ({"kept": "denied", "keptReason": "StoreAccessDenied"}, ("False", "StoreAccessDenied"), "retention can delete"),
    ],
)
def test_a_store_that_deletes_nothing_is_writable_and_says_what_that_means(
    report: dict[str, Any], deletable: tuple[str, str], words: str
) -> None:
    told = success(reachable=True, writable=True, **report)
    before = claim_store(status=FIRST)
    result = plan(before, ObservedStore(ended_job(told)), NOW)
    assert kstatus(result.judgments) == IN_FORCE
    assert said(result.judgments, "Writable") == ("True", "Probed")
    assert said(result.judgments, "Deletable") == deletable
    assert words in conditions_of(written(result, before))["Deletable"].message
    assert [notice.reason for notice in result.notices if notice.warning] == [deletable[1]] * (deletable[0] == "False")


@pytest.mark.parametrize(
    ("skew", "agrees", "words"),
    [(0.0, "True", ""), (59.0, "True", ""), (-59.0, "True", ""), (601.0, "False", "10m ahead of"),
     (-130.0, "False", "2m behind")],
)  # fmt: skip
def test_a_clock_that_is_off_is_told_with_direction_and_amount(skew: float, agrees: str, words: str) -> None:
    before = claim_store(status=FIRST)
    told = success(reachable=True, writable=True, clockSkewSeconds=skew)
    result = plan(before, ObservedStore(ended_job(told)), NOW)
    assert said(result.judgments, "ClockAgrees")[0] == agrees
    assert words in conditions_of(written(result, before))["ClockAgrees"].message


@pytest.mark.parametrize("reason", ["ClaimMissing", "ClaimBeingDeleted"])
def test_a_claim_that_goes_takes_writable_with_it(reason: str) -> None:
    result = plan(probed(next_in=3600), ObservedStore(ABSENT, obstacle=Obstacle(reason, "it goes")), NOW)
    assert kstatus(result.judgments) == WORKING
    assert said(result.judgments, "Writable") == ("False", reason)
    assert result.attempt is None
    # As soon as there is a claim again, it is another volume: the probe does not wait for its hour.
    assert result.status.next_probe_time == NOW  # type: ignore[attr-defined]
    back = claim_store(status=written(result, probed(next_in=3600)))
    assert plan(back, ObservedStore(ABSENT), NOW + timedelta(seconds=15)).attempt == 1


def test_a_probe_that_stands_still_does_not_vouch_for_what_was() -> None:
    waiting = ObservedStore(job_state(JobPhase.RUNNING, reason="PodUnschedulable", message="no node has the volume"))
    before = probed(**JUST_BEGUN)
    assert plan(before, waiting, NOW + timedelta(minutes=2)).judgments == []
    result = plan(before, waiting, NOW + timedelta(minutes=4))
    assert kstatus(result.judgments) == SAID_NOTHING
    assert said(result.judgments, "Writable") == ("Unknown", "PodUnschedulable")
    refused = obstacle(claim_store(status=written(result, before)), "claims")
    assert refused is not None
    assert "no node has the volume" in refused.message
