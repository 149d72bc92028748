"""When a policy makes a drill, of what, and what it says of those that ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.policies.drill_results import trend
from pgwarden.policies.drills import DrillRun, drill_run, is_drill_of
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import PolicyPlan, plan
from pgwarden.policies.recoverable import Measured
from pgwarden.policies.render import drill as rendered
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import RunType
from pgwarden.policies.surroundings import measured, measured_loss, no_drill
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore
from tests.support.objects import (
    NOW,
    Body,
    claim_store,
    cluster,
    condition,
    drill_request,
    observed_cluster,
    restore_request,
    said,
)
from tests.unit.policies.bodies import DAILY, after, done, full, gap, policy, settled, streaming

HOUR = timedelta(hours=1)
NIGHTLY: dict[str, Any] = {"schedule": "0 13 * * *", "jitterSeconds": 0}
LATER = NOW + 2 * HOUR
"""The drill's turn, at one o'clock, has come."""
RECIPIENT = f"age1{'q' * 58}"
FULL = full(NOW - 9 * HOUR)
MEASURED = Measured("rescue", 40.0, NOW - HOUR)


def drilled(target: str = "Latest", **spec: Any) -> BackupPolicy:
    """A policy with drills that has been looked at for a while."""
    return settled(drill={**NIGHTLY, "target": target}, **spec)


def look(before: BackupPolicy, *drills: DrillRun, now: datetime = LATER, **observed: Any) -> PolicyPlan:
    return plan(before, ObservedPolicy(**{"runs": [FULL], "drills": drills, **observed}), now)


def ended(name: str, hours_ago: float, **more: Any) -> DrillRun:
    """A drill that went well."""
    when = LATER - hours_ago * HOUR
    facts: dict[str, Any] = {
        "made": when - timedelta(minutes=5),
        "finished": True,
        "succeeded": True,
        "reason": "Completed",
        "message": "it came back",
        "ended": when,
        "recovery_seconds": 60,
        "data_loss_seconds": 4,
    }
    return DrillRun(name, **{**facts, **more})


def failed(name: str, hours_ago: float, reason: str = "CheckFailed") -> DrillRun:
    return ended(
        name, hours_ago, succeeded=False, reason=reason, message="it broke", recovery_seconds=None,
        data_loss_seconds=None,
    )  # fmt: skip


RUNNING = DrillRun("slow", LATER - HOUR, reason="Restoring")


def test_a_drill_is_made_at_its_turn_and_not_before() -> None:
    assert look(drilled(), now=NOW + timedelta(minutes=59)).drill is None
    turn = look(drilled()).drill
    assert turn is not None
    assert (turn.slot, turn.source) == (NOW + HOUR, {"policyRef": {"name": "operational"}, "target": {"latest": True}})
    assert turn.name.startswith("operational-drill-20261123-1300-")


def test_a_turn_is_taken_once() -> None:
    before = drilled()
    result = look(before)
    assert result.drill is not None
    again = after(result, before)
    assert look(again).drill is None
    made = DrillRun(result.drill.name, LATER)
    # The operator died before it could write down that the turn was taken.
    crashed = look(before, made)
    assert crashed.drill is None
    assert look(after(crashed, before)).drill is None


@pytest.mark.parametrize(
    ("before", "drills", "observed", "waiting"),
    [
        (drilled(), (), {"runs": []}, "no restorable backup yet"),
        (drilled(), (RUNNING,), {}, "slow has not ended"),
        (drilled(), (), {"no_drill": Obstacle("IdentityMissing", "no identity")}, "no identity"),
        (drilled(), (), {"obstacle": Obstacle("StoreNotFound", "there is no store")}, "there is no store"),
    ],
)
def test_a_drill_that_is_due_waits_and_says_for_what(
    before: BackupPolicy, drills: tuple[DrillRun, ...], observed: dict[str, Any], waiting: str
) -> None:
    result = look(before, *drills, **observed)
    assert result.drill is None
    status = after(result, before).status
    assert status.drill is not None and waiting in status.drill.waiting
    assert result.again_after is not None
    assert look(after(result, before)).drill is not None


@pytest.mark.parametrize(
    "before",
    [settled(), settled(drill={**NIGHTLY, "suspend": True}), settled(drill=NIGHTLY, suspend=True)],
)
def test_none_is_made_where_none_is_wanted(before: BackupPolicy) -> None:
    assert look(before).drill is None


def test_drills_keep_no_backup_from_its_turn() -> None:
    for drills in ((RUNNING,), (failed("a", 1),), ()):
        result = look(drilled(), *drills)
        assert [turn.type for turn in result.backups] == [RunType.INCREMENTAL]
        assert said(result.judgments)[1] == "InForce"


def test_the_newest_incremental_is_begun_with_or_the_newest_full() -> None:
    incremental = done(RunType.INCREMENTAL, NOW - HOUR, "incremental")
    turn = look(drilled("NewestIncremental"), runs=[FULL, incremental]).drill
    assert turn is not None
    assert (turn.source, turn.why) == ({"backupRef": {"name": "incremental"}}, "")
    alone = look(drilled("NewestIncremental")).drill
    assert alone is not None
    assert alone.source == {"backupRef": {"name": FULL.name}}
    assert "no restorable incremental" in alone.why


WAL = {"enabled": True}


def a_moment(before: BackupPolicy, **observed: Any) -> datetime:
    turn = look(before, archiver=streaming(LATER), **observed).drill
    assert turn is not None
    return datetime.fromisoformat(turn.source["target"]["time"])


def test_a_random_moment_lies_in_the_window_and_is_the_same_at_every_look() -> None:
    before = drilled("RandomMoment", wal=WAL)
    moment = a_moment(before)
    assert FULL.holds is not None
    assert FULL.holds < moment < LATER
    assert a_moment(before) == moment
    other = policy(drill={**NIGHTLY, "target": "RandomMoment"}, wal=WAL)
    other.metadata.uid = "another"
    assert a_moment(after(plan(other, ObservedPolicy(runs=[FULL]), NOW), other)) != moment


def test_no_moment_before_a_gap_is_chosen() -> None:
    behind = full(NOW - HOUR, start_lsn="0/5000028", stop_lsn="0/5000158")
    before = drilled("RandomMoment", wal=WAL)
    assert behind.holds is not None
    for days in range(5):
        now = LATER + timedelta(days=days)
        archiver = streaming(now, gaps=[gap()], gaps_total=1)
        turn = look(before, runs=[FULL, behind], archiver=archiver, now=now).drill
        assert turn is not None
        assert behind.holds < datetime.fromisoformat(turn.source["target"]["time"]) < now


def test_without_wal_a_random_moment_is_the_end_of_a_backup() -> None:
    fulls = [full(NOW - 9 * HOUR, "one"), full(NOW - 33 * HOUR, "two")]
    turn = look(drilled("RandomMoment"), runs=fulls).drill
    assert turn is not None
    assert turn.source["backupRef"]["name"] in ("one", "two")


def test_a_window_without_a_moment_gives_the_latest() -> None:
    turn = look(drilled("RandomMoment", wal=WAL)).drill
    assert turn is not None
    assert turn.source["target"] == {"latest": True}
    assert "too short" in turn.why


def test_the_last_few_objects_are_kept_and_those_of_people_always() -> None:
    before = settled(drill={**NIGHTLY, "keepLast": 2})
    mine = [ended(f"drill-{hours}", hours) for hours in (50, 26, 2)]
    by_hand = ended("by-hand", 99, by_schedule=False)
    result = look(before, *mine, by_hand, RUNNING)
    assert result.forget_drills == ("drill-50",)
    status = after(result, before).status.drill
    assert status is not None
    assert [each.name for each in status.history] == ["drill-26", "drill-2"]


def test_results_outlive_their_objects() -> None:
    before = drilled()
    first = after(look(before, ended("one", 26), ended("two", 2)), before)
    second = after(look(first, failed("three", 1)), first).status.drill
    assert second is not None
    assert [each.name for each in second.history] == ["one", "two", "three"]
    assert (second.last and second.last.name, second.last_success and second.last_success.name) == ("three", "two")


def test_what_came_of_the_last_drill_is_a_condition_and_an_event() -> None:
    before = drilled()
    assert said(look(before).judgments, "LastDrillSucceeded") == ("Unknown", "NoneEnded")
    assert said(look(settled()).judgments, "LastDrillSucceeded") == ("Unknown", "NotScheduled")
    good = look(before, ended("one", 2))
    assert said(good.judgments, "LastDrillSucceeded") == ("True", "Succeeded")
    bad = look(after(good, before), ended("one", 2), failed("two", 1))
    assert said(bad.judgments, "LastDrillSucceeded") == ("False", "CheckFailed")
    (told,) = (each for each in bad.notices if "two failed" in each.message)
    assert told.warning


def test_a_drill_that_a_person_ended_tells_nothing() -> None:
    result = look(drilled(), ended("one", 5), failed("two", 1, "Cancelled"))
    assert said(result.judgments, "LastDrillSucceeded") == ("True", "Succeeded")


@pytest.mark.parametrize(
    ("store", "of", "drill", "reason"),
    [
        (claim_store(), observed_cluster(image="x"), NIGHTLY, None),
        (claim_store(encryption={"recipients": [RECIPIENT]}), observed_cluster(image="x"), NIGHTLY, "IdentityMissing"),
        (claim_store(encryption={"recipients": [RECIPIENT]}), observed_cluster(image="x"), None, "IdentityMissing"),
        (
            claim_store(encryption={"recipients": [RECIPIENT], "identity": {"name": "a", "key": "b"}}),
            observed_cluster(image="x"),
            NIGHTLY,
            None,
        ),
        (
            claim_store(encryption={"recipients": [RECIPIENT]}),
            observed_cluster(image="x"),
            {**NIGHTLY, "identity": {"name": "a", "key": "b"}},
            None,
        ),
        (claim_store(), cluster(), NIGHTLY, "ServerImageUnknown"),
        (claim_store(), cluster(), None, None),
        (claim_store(), cluster(), {**NIGHTLY, "image": "x"}, None),
    ],
)
def test_what_makes_drills_impossible(
    store: BackupStore, of: DatabaseCluster, drill: Body | None, reason: str | None
) -> None:
    it = policy(drill=drill)
    found = no_drill(it, of, store)
    assert (found.reason if found else None) == reason
    expected = ("False", reason) if reason else ("True", "Possible")
    assert said(plan(it, ObservedPolicy(no_drill=found), NOW).judgments, "DrillsPossible") == expected


@pytest.mark.parametrize(
    ("loss", "met", "reason"),
    [(4.0, "True", "Met"), (3601.0, "False", "DrillLostTooMuch"), (None, "True", "Met")],
)
def test_the_recovery_point_is_judged_by_what_a_drill_would_have_lost(
    loss: float | None, met: str, reason: str
) -> None:
    lost = Measured("one", loss, NOW) if loss is not None else None
    before = settled(wal=WAL)
    result = look(before, measured=MEASURED, measured_loss=lost, archiver=streaming(LATER))
    assert said(result.judgments, "ObjectivesMet") == (met, reason)
    numbers = after(result, before).status.objectives
    assert numbers is not None
    assert numbers.measured_loss_seconds == (round(loss) if loss is not None else None)
    # It stays so when the object is gone.
    assert said(look(after(result, before), archiver=streaming(LATER)).judgments, "ObjectivesMet")[1] == reason


def finished_drill(name: str, minute: int, **status: Any) -> RestoreRequest:
    facts = {
        "completionTime": f"2026-11-23T11:{minute:02}:00Z",
        "durationSeconds": 99.0,
        "recoverySeconds": 33,
        "conditions": [condition("Ready", "True", "Completed")],
        **status,
    }
    return drill_request(name, facts)


def test_the_newest_of_restores_and_drills_measures_how_long_one_takes() -> None:
    old = finished_drill("old", 1, dataLossSeconds=7)
    new = finished_drill("new", 5)
    restored = restore_request("earlier", {**new.status.to_json(), "completionTime": "2026-11-23T11:03:00Z"})
    found = measured([old, new, restored])
    assert found is not None
    assert (found.name, found.seconds) == ("new", 33)
    lost = measured_loss([old, new, restored])
    assert lost is not None
    assert (lost.name, lost.seconds) == ("old", 7)


def test_whose_a_drill_is() -> None:
    it = policy()
    mine = drill_request(by=it.metadata.uid)
    assert is_drill_of(it, mine) and drill_run(it, mine).by_schedule
    named = drill_request()
    named.metadata.labels["pgwarden.dev/policy"] = "operational"
    assert is_drill_of(it, named) and not drill_run(it, named).by_schedule
    assert not is_drill_of(it, drill_request(by="another"))
    restored = restore_request()
    restored.metadata.labels["pgwarden.dev/policy"] = "operational"
    assert not is_drill_of(it, restored)


def test_a_drill_is_what_the_policy_says_and_belongs_to_it() -> None:
    check = {"name": "rows", "database": "app", "query": "SELECT 1"}
    it = drilled(schedules={"full": DAILY})
    wanted = policy(
        drill={**NIGHTLY, "checks": [check], "storage": {"storageClassName": "fast"}, "image": "x"},
        jobTemplate={"priorityClassName": "low"},
    ).spec
    turn = look(it).drill
    assert turn is not None and wanted.drill is not None
    owner = it.model_copy(update={"spec": wanted})
    made = RestoreRequest.of(rendered(owner, wanted.drill, turn))
    assert made.metadata.labels["pgwarden.dev/policy"] == "operational"
    assert is_drill_of(it, made) and drill_run(it, made).by_schedule
    assert made.spec.target.drill is not None and made.spec.target.new_instance is None
    assert (made.spec.target.drill.image, made.spec.target.drill.storage.storage_class_name) == ("x", "fast")
    assert [each.name for each in made.spec.checks] == ["rows"]
    assert made.spec.job_template.priority_class_name == "low"
    assert made.spec.source.target is not None and made.spec.source.target.latest


@pytest.mark.parametrize(
    ("seconds", "percent", "words"),
    [
        ([60], None, ""),
        ([60, 61], 2, "1m1s, about as long as the median of the 1 before (1m)"),
        ([50, 60, 70, 120], 100, "2m, 100% longer than the median of the 3 before (1m)"),
        ([60, 30], -50, "30s, 50% less than the median of the 1 before (1m)"),
        ([0, 5], 0, "5s, about as long as the median of the 1 before (0s)"),
    ],
)
def test_the_trend_compares_the_last_with_those_before(seconds: list[int], percent: int | None, words: str) -> None:
    before = drilled()
    runs = [ended(f"d{n}", 99 - n, recovery_seconds=each) for n, each in enumerate(seconds)]
    status = after(look(before, *runs, failed("bad", 1)), before).status.drill
    assert status is not None
    assert trend(status.history) == (percent, words)
    assert (status.trend_percent, status.trend) == (percent, words)
