"""A restore in place whose RestoreRequest is deleted on the way: whatever was done by then, all becomes what it was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.restores.abandoned import AbandonedPlan, ObservedAbandoned, plan
from pgwarden.restores.fence import Home, named
from pgwarden.restores.in_place_claims import marked_primary, unmarks
from pgwarden.restores.in_place_look import Stage
from pgwarden.restores.stopping import RECORD, stop
from tests.support.objects import NOW

from .in_place_world import HANDED_OVER, HOME, HOME_OF_TWO, UID, World, annotated, failure, success, wanted
from .test_in_place import EVENTS, as_before, happen

NAME = "default/rescue"


@dataclass
class Aftermath:
    """A world without its request: what it had started goes as Kubernetes collects it."""

    world: World
    job: JobState = ABSENT
    lingering: list[str] = field(default_factory=list)
    """Pods of the request's Jobs that have not ended yet."""
    noticed: datetime | None = None
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lingering = [name for name, job in self.world.jobs.items() if job.phase == JobPhase.RUNNING]

    def observed(self) -> ObservedAbandoned:
        world = self.world
        self.noticed = self.noticed or world.now
        on_claim = [name for name in self.lingering if world.stages[name] in (Stage.RESTORE, Stage.HAND_OVER)]
        return ObservedAbandoned(
            uid=UID,
            request=NAME,
            claims=named(world.home.claims),
            untouched=bool(world.home.members) and not marked_primary(world.claims, UID),
            server=world.server,
            services=world.services,
            job=self.job,
            at_work=[],
            others=[*on_claim, *(["operational-0"] if world.server.replicas else [])],
            noticed=self.noticed,
        )

    def look(self, stop_after: int = 1 << 10) -> AbandonedPlan:
        world = self.world
        world.now += timedelta(seconds=5)
        planned = plan(self.observed(), world.now)
        for change in planned.changes[:stop_after]:
            world.patch(change.workload, change.patch)
        if len(planned.changes) > stop_after:
            return planned
        if planned.delete_jobs:
            self.job = ABSENT
        if planned.launch:
            assert not world.server.replicas
            self.job = JobState(JobPhase.RUNNING, name="put-back")
        if planned.unmark:
            for name, patch in unmarks(world.claims, UID):
                world.claims[name]["metadata"]["annotations"] = annotated(world.claims[name], patch)
        self.said.append(planned.said.message)
        return planned

    def finish(self, outcome: str) -> None:
        """The Job that puts back ends, or else what lingers."""
        if self.job.phase == JobPhase.RUNNING:
            result = self.world.volume.put_back() if outcome in ("well", "result lost") else failure("Refused")
            kept = result if outcome != "result lost" else None
            good = kept is not None and kept.outcome == "Succeeded"
            self.job = JobState(
                JobPhase.SUCCEEDED if good else JobPhase.FAILED,
                name="put-back",
                reason=kept.reason if kept is not None else "PodDeleted",
                message="it ended",
                result=kept,
                finished=self.world.now,
            )
        elif self.lingering:
            name = self.lingering.pop()
            if outcome in ("well", "result lost"):
                self.world.run(self.world.stages[name])

    def settle(self) -> AbandonedPlan:
        """From now on nothing goes wrong: it has to come to an end."""
        for _ in range(60):
            planned = self.look()
            if planned.unmark:
                return planned
            self.finish("well")
            self.world.now += timedelta(seconds=30)
        raise AssertionError(f"no end: {self.said[-1]}")


AFTERWARDS = st.one_of(
    st.tuples(st.just("look"), st.integers(0, 6)),
    st.tuples(st.just("job"), st.sampled_from(["well", "killed", "result lost", "refused"])),
    st.tuples(st.just("scale up")),
)


@pytest.mark.parametrize("home", [HOME, HOME_OF_TWO])
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 9), st.lists(EVENTS, max_size=8), st.lists(AFTERWARDS, max_size=20))
def test_whenever_it_is_deleted_all_becomes_what_it_was(
    home: Home, far: int, before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    world = World(home=home, on_one_node=False)
    while not world.mark:
        world.look()
        world.finish_job("well")
    for _ in range(far):
        world.look()
        world.finish_job("well")
    for event in before:
        happen(world, event)
    assume(world.mark == UID)
    aftermath = Aftermath(world)
    for event in after:
        match event:
            case ("look", stop_after):
                if aftermath.look(stop_after).unmark:
                    break
            case ("job", outcome):
                aftermath.finish(outcome)
            case ("scale up",):
                happen(world, ("scale up",))
        assert world.trouble == []
    if world.mark:
        aftermath.settle()
    assert world.trouble == []
    as_before(world)


def deleted_at(stage: Stage) -> Aftermath:
    """The request is deleted while that Job runs, which Kubernetes ends before it did anything."""
    world = World()
    while stage not in world.stages.values():
        world.finish_job("well")
        world.look()
    return Aftermath(world)


def test_the_data_are_put_back_only_once_nothing_mounts_the_claim() -> None:
    it = deleted_at(Stage.RESTORE)
    waiting = it.look()
    assert (waiting.launch, it.lingering) == (False, [it.lingering[0]])
    assert f"until nothing mounts claim {HOME.claim}: pod {it.lingering[0]}" in waiting.said.message
    it.finish("killed")
    assert it.look().launch
    assert not it.look().changes
    it.finish("well")
    assert {str(change.workload) for change in it.look().changes} >= {str(it.world.server)}
    ended = it.settle()
    assert "the old data are in their place" in ended.said.message
    assert (ended.said.concluded, ended.said.handed_over) == (True, False)
    assert ended.said.message.startswith(f"RestoreRequest {NAME} (UID {UID}) was deleted on the way: ")


def test_jobs_that_were_left_are_ended() -> None:
    it = deleted_at(Stage.RESTORE)
    planned = plan(replace(it.observed(), at_work=["rescue-1"]), NOW)
    assert (planned.delete_jobs, planned.launch) == (["rescue-1"], False)
    assert "Job rescue-1" in planned.said.message


def test_data_that_took_their_place_stay_there() -> None:
    it = deleted_at(Stage.HAND_OVER)
    it.finish("result lost")
    assert it.world.volume.replaced
    ended = it.settle()
    assert it.world.volume.replaced and not it.world.volume.given_up
    assert ended.said.handed_over
    assert f"the old ones are in {HANDED_OVER['oldData']} on claim {HOME.claim}" in ended.said.message
    as_before(it.world)


def test_a_server_that_had_no_replicas_runs_after_a_hand_over() -> None:
    it = deleted_at(Stage.HAND_OVER)
    it.finish("well")
    record = it.world.server.body["metadata"]["annotations"][RECORD]  # type: ignore[index]
    it.world.server.body["metadata"]["annotations"][RECORD] = record.replace('"replicas": 1', '"replicas": 0')  # type: ignore[index]
    it.world.before[str(it.world.server)] = {"replicas": 0}
    it.settle()
    assert it.world.server.replicas == 1


def test_services_alone_are_started_where_the_server_never_stopped() -> None:
    it = deleted_at(Stage.CONNECTIONS)
    ended = it.settle()
    assert it.job is ABSENT
    assert "the server was not stopped" in ended.said.message
    as_before(it.world)


def test_what_keeps_it_from_being_put_back_is_told_and_tried_again() -> None:
    it = deleted_at(Stage.RESTORE)
    it.finish("killed")
    it.look()
    it.finish("refused")
    told = it.look()
    assert told.said.stuck
    assert "is tried again: it ended" in told.said.message
    assert told.delete_jobs == []
    it.world.now += timedelta(seconds=30)
    assert it.look().delete_jobs == ["put-back"]
    it.settle()
    as_before(it.world)


def test_a_job_that_is_just_being_deleted_is_waited_for() -> None:
    it = deleted_at(Stage.RESTORE)
    it.job = JobState(JobPhase.FAILED, name="put-back", reason="Refused", deleting=True, finished=NOW)
    it.world.now += timedelta(hours=1)
    planned = it.look()
    assert (planned.delete_jobs, planned.launch) == ([], False)


def test_the_mark_stays_while_the_last_look_at_the_request_may_still_stop_something() -> None:
    it = deleted_at(Stage.CONNECTIONS)
    it.look()
    assert (it.look().unmark, it.world.mark) == (False, UID)
    late = stop(it.world.services[0], UID, NAME)
    assert late is not None
    it.world.patch(late.workload, late.patch)
    it.world.now += timedelta(seconds=30)
    assert not it.look().unmark
    assert wanted(it.world.services[0]) == {"replicas": 3}
    assert it.look().unmark


@pytest.mark.parametrize("outcome", [success("PutBack", {}), failure("AlreadyHandedOver", **HANDED_OVER)])
def test_nothing_is_launched_twice(outcome: Any) -> None:
    it = deleted_at(Stage.RESTORE)
    good = outcome.reason == "PutBack"
    phase = JobPhase.SUCCEEDED if good else JobPhase.FAILED
    it.job = JobState(phase, name="put-back", reason=outcome.reason, result=outcome, finished=NOW)
    it.world.volume.guarded = False
    planned = it.look()
    assert (planned.launch, planned.delete_jobs) == (False, [])
    assert planned.changes
