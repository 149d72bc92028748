"""The keeper of the monitors, over real HTTP: makes and mends them, reads them, and tells why one is silent."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import ClusterObservation, EndpointObservation, Observations
from pgwarden.monitoring.handlers import STARTING_SECONDS, MonitorKeeper
from pgwarden.monitoring.render import NAME, watched
from tests.support.context import operator_context
from tests.support.loopback import Answer, Asked, Loopback, loopback, refusal
from tests.support.objects import NAMESPACE, NOW, Body, cluster

KEY = Key("DatabaseCluster", NAMESPACE, "operational")


class Services(AbstractResolver):
    """Leads every name to one port of loopback, as a Service would to its pod."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        """Holds nothing."""


@dataclass
class Place:
    """A namespace: what the API server holds of the monitor, and what the monitor answers."""

    kept: dict[str, Body] = field(default_factory=dict)
    monitor: Answer = (503, "starting")
    refuses: Answer | None = None

    def api(self, asked: Asked) -> Answer:
        *_, plural, name = asked.path.split("/")
        assert name == NAME
        if asked.method == "PATCH":
            if self.refuses is not None:
                return self.refuses
            self.kept[plural] = asked.body
        if asked.method == "DELETE":
            self.kept.pop(plural, None)
            return 200, {}
        return (200, self.kept[plural]) if plural in self.kept else refusal(404, "NotFound")


@dataclass
class Kept:
    """A keeper at work on a Place."""

    place: Place
    context: OperatorContext
    keeper: MonitorKeeper
    session: aiohttp.ClientSession
    api: Loopback
    monitor: Loopback

    @property
    def problem(self) -> str:
        return self.keeper.board.problem(NAMESPACE)

    async def round(self, *, after: float = 0.0) -> list[Asked]:
        """One round, `after` so many seconds; returns the writes it made."""
        for kept in self.keeper._kept.values():
            kept.next_look = 0.0
            kept.made_at -= after
            kept.compared_at -= after
        before = len(self.api.asked)
        await self.keeper.round(self.session)
        return [asked for asked in self.api.asked[before:] if asked.method != "GET"]

    def woken(self) -> set[Key]:
        keys = set(self.context.queue._waiting)
        self.context.queue._waiting.clear()
        return keys


@asynccontextmanager
async def keeping() -> AsyncIterator[Kept]:
    place, context = Place(), operator_context()
    async with loopback(place.api) as api, loopback(lambda _: place.monitor) as monitor:
        connector = aiohttp.TCPConnector(resolver=Services(monitor.port), use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            context.client = api.client()
            keeper = MonitorKeeper(context, ObservationBoard())
            yield Kept(place, context, keeper, session, api, monitor)


@pytest.fixture
async def it() -> AsyncIterator[Kept]:
    """A keeper whose namespace has one DatabaseCluster."""
    async with keeping() as kept:
        put(kept.context)
        yield kept


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


def made(writes: list[Asked]) -> list[str]:
    return [asked.path.split("/")[-2] for asked in writes]


async def test_a_namespace_with_a_cluster_gets_a_monitor_once(it: Kept) -> None:
    assert made(await it.round()) == ["configmaps", "services", "deployments"]
    assert it.place.kept["deployments"]["metadata"]["labels"][MANAGED_BY_LABEL] == MANAGED_BY
    assert await it.round() == []


async def test_what_the_monitor_answers_is_taken_and_news_wake_the_cluster(it: Kept) -> None:
    await it.round()
    assert it.woken() == set()
    it.place.monitor = document()
    await it.round()
    assert it.woken() == {KEY}
    assert it.keeper.board.observation(KEY, "uid-of-operational") is not None
    assert it.monitor.asked[-1].path == "/observations"
    await it.round()
    assert it.woken() == set()


async def test_another_spec_reaches_the_monitor_and_the_old_answers_do_not_count(it: Kept) -> None:
    it.place.monitor = document()
    await it.round()
    put(it.context, "2", databases=["app"])
    assert made(await it.round()) == ["configmaps"]
    assert it.keeper.board.observation(KEY, "uid-of-operational") is None


async def test_a_monitor_that_somebody_deleted_is_made_again(it: Kept) -> None:
    await it.round()
    del it.place.kept["deployments"]
    await it.round(after=STARTING_SECONDS + 1)
    assert it.problem.endswith("it was deleted; it is made again")
    assert made(await it.round()) == ["deployments"]


SILENT: list[tuple[Body, str]] = [
    ({"spec": {"replicas": 0}}, "it is scaled to 0 replicas; scale it to 1"),
    (
        {"status": {"conditions": [{"type": "Available", "status": "False", "message": "no pod is there."}]}},
        "no pod is there. Look at its pods",
    ),
    ({}, "ClientResponseError. Look at its pods and at the NetworkPolicies"),
]


@pytest.mark.parametrize(("deployment", "why"), SILENT)
async def test_a_monitor_that_stays_silent_is_told_with_its_reason_once(it: Kept, deployment: Body, why: str) -> None:
    await it.round()
    it.place.kept["deployments"] |= deployment
    assert it.problem == ""
    await it.round(after=STARTING_SECONDS + 1)
    assert it.problem.endswith(why)
    assert it.woken() == {KEY}
    await it.round(after=STARTING_SECONDS + 1)
    assert it.woken() == set()


@pytest.mark.parametrize("answer", [(200, "no JSON"), (200, {"clusters": 3}), (500, "")])
async def test_an_answer_that_is_none_is_silence(it: Kept, answer: Answer) -> None:
    it.place.monitor = answer
    await it.round()
    await it.round(after=STARTING_SECONDS + 1)
    assert "does not answer" in it.problem
    it.place.monitor = document()
    await it.round()
    assert it.problem == ""
    assert it.woken() == {KEY}


@pytest.mark.parametrize(
    ("refused", "told"),
    [(refusal(403, "Forbidden", "no rights"), "cannot be made: no rights"), (refusal(404, "NotFound"), "")],
)
async def test_a_refusal_is_told_unless_the_namespace_goes(it: Kept, refused: Answer, told: str) -> None:
    it.place.refuses = refused
    await it.round()
    assert it.problem.endswith(told) and bool(it.problem) == bool(told)


async def test_somebody_elses_object_of_that_name_is_left_alone(it: Kept) -> None:
    theirs = {"metadata": {"name": NAME}}
    it.place.kept["services"] = theirs
    assert made(await it.round()) == ["configmaps"]
    assert "is not pgwarden's; rename or remove it" in it.problem
    assert it.place.kept["services"] is theirs


async def test_the_last_cluster_takes_its_monitor_along(it: Kept) -> None:
    await it.round()
    it.context.cache.drop(KEY)
    assert made(await it.round()) == ["deployments", "services"]
    assert await it.round() == []


async def test_one_namespace_in_trouble_does_not_hold_up_another(it: Kept) -> None:
    it.place.monitor = document()
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
    it.place.monitor = document()
    await it.round()
    assert it.keeper._kept[NAMESPACE].next_look - soon > it.context.config.monitor_interval / 2
