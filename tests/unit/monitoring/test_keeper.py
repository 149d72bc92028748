"""The keeper of the monitors, over real HTTP: makes and mends them, reads them, and tells why one is silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.keeper import STARTING_SECONDS
from pgwarden.kube.key import Key
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import ClusterObservation, EndpointObservation, Observations
from pgwarden.monitoring.handlers import MonitorKeeper
from pgwarden.monitoring.render import NAME, watched
from tests.support.keepers import ALL, SILENT, AtWork, check_silence, keeping
from tests.support.loopback import Answer, refusal
from tests.support.objects import NAMESPACE, NOW, Body, cluster

KEY = Key("DatabaseCluster", NAMESPACE, "operational")

Kept = AtWork[MonitorKeeper]


@pytest.fixture
async def it() -> AsyncIterator[Kept]:
    """A keeper whose namespace has one DatabaseCluster."""
    async with keeping(lambda context: MonitorKeeper(context, ObservationBoard())) as kept:
        put(kept.context)
        yield kept


def problem(it: Kept) -> str:
    return it.keeper.board.problem(NAMESPACE)


def put(context: OperatorContext, version: str = "1", **spec: Any) -> None:
    made = cluster(**spec)
    body = {"apiVersion": "pgwarden.dev/v1alpha1", "kind": "DatabaseCluster", "spec": made.spec.to_json()}
    metadata = {**made.metadata.to_json(), "resourceVersion": version, "generation": int(version)}
    context.cache.put(KEY, {**body, "metadata": metadata})


def document(**spec: Any) -> Answer:
    """What a monitor answers that has seen the cluster of that spec."""
    made = cluster(**spec)
    primary = EndpointObservation(host="h", port=5432, reachable=True)
    seen = ClusterObservation(
        name="operational", uid=made.metadata.uid, digest=watched(made).digest, time=NOW, primary=primary
    )
    return 200, Observations(time=NOW, clusters=[seen]).model_dump_json(by_alias=True)


async def test_a_namespace_with_a_cluster_gets_a_monitor_once(it: Kept) -> None:
    assert await it.round() == ALL
    assert it.place.names == {NAME}
    assert it.place.kept["deployments"]["metadata"]["labels"][MANAGED_BY_LABEL] == MANAGED_BY
    assert await it.round() == []


async def test_what_the_monitor_answers_is_taken_and_news_wake_the_cluster(it: Kept) -> None:
    await it.round()
    assert it.woken() == set()
    it.place.pod = document()
    await it.round()
    assert it.woken() == {KEY}
    assert it.keeper.board.observation(KEY, "uid-of-operational") is not None
    assert it.pod.asked[-1].path == "/observations"
    await it.round()
    assert it.woken() == set()


async def test_another_spec_reaches_the_monitor_and_the_old_answers_do_not_count(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    put(it.context, "2", databases=["app"])
    assert await it.round() == ["configmaps"]
    assert it.keeper.board.observation(KEY, "uid-of-operational") is None


async def test_a_monitor_that_somebody_deleted_is_made_again(it: Kept) -> None:
    await it.round()
    del it.place.kept["deployments"]
    await it.round(after=STARTING_SECONDS + 1)
    assert problem(it).endswith("it was deleted; it is made again")
    assert await it.round() == ["deployments"]


@pytest.mark.parametrize(("deployment", "why"), SILENT)
async def test_a_monitor_that_stays_silent_is_told_with_its_reason_once(it: Kept, deployment: Body, why: str) -> None:
    await check_silence(it, problem, KEY, deployment, why)


@pytest.mark.parametrize("answer", [(200, "no JSON"), (200, {"clusters": 3}), (500, "")])
async def test_an_answer_that_is_none_is_silence(it: Kept, answer: Answer) -> None:
    it.place.pod = answer
    await it.round()
    await it.round(after=STARTING_SECONDS + 1)
    assert "does not answer" in problem(it)
    it.place.pod = document()
    await it.round()
    assert problem(it) == ""
    assert it.woken() == {KEY}


@pytest.mark.parametrize(
    ("refused", "told"),
    [(refusal(403, "Forbidden", "no rights"), "cannot be made: no rights"), (refusal(404, "NotFound"), "")],
)
async def test_a_refusal_is_told_unless_the_namespace_goes(it: Kept, refused: Answer, told: str) -> None:
    it.place.refuses = refused
    await it.round()
    assert problem(it).endswith(told) and bool(problem(it)) == bool(told)


async def test_somebody_elses_object_of_that_name_is_left_alone(it: Kept) -> None:
    theirs = {"metadata": {"name": NAME}}
    it.place.kept["services"] = theirs
    assert await it.round() == ["configmaps"]
    assert "is not pgwarden's; rename or remove it" in problem(it)
    assert it.place.kept["services"] is theirs


async def test_the_last_cluster_takes_its_monitor_along(it: Kept) -> None:
    await it.round()
    it.context.cache.drop(KEY)
    assert await it.round() == ["deployments", "services"]
    assert await it.round() == []


async def test_one_namespace_in_trouble_does_not_hold_up_another(it: Kept) -> None:
    it.place.pod = document()
    strange = {
        "metadata": {"name": "x", "namespace": "elsewhere", "uid": "u", "resourceVersion": "1"},
        "spec": {"primary": 3},
    }
    it.context.cache.put(Key("DatabaseCluster", "elsewhere", "x"), strange)
    await it.round()
    assert KEY in it.woken()


async def test_a_monitor_that_starts_is_asked_more_often_than_one_that_works(it: Kept) -> None:
    await it.round()
    soon = it.keeper._kept[NAMESPACE].next_look
    it.place.pod = document()
    await it.round()
    assert it.keeper._kept[NAMESPACE].next_look - soon > it.context.config.monitor_interval / 2
