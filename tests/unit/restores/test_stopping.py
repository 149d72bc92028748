"""Workloads are stopped and recorded in one patch, and become what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgwarden.clusters.resource import Dependent, DependentKind
from pgwarden.restores.stopping import CONSENT, RECORD, Workload, may_stop, start, stop
from tests.support.objects import Body, body

UID = "uid-of-rescue"
NAME = "shop/rescue"


def workload(kind: DependentKind, spec: Body, record: Body | str | None = None, running: int = 0) -> Workload:
    text = record if isinstance(record, str) else json.dumps(record)
    notes = {RECORD: text} if record is not None else {}
    made = body(kind.value, "api", spec, {"replicas": running}, annotations=notes)
    return Workload(kind, "shop", "api", made)


def deployment(replicas: int | None, record: Body | str | None = None, running: int = 0) -> Workload:
    spec = {} if replicas is None else {"replicas": replicas}
    return workload(DependentKind.DEPLOYMENT, spec, record, running)


def cron_job(suspend: bool, record: Body | None = None) -> Workload:
    return workload(DependentKind.CRON_JOB, {"suspend": suspend}, record)


@pytest.mark.parametrize(
    ("before", "spec", "recorded"),
    [
        (deployment(3), {"replicas": 0}, {"replicas": 3}),
        (deployment(None), {"replicas": 0}, {"replicas": 1}),
        (deployment(0), {"replicas": 0}, {"replicas": 0}),
        (cron_job(suspend=False), {"suspend": True}, {"suspend": False}),
        (cron_job(suspend=True), {"suspend": True}, {"suspend": True}),
        (deployment(3, {"uid": "an earlier one", "replicas": 9}), {"replicas": 0}, {"replicas": 3}),
        (deployment(2, "broken"), {"replicas": 0}, {"replicas": 2}),
    ],
)
def test_one_patch_stops_and_records_the_version_that_was_seen(before: Workload, spec: Body, recorded: Body) -> None:
    change = stop(before, UID, NAME)
    assert change is not None
    assert change.patch["spec"] == spec
    assert change.patch["metadata"]["resourceVersion"] == "1"
    assert json.loads(change.patch["metadata"]["annotations"][RECORD]) == {"uid": UID, "request": NAME, **recorded}


def test_what_is_stopped_stays_as_it_was_recorded() -> None:
    record = {"uid": UID, "request": NAME, "replicas": 3}
    assert stop(deployment(0, record), UID, NAME) is None
    again = stop(deployment(1, record), UID, NAME)
    assert again is not None
    assert json.loads(again.patch["metadata"]["annotations"][RECORD]) == record
    assert stop(Workload(DependentKind.DEPLOYMENT, "shop", "gone", None), UID, NAME) is None


@pytest.mark.parametrize(
    ("before", "at_least", "spec"),
    [
        (deployment(0, {"uid": UID, "replicas": 3}), 0, {"replicas": 3}),
        (deployment(0, {"uid": UID, "replicas": 0}), 0, {"replicas": 0}),
        (deployment(0, {"uid": UID, "replicas": 0}), 1, {"replicas": 1}),
        (deployment(5, {"uid": UID, "replicas": 3}), 0, {}),
        (cron_job(suspend=True, record={"uid": UID, "suspend": False}), 0, {"suspend": False}),
        (cron_job(suspend=True, record={"uid": UID, "suspend": True}), 0, {"suspend": True}),
        (cron_job(suspend=False, record={"uid": UID, "suspend": True}), 0, {}),
    ],
)
def test_a_workload_becomes_what_it_was_unless_somebody_has_decided_otherwise(
    before: Workload, at_least: int, spec: Body
) -> None:
    change = start(before, UID, at_least=at_least)
    assert change is not None
    assert change.patch["spec"] == spec
    assert change.patch["metadata"]["annotations"] == {RECORD: None}


@pytest.mark.parametrize(
    "before", [deployment(0), deployment(0, {"uid": "another", "replicas": 3}), deployment(0, "x")]
)
def test_what_this_request_did_not_stop_it_does_not_start(before: Workload) -> None:
    assert start(before, UID) is None


@pytest.mark.parametrize(
    ("each", "rests"),
    [
        (deployment(0), True),
        (deployment(0, running=1), False),
        (deployment(1), False),
        (cron_job(suspend=True), True),
        (cron_job(suspend=False), False),
    ],
)
def test_a_workload_rests_when_nothing_of_it_is_wanted_or_runs(each: Workload, rests: bool) -> None:
    assert each.at_rest is rests


@pytest.mark.parametrize(
    ("namespace", "notes", "may"),
    [
        (None, {}, True),
        ("shop", {}, True),
        ("web", {CONSENT: "shop/operational"}, True),
        ("web", {CONSENT: "shop/analytics"}, False),
        ("web", {}, False),
    ],
)
def test_a_workload_elsewhere_is_stopped_with_its_consent_only(
    namespace: str | None, notes: dict[str, Any], may: bool
) -> None:
    dependent = Dependent(name="api", namespace=namespace)
    found = Workload(DependentKind.DEPLOYMENT, namespace or "shop", "api", {"metadata": {"annotations": notes}})
    refusal = may_stop(found, dependent, "shop/operational")
    assert (refusal == "") is may
    assert may or f"annotates it with {CONSENT}: shop/operational" in refusal
