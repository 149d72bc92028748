"""A restore in place of a server of several members: what is asked of all of them, and that it always ends."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.api.conditions import Condition
from pgwarden.jobs.names import job_name
from pgwarden.jobs.state import JobPhase
from pgwarden.restores.in_place import plan
from pgwarden.restores.in_place_claims import MARK, PRIMARY, annotation
from pgwarden.restores.in_place_look import Stage, stage_job
from pgwarden.restores.in_place_members import STANDBYS_SECONDS, TOGETHER_SECONDS
from pgwarden.restores.in_place_steps import STEPS
from tests.support.objects import NOW
from tests.unit.restores.in_place_world import HOME, HOME_OF_TWO, PRIMARY_CLAIM, UID, World, in_place_request
from tests.unit.restores.test_in_place import EVENTS, as_before, happen, settle

CLAIMS = list(HOME_OF_TWO.members)


def of_two(**more: Any) -> World:
    return World(home=HOME_OF_TWO, **more)


def done_on_the_way(world: World) -> list[str]:
    """Everything that is done until it ends, where all goes well."""
    did: list[str] = []
    for _ in range(60):
        planned = world.look()
        did += [change.why for change in planned.changes]
        did += [planned.launch[0].value] if planned.launch else []
        did += ["mark" if planned.mark else "unmark"] if planned.mark is not None else []
        world.finish_job("well")
        if world.ended:
            return did
    raise AssertionError(f"no end: {did}")


def until_it_looks(world: World) -> None:
    """The servers are stopped, and the Job begins that looks which member is the primary."""
    world.look()
    while Stage.LOOK not in world.stages.values():
        world.finish_job("well")
        world.look()


def condition(world: World, type_: str) -> Condition:
    return next(each for each in world.request.status.conditions if each.type == type_)


@pytest.mark.parametrize("on_one_node", [True, False])
def test_the_primary_is_marked_before_a_job_comes_near_the_data(on_one_node: bool) -> None:
    world = of_two(services=[], on_one_node=on_one_node)
    looked = [] if on_one_node else ["look", "mark"]
    stopped = ["preflight", "mark", "connections", "stop StatefulSet shop/operational", *looked]
    restored = ["restore", "hand_over", "start StatefulSet shop/operational", "unmark"]
    assert done_on_the_way(world) == [*stopped, *restored]
    assert world.trouble == []
    assert world.server.replicas == 2
    status = world.request.status
    assert [(step.name, step.state.value) for step in status.steps] == [(name, "Done") for name in STEPS]
    place = status.in_place
    assert place is not None
    assert (place.claim, place.members, place.old_claims) == (PRIMARY_CLAIM, CLAIMS, CLAIMS)
    assert f"on claims {', '.join(CLAIMS)} until" in condition(world, "Ready").message


def test_every_claim_is_marked_the_primarys_first_and_its_mark_goes_last() -> None:
    world = of_two(services=[])
    while not world.mark:
        world.look(stop_after=1)
        world.finish_job("well")
    assert [annotation(each, MARK) for each in world.claims.values()] == ["", UID]
    while world.server.replicas:
        world.look()
        world.finish_job("well")
    assert [annotation(each, MARK) for each in world.claims.values()] == [UID, UID]
    assert [annotation(each, PRIMARY) for each in world.claims.values()] == ["", UID]
    while annotation(world.claims[CLAIMS[0]], MARK):
        world.look(stop_after=1)
        world.finish_job("well")
    assert [annotation(each, MARK) for each in world.claims.values()] == ["", UID]
    settle(world)
    as_before(world)


def test_claims_that_no_pod_can_mount_together_end_it_with_everything_put_back() -> None:
    world = of_two(on_one_node=False)
    until_it_looks(world)
    name = stage_job(world.request, Stage.LOOK, 1)
    world.jobs[name] = dataclasses.replace(
        world.jobs[name], phase=JobPhase.QUEUED, reason="Unschedulable", message="0/2 nodes are available"
    )
    world.look()
    assert "0/2 nodes are available" in condition(world, "Ready").message
    world.now += timedelta(seconds=TOGETHER_SECONDS)
    world.look()
    assert name not in world.jobs
    settle(world)
    stalled = condition(world, "Stalled")
    assert stalled.reason == "ClaimsApart"
    assert f"claims {', '.join(CLAIMS)} cannot be mounted by one pod" in stalled.message
    assert "0/2 nodes are available" in stalled.message
    assert Stage.PUT_BACK not in world.stages.values()
    as_before(world)


def test_a_cancelled_restore_does_not_wait_for_the_job_that_looks_for_the_primary() -> None:
    world = of_two(on_one_node=False)
    until_it_looks(world)
    happen(world, ("cancel",))
    world.look()
    assert stage_job(world.request, Stage.LOOK, 1) not in world.jobs
    settle(world)
    assert world.request.status.conditions[0].reason == "Cancelled"
    as_before(world)


@pytest.mark.parametrize("marked", [True, False])
def test_members_that_come_or_go_after_somebody_looked_at_them_end_it(marked: bool) -> None:
    world = of_two()
    while not (world.mark if marked else world.jobs):
        world.look()
        world.finish_job("well")
    world.home = HOME
    settle(world)
    stalled = condition(world, "Stalled")
    assert stalled.reason == "MembersChanged"
    assert "was scaled from 2 to 1 members" in stalled.message
    assert Stage.RESTORE not in world.stages.values()
    as_before(world)


def test_claims_that_no_member_has_any_more_are_told_of_before_anything_stops() -> None:
    world = of_two()
    world.look()
    world.finish_job("well")
    seen = dataclasses.replace(world.observed(), leftovers=["data-operational-2"])
    planned = plan(world.request, seen, NOW)
    assert planned.mark is None
    (step, *_) = planned.status.steps
    assert "data-operational-2 belonged to members" in step.message


def test_standbys_that_do_not_come_up_are_waited_for_and_then_told_of() -> None:
    world = of_two(services=[], standbys_ready=False)
    for _ in range(40):
        world.look()
        world.finish_job("well")
    assert world.request.status.conditions[0].reason == "StartingStandbys"
    assert world.request.status.step == "StartStandbys"
    world.now += timedelta(seconds=STANDBYS_SECONDS)
    settle(world)
    assert "Look after the standbys: the standby is not ready" in condition(world, "Ready").message


def test_old_data_are_deleted_on_one_claim_after_another() -> None:
    world = of_two()
    settle(world)
    spec = world.request.spec.model_copy(update={"discard_old": True})
    world.request = world.request.model_copy(update={"spec": spec})
    jobs = []
    for _ in range(10):
        planned = world.look()
        if planned.launch:
            jobs.append(stage_job(world.request, Stage.DISCARD, 1))
        world.finish_job("well")
    first, second = jobs
    assert first != second == job_name("rescue", "RestoreRequest", UID, "discard", "1")
    assert condition(world, "OldDataDiscarded").reason == "Discarded"
    place = world.request.status.in_place
    assert place is not None
    assert (place.old_data, place.old_claims) == ("", [])


def test_a_forgotten_status_finds_the_members_on_their_claims() -> None:
    world = of_two()
    while not world.volume.guarded:
        world.look()
        world.finish_job("well")
    world.request = in_place_request()
    world.look()
    place = world.request.status.in_place
    assert place is not None
    assert (place.claim, place.members) == (PRIMARY_CLAIM, CLAIMS)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.booleans())
def test_whatever_happens_it_ends_finished_or_put_back(events: list[tuple[Any, ...]], on_one_node: bool) -> None:
    world = of_two(on_one_node=on_one_node)
    for event in events:
        happen(world, event)
        assert world.trouble == []
    settle(world)
    assert world.trouble == []
    ready = condition(world, "Ready")
    assert world.volume.replaced == (ready.status.value == "True"), (ready.reason, ready.message)
    as_before(world)
