"""A keeper of Deployments at work, over real HTTP: an API server that holds what it makes, and a pod that answers it.

async with keeping(lambda context: MonitorKeeper(context, ObservationBoard())) as it:
    assert await it.round() == ALL
    it.place.pod = 200, "{...}"
    await it.round()
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pgwarden.kube.context import OperatorContext
from pgwarden.kube.keeper import STARTING_SECONDS, Keeper
from pgwarden.kube.key import Key
from tests.support.context import operator_context
from tests.support.loopback import Answer, Asked, Loopback, loopback, refusal
from tests.support.objects import Body

ALL = ["configmaps", "services", "deployments"]
"""What is made, in that order."""
SILENT: list[tuple[Body, str]] = [
    ({"spec": {"replicas": 0}}, "it is scaled to 0 replicas; scale it to 1"),
    (
        {"status": {"conditions": [{"type": "Available", "status": "False", "message": "no pod is there."}]}},
        "no pod is there. Look at its pods",
    ),
    ({}, "ClientResponseError. Look at its pods and at the NetworkPolicies"),
]
"""What a Deployment may be like whose pod answers with errors, and what is said of it then."""

KeeperType = TypeVar("KeeperType", bound=Keeper[Any])

SECRET_KEYS = ("username", "password", "identity", "hmac")


class Services(AbstractResolver):
    """Leads every name to one port of loopback, as a Service would to its pod."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Holds nothing."""


@dataclass
class Place:
    """What the API server holds of one Deployment with its Service and ConfigMap, and what its pod answers."""

    kept: dict[str, Body] = field(default_factory=dict)
    """By plural."""
    names: set[str] = field(default_factory=set)
    """Of everything that was made."""
    pod: Answer = (503, "starting")
    refuses: Answer | None = None

    def api(self, asked: Asked) -> Answer:
        *_, plural, name = asked.path.split("/")
        if plural == "secrets":
            return 200, {"metadata": {}, "data": dict.fromkeys(SECRET_KEYS, "eA==")}
        if asked.method == "PATCH":
            if self.refuses is not None:
                return self.refuses
            self.names.add(name)
            self.kept[plural] = {**asked.body, "metadata": {**asked.body["metadata"], "uid": f"uid-of-{plural}"}}
        if asked.method == "DELETE":
            self.kept.pop(plural, None)
            return 200, {}
        return (200, self.kept[plural]) if plural in self.kept else refusal(404, "NotFound")


@dataclass
class AtWork(Generic[KeeperType]):
    """A keeper at work on a Place."""

    place: Place
    context: OperatorContext
    keeper: KeeperType
    session: aiohttp.ClientSession
    api: Loopback
    pod: Loopback

    async def round(self, *, after: float = 0.0) -> list[str]:
        """One round, `after` so many seconds; the plurals of what it wrote."""
        for kept in self.keeper._kept.values():
            kept.next_look = 0.0
            kept.made_at -= after
            kept.compared_at -= after
        before = len(self.api.asked)
        await self.keeper.round(self.session)
        return [asked.path.split("/")[-2] for asked in self.api.asked[before:] if asked.method != "GET"]

    def woken(self) -> set[Key]:
        """The objects that were woken since the last call."""
        keys = set(self.context.queue._waiting)
        self.context.queue._waiting.clear()
        return keys


async def check_silence(
    it: AtWork[KeeperType], problem: Callable[[AtWork[KeeperType]], str], key: Key, deployment: Body, why: str
) -> None:
    """What a keeper kept starts and never answers: it is told with its reason, once, and not before it had time."""
    await it.round()
    it.place.kept["deployments"] |= deployment
    assert problem(it) == ""
    await it.round(after=STARTING_SECONDS + 1)
    assert problem(it).endswith(why)
    assert it.woken() == {key}
    await it.round(after=STARTING_SECONDS + 1)
    assert it.woken() == set()


@asynccontextmanager
async def keeping(make: Callable[[OperatorContext], KeeperType]) -> AsyncIterator[AtWork[KeeperType]]:
    """The keeper that `make` makes, at work on a new Place."""
    place, context = Place(), operator_context()
    async with loopback(place.api) as api, loopback(lambda _: place.pod) as pod:
        connector = aiohttp.TCPConnector(resolver=Services(pod.port), use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            context.client = api.client()
            yield AtWork(place, context, make(context), session, api, pod)
