"""Deployments that the operator keeps, each with its Service and ConfigMap, and the documents that they answer with.

A room says what there has to be a Deployment for, makes its manifests, and takes what it answers.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import aiohttp
import structlog
from pydantic import ValidationError

from pgwarden.jobs.digests import Manifest, digest_of
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.objects import UnreadableObject
from pgwarden.kube.types import CONFIG_MAPS, DEPLOYMENTS, SERVICES

FETCH_TIMEOUT_SECONDS = 5.0
ROUND_SECONDS = 1.0
STARTING_SECONDS = 60.0
TYPES = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS}

log = structlog.get_logger()


@dataclass(frozen=True)
class Purpose:
    """What a Deployment is there for, as it is now."""

    namespace: str
    name: str
    """Of Deployment, Service and ConfigMap."""
    versions: tuple[Any, ...]
    """Change when these may have to."""


@dataclass
class Kept:
    """What is known about one Deployment."""

    namespace: str
    name: str
    """Of Deployment, Service and ConfigMap."""
    seen: tuple[Any, ...] = ()
    """Versions of what it was last made for."""
    digests: tuple[str, ...] = ()
    """Of the manifests that were last applied."""
    made_at: float = -math.inf
    """When they were last changed: what runs in it needs time to start."""
    compared_at: float = -math.inf
    """When what is there was last compared with them."""
    next_look: float = -math.inf
    answered: bool = False
    """Whether it has answered since with all that it should."""

    def is_not(self, purpose: Purpose | None) -> bool:
        """Whether there has to be another Deployment in its place: an object was deleted and made anew at once."""
        return purpose is not None and purpose.name != self.name


Whose = TypeVar("Whose")
"""What each Deployment is kept for: the key of an object, or the name of a namespace."""


class Keeper(ABC, Generic[Whose]):
    """Keeps Deployments as they should be, and reads what they say. Times are those of a monotonic clock."""

    WHAT: ClassVar[str]
    """What runs in them, for messages."""
    MARK: ClassVar[str]
    """A label by whose value our own objects are known."""
    OWNER: ClassVar[str]
    """Whose they are, for messages: "that is not <owner>"."""
    PORT: ClassVar[int]
    PATH: ClassVar[str]
    """Where the document is."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self._kept: dict[Whose, Kept] = {}

    @abstractmethod
    def purposes(self) -> Mapping[Whose, Purpose | None]:
        """All that there has to be a Deployment for; None for what cannot be read: its own is left as it is."""

    @abstractmethod
    async def keep(self, whose: Whose, kept: Kept) -> bool:
        """Makes a Deployment as it should be; returns whether there is one to be asked. Raises KubeError and
        UnreadableObject."""

    @abstractmethod
    def take(self, whose: Whose, kept: Kept, content: bytes) -> bool:
        """Takes a document, and wakes the objects that it tells something new about; returns whether it speaks of all
        that it should. Raises ValidationError where it is no such document."""

    @abstractmethod
    def tell(self, whose: Whose, problem: str) -> None:
        """Remembers why there is nothing new, and wakes the objects that this is news for."""

    @abstractmethod
    async def leave(self, whose: Whose, kept: Kept) -> None:
        """What the Deployment was there for is gone."""

    async def run(self) -> None:
        """Works until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)) as session:
            while True:
                await self.round(session)
                await asyncio.sleep(ROUND_SECONDS)

    async def round(self, session: aiohttp.ClientSession) -> None:
        """One look at every Deployment whose turn it is, or whose purpose has changed."""
        purposes = self.purposes()
        gone = [whose for whose, kept in self._kept.items() if whose not in purposes or kept.is_not(purposes[whose])]
        for whose in gone:
            await self.leave(whose, self._kept.pop(whose))
        now = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for whose, purpose in purposes.items():
                if purpose is None:
                    continue
                kept = self._kept.setdefault(whose, Kept(purpose.namespace, purpose.name))
                if kept.next_look <= now or kept.seen != purpose.versions:
                    kept.seen = purpose.versions
                    group.create_task(self.look_after(session, whose, kept))

    async def look_after(self, session: aiohttp.ClientSession, whose: Whose, kept: Kept) -> None:
        """Makes one Deployment as it should be, and reads its document; nothing here ends the others."""
        there = True
        try:
            there = await self.keep(whose, kept)
            if there:
                await self.fetch(session, whose, kept)
        except UnreadableObject as error:
            self.tell(whose, f"{self.where(kept)} is left as it is: {error}")
        except KubeError as error:
            if not error.namespace_terminating and not error.not_found:
                self.tell(whose, f"{self.where(kept)} cannot be made: {error.message}")
        except Exception as error:
            log.exception("looking after a Deployment failed", what=self.WHAT, of=str(whose))
            self.tell(whose, f"{self.where(kept)} cannot be looked after: {error}")
        kept.next_look = time.monotonic() + (self.pause(kept) if there else self.context.config.resync_interval)

    def pause(self, kept: Kept) -> float:
        """Seconds to the next look, unless something changes before: short while what runs there is starting."""
        starting = not kept.answered and time.monotonic() - kept.made_at < STARTING_SECONDS
        return ROUND_SECONDS if starting else self.context.config.monitor_interval

    def up_to_date(self, kept: Kept, made: Sequence[Manifest]) -> bool:
        """Whether these very manifests were applied, and compared with what is there not long ago."""
        same = kept.digests == tuple(map(digest_of, made))
        return same and time.monotonic() - kept.compared_at < self.context.config.resync_interval

    async def apply(self, kept: Kept, made: Sequence[Manifest]) -> None:
        """Applies the manifests that differ from what is there. Raises KubeError."""
        now = time.monotonic()
        for manifest in made:
            if not await self.same(kept, manifest):
                await self.context.client.apply(TYPES[manifest["kind"]], kept.namespace, manifest)
                kept.made_at, kept.answered = now, False
        kept.digests, kept.compared_at = tuple(map(digest_of, made)), now

    async def same(self, kept: Kept, manifest: Manifest) -> bool:
        """Whether what is there was made from this very manifest. Raises KubeError when it is somebody else's."""
        type_ = TYPES[manifest["kind"]]
        body = await self.context.client.get(type_, kept.namespace, kept.name)
        if body is None:
            return False
        if (body["metadata"].get("labels") or {}).get(self.MARK) != manifest["metadata"]["labels"][self.MARK]:
            where = f"{kept.namespace}/{kept.name}"
            message = f"there is a {type_.kind} {where} that is not {self.OWNER}; rename or remove it"
            raise KubeError(409, "NameTaken", message)
        return digest_of(body) == digest_of(manifest)

    async def remove(self, kept: Kept) -> None:
        """Deletes Deployment and Service. Raises KubeError."""
        for type_ in (DEPLOYMENTS, SERVICES):
            body = await self.context.client.get(type_, kept.namespace, kept.name)
            if body is not None:
                await self.context.client.delete(type_, kept.namespace, kept.name, body["metadata"]["uid"])
        kept.digests = ()

    async def fetch(self, session: aiohttp.ClientSession, whose: Whose, kept: Kept) -> None:
        """Reads the document; tells why there is none when what runs there has had the time to start."""
        try:
            async with session.get(f"http://{kept.name}.{kept.namespace}.svc:{self.PORT}{self.PATH}") as answer:
                answer.raise_for_status()
                kept.answered = self.take(whose, kept, await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            now = time.monotonic()
            # Somebody may have changed or deleted what we made: it is compared with what it should be once a minute.
            if now - kept.compared_at > STARTING_SECONDS:
                kept.digests = ()
            if now - kept.made_at > STARTING_SECONDS:
                self.tell(whose, f"{self.where(kept)} does not answer: {await self.why(kept, error)}")

    async def why(self, kept: Kept, error: Exception) -> str:
        """What the Deployment says of itself, for somebody who wonders why nothing answers."""
        body = await self.context.client.get(DEPLOYMENTS, kept.namespace, kept.name)
        if body is None:
            return "it was deleted; it is made again"
        if (body.get("spec") or {}).get("replicas") == 0:
            return "it is scaled to 0 replicas; scale it to 1"
        for condition in (body.get("status") or {}).get("conditions") or []:
            if condition["status"] == "False" or condition["type"] == "ReplicaFailure":
                return f"{condition.get('message', '')} Look at its pods"
        return f"{type(error).__name__}. Look at its pods and at the NetworkPolicies"

    def where(self, kept: Kept) -> str:
        """The Deployment, for messages."""
        return f"the {self.WHAT} Deployment {kept.namespace}/{kept.name}"
