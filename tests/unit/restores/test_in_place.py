"""What is done about a restore in place, in which order, and that it always ends: finished, or with all put back."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import AttemptOutcome
from pgwarden.jobs.task import Progress
from pgwarden.restores.in_place import plan
from pgwarden.restores.in_place_look import ObservedInPlace, Stage, stage_job
from pgwarden.restores.in_place_steps import OF_SEVERAL, PUT_BACK, STEPS
from pgwarden.restores.report import into, window_lost
from pgwarden.restores.stopping import RECORD
from tests.support.objects import NOW, STUCK, WORKING, attempt, ended_job, kstatus, said, success
from tests.unit.restores.in_place_world import HOME, TOKEN, UID, World, in_place_request, server, services, wanted

OUTCOMES = ("well", "killed", "result lost", "refused")


def seen(**more: Any) -> ObservedInPlace:
    known: dict[str, Any] = {"token": TOKEN, "home": HOME, "server": server(), "services": services()}
    return ObservedInPlace(**(known | more))


@pytest.mark.parametrize(
    ("observed", "triple", "reason"),
    [
        (seen(token=""), WORKING, "ClusterNotObserved"),
        (seen(token="7301-2"), STUCK, "ReplacesAnother"),
        (seen(refusal=Obstacle("ForeignOperator", "x")), STUCK, "ForeignOperator"),
        (seen(marked_by="uid-of-another"), STUCK, "RestoreRunning"),
        (seen(obstacle=Obstacle("SecretMissing", "x")), WORKING, "SecretMissing"),
        (seen(jobs={Stage.PREFLIGHT: ended_job(success("Passed"))}, busy="waits for a backup"), WORKING, "Queued"),
    ],
)
def test_nothing_is_touched_before_everything_is_known(
    observed: ObservedInPlace, triple: tuple[str, ...], reason: str
) -> None:
    result = plan(in_place_request(), observed, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments)[1] == reason
    assert (result.changes, result.mark, result.launch) == ([], None, None)


def test_the_claim_stands_in_the_status_for_a_glance() -> None:
    assert plan(in_place_request(), seen(), NOW).status.target == "data-operational-0, in place"


def test_a_request_that_is_held_back_or_cancelled_before_it_began_touches_nothing() -> None:
    held = plan(in_place_request(suspend=True), seen(), NOW)
    assert (said(held.judgments)[1], held.changes, held.launch) == ("Suspended", [], None)
    cancelled = plan(in_place_request(cancel=True), seen(), NOW)
    assert kstatus(cancelled.judgments) == STUCK
    assert "before anything was stopped" in next(j.message for j in cancelled.judgments if j.type == "Stalled")


def test_each_look_does_one_thing_in_the_order_that_is_documented() -> None:
    world = World()
    did: list[str] = []
    for _ in range(60):
        planned = world.look()
        did += [
            f"{'stop' if RECORD in str(c.patch) and c.patch['spec'] else 'start'} {c.workload.name}"
            for c in planned.changes
        ]
        did += [planned.launch[0].value] if planned.launch else []
        did += ["mark" if planned.mark else "unmark"] if planned.mark is not None else []
        world.finish_job("well")
        if world.ended:
            break
    names = ["api", "idle", "queue", "nightly", "paused"]
    assert [each.replace("start", "stop") for each in did] == [
        "preflight",
        "mark",
        *(f"stop {name}" for name in names),
        "connections",
        "stop operational",
        "restore",
        "hand_over",
        "stop operational",
        *(f"stop {name}" for name in names),
        "unmark",
    ]
    assert world.volume.replaced
    status = world.request.status
    assert [step.name for step in status.steps] == [name for name in STEPS if name not in OF_SEVERAL]
    assert {step.state.value for step in status.steps} == {"Done"}
    assert status.in_place is not None and status.in_place.old_data == "/data/pgdata.before-0"
    ready = next(c.message for c in status.conditions if c.type == "Ready")
    assert "discard-old rescue" in ready


def test_a_failed_restore_puts_back_and_says_which_step_failed() -> None:
    world = World()
    for _ in range(60):
        world.look()
        world.finish_job(
            "refused"
            if Stage.RESTORE in world.stages.values()
            and not world.volume.given_up
            and Stage.PUT_BACK not in world.stages.values()
            else "well"
        )
        if world.ended:
            break
    status = world.request.status
    states = {step.name: step.state.value for step in status.steps}
    assert (states["Resolve"], states[PUT_BACK]) == ("Failed", "Done")
    assert states["HandOver"] == states["StartServices"] == "Pending"
    stalled = next(c for c in status.conditions if c.type == "Stalled")
    assert stalled.reason == "Refused"
    assert "as they were before" in stalled.message
    as_before(world)


def as_before(world: World) -> None:
    for each in (world.server, *world.services):
        assert wanted(each) == world.before[str(each)], each
        assert RECORD not in each.annotations
    assert world.mark == ""
    assert not world.volume.guarded


def settle(world: World) -> None:
    """From now on nothing goes wrong: it has to come to an end."""
    for _ in range(120):
        if world.ended:
            return
        world.look()
        world.finish_job("well")
        # Attempts that failed are backed off from.
        world.now += timedelta(seconds=400)
    raise AssertionError(f"no end: {world.request.status.conditions}")


EVENTS = st.one_of(
    st.tuples(st.just("look"), st.booleans(), st.integers(0, 6)),
    st.tuples(st.just("job"), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("forget status")),
    st.tuples(st.just("scale up")),
    st.tuples(st.just("jobs collected")),
    st.tuples(st.just("time"), st.integers(1, 1000)),
)


def happen(world: World, event: tuple[Any, ...]) -> None:
    match event:
        case ("look", lose, stop_after):
            world.look(lose_status=lose, stop_after=stop_after)
        case ("job", outcome):
            world.finish_job(outcome)
        case ("cancel",):
            spec = world.request.spec.model_copy(update={"cancel": True})
            world.request = world.request.model_copy(update={"spec": spec})
        case ("forget status",) if world.mark == UID and not world.ended:
            world.request = in_place_request(cancel=world.request.spec.cancel)
        case ("scale up",) if world.server.stopped_by(UID):
            assert world.server.body is not None
            world.server.body["spec"]["replicas"] = world.before[str(world.server)]["replicas"]
        case ("jobs collected",):
            world.jobs = {name: job for name, job in world.jobs.items() if not job.ended}
        case ("time", seconds):
            world.now += timedelta(seconds=seconds)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_it_ends_finished_or_put_back(events: list[tuple[Any, ...]]) -> None:
    world = World()
    for event in events:
        happen(world, event)
        assert world.trouble == []
    settle(world)
    assert world.trouble == []
    ready = next(c for c in world.request.status.conditions if c.type == "Ready")
    assert world.volume.replaced == (ready.status.value == "True"), (ready.reason, ready.message)
    as_before(world)


def test_an_operator_that_dies_after_every_single_write_starts_and_stops_everything_once() -> None:
    world = World()
    patched: list[str] = []
    for _ in range(100):
        planned = plan(world.request, world.observed(), world.now)
        patched += [change.why for change in planned.changes[:1]]
        launched = planned.launch is not None and stage_job(world.request, *planned.launch) not in world.jobs
        wrote = bool(planned.changes) or planned.mark is not None or launched
        world.look(stop_after=1, lose_status=wrote)
        world.finish_job("well")
        if world.ended:
            break
    assert world.ended, patched
    assert world.request.status.conditions[0].reason == "Completed"
    assert len(patched) == len(set(patched)) == 2 * (1 + len(world.services)), patched
    as_before(world)


def test_connections_that_remain_end_the_restore_before_the_server_is_stopped() -> None:
    world = World()
    while Stage.CONNECTIONS not in world.stages.values():
        world.finish_job("well")
        world.look()
    assert world.server.replicas == 1
    world.finish_job("refused")
    for _ in range(10):
        world.look()
    assert world.ended
    assert world.request.status.conditions[0].reason == "Refused"
    states = {step.name: step.state.value for step in world.request.status.steps}
    assert (states["Connections"], states["StopServer"], states["PutBack"]) == ("Failed", "Pending", "Done")
    assert set(world.stages.values()) == {Stage.PREFLIGHT, Stage.CONNECTIONS}
    as_before(world)


def test_nobody_is_asked_where_connections_may_end_with_the_server() -> None:
    target = {"inPlace": {"replaces": TOKEN, "disconnect": True}}
    world = World(request=in_place_request(target=target))
    settle(world)
    assert Stage.CONNECTIONS not in world.stages.values()
    told = next(step.message for step in world.request.status.steps if step.name == "Connections")
    assert "target.inPlace.disconnect" in told


def test_a_server_that_somebody_starts_again_is_stopped_without_asking_who_is_connected() -> None:
    world = World()
    while not world.server.stopped_by(UID):
        world.look()
        world.finish_job("well")
    world.jobs = {name: job for name, job in world.jobs.items() if world.stages[name] is not Stage.CONNECTIONS}
    happen(world, ("scale up",))
    planned = world.look()
    assert [change.workload.name for change in planned.changes] == ["operational"]
    assert planned.launch is None


def test_a_hand_over_that_nobody_was_told_of_is_not_put_back() -> None:
    world = World()
    while not world.volume.replaced:
        world.look()
        world.finish_job("result lost" if Stage.HAND_OVER in world.stages.values() else "well")
    # Every Job of the hand-over comes too late to tell, so what is left is to put back, which tells.
    for _ in range(40):
        world.look()
        world.finish_job("result lost" if Stage.PUT_BACK not in world.stages.values() else "well")
        world.now += timedelta(seconds=400)
    settle(world)
    assert world.request.status.conditions[0].reason == "Completed"
    assert Stage.PUT_BACK in world.stages.values()
    place = world.request.status.in_place
    assert place is not None and place.old_data == "/data/pgdata.before-0"


def test_a_put_back_that_fails_is_tried_again_until_somebody_has_mended_what_keeps_it() -> None:
    world = World()
    while Stage.RESTORE not in world.stages.values():
        world.look()
        world.finish_job("well")
    happen(world, ("cancel",))
    for _ in range(12):
        world.look()
        world.finish_job("refused")
        world.now += timedelta(seconds=400)
        assert not world.ended
    assert world.server.replicas == 0
    settle(world)
    assert world.request.status.conditions[0].reason == "Cancelled"
    as_before(world)


def test_old_data_are_deleted_only_when_that_is_asked_for() -> None:
    world = World()
    settle(world)
    kept = plan(world.request, world.observed(), NOW)
    assert (kept.launch, kept.judgments) == (None, [])
    spec = world.request.spec.model_copy(update={"discard_old": True})
    asked = world.request.model_copy(update={"spec": spec})
    deleting = plan(asked, world.observed(), NOW)
    assert deleting.launch == (Stage.DISCARD, 1)
    done = {"discard": [attempt(1, AttemptOutcome.SUCCEEDED)]}
    place = asked.status.in_place
    assert place is not None
    status = asked.status.model_copy(update={"in_place": place.model_validate({**place.to_json(), **done})})
    deleted = plan(asked.model_copy(update={"status": status}), world.observed(), NOW)
    assert deleted.status.in_place is not None
    assert deleted.status.in_place.old_data == ""
    assert said(deleted.judgments, "OldDataDiscarded") == ("True", "Discarded")


def test_a_report_tells_where_to_and_that_what_was_put_back_lost_nothing() -> None:
    world = World()
    while world.request.status.restored_to is None:
        world.look()
        world.finish_job("well")
    assert "in the place of 7301-1" in into(world.request)
    assert window_lost(world.request) == "nothing was handed over"
    settle(world)
    assert window_lost(world.request) != "nothing was handed over"


def test_a_preflight_says_what_it_waits_for() -> None:
    world = World()
    world.look()
    waits = Progress(nonce="n", step="Preflight", detail="waiting for the archive to come to the target")
    planned = plan(world.request, dataclasses.replace(world.observed(), progress=waits), world.now)
    (message,) = {each.message for each in planned.judgments if each.type == "Ready"}
    assert message.endswith(": waiting for the archive to come to the target")
