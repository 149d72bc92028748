"""The monitors: one Deployment for each namespace with a DatabaseCluster, and the documents they answer with."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog
from pydantic import ValidationError

from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.objects import UnreadableObject, read
from pgwarden.kube.types import CONFIG_MAPS, DEPLOYMENTS, SERVICES, ResourceType
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import OBSERVATIONS_PATH, PORT, Observations
from pgwarden.monitoring.render import DIGEST_ANNOTATION, NAME, manifests, watched

FETCH_TIMEOUT_SECONDS = 5.0
ROUND_SECONDS = 1.0
STARTING_SECONDS = 60.0
TYPES = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS}

log = structlog.get_logger()


@dataclass
class Kept:
    """What is known about one namespace's monitor."""

    clusters: tuple[tuple[str, int], ...] = ()
    """UID and generation of the DatabaseClusters it was last made for."""
    digests: list[str] = field(default_factory=list)
    """Of the manifests that were last applied."""
    made_at: float = -math.inf
    """When they were last changed: a monitor needs time to start."""
    compared_at: float = -math.inf
    """When what is there was last compared with them."""
    next_look: float = -math.inf
    complete: bool = False
    """Whether its last document spoke of all clusters."""


class MonitorKeeper:
    """Keeps each namespace's monitor as it should be, and reads what it measured."""

    def __init__(self, context: OperatorContext, board: ObservationBoard) -> None:
        self.context = context
        self.board = board
        self._kept: dict[str, Kept] = {}

    async def run(self) -> None:
        """Works until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)) as session:
            while True:
                await self.round(session)
                await asyncio.sleep(ROUND_SECONDS)

    async def round(self, session: aiohttp.ClientSession) -> None:
        """One look at every namespace whose turn it is, or whose DatabaseClusters have changed."""
        namespaces = {key.namespace for key in self.context.cache.keys("DatabaseCluster")}
        for gone in set(self._kept) - namespaces:
            await self.remove(gone)
        now = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for namespace in sorted(namespaces):
                kept = self._kept.setdefault(namespace, Kept())
                if kept.next_look <= now or kept.clusters != self.present(namespace):
                    group.create_task(self.look_after(session, namespace, kept))

    def present(self, namespace: str) -> tuple[tuple[str, int], ...]:
        """UID and generation of the namespace's DatabaseClusters."""
        found = [body["metadata"] for body in self.context.cache.bodies("DatabaseCluster", namespace)]
        return tuple((metadata["uid"], metadata.get("generation", 0)) for metadata in found)

    async def look_after(self, session: aiohttp.ClientSession, namespace: str, kept: Kept) -> None:
        """Makes one namespace's monitor as it should be, and reads its document; nothing here ends the others."""
        try:
            await self.keep(namespace, kept)
            await self.fetch(session, namespace, kept)
        except KubeError as error:
            if not error.namespace_terminating and not error.not_found:
                self.tell(namespace, f"the monitor Deployment {namespace}/{NAME} cannot be made: {error.message}")
        except Exception as error:
            log.exception("looking after a monitor failed", namespace=namespace)
            self.tell(namespace, f"the monitor Deployment {namespace}/{NAME} cannot be looked after: {error}")
        starting = not kept.complete and time.monotonic() - kept.made_at < STARTING_SECONDS
        kept.next_look = time.monotonic() + (ROUND_SECONDS if starting else self.context.config.monitor_interval)

    async def keep(self, namespace: str, kept: Kept) -> None:
        """Applies the monitor's manifests where they differ from what is there."""
        config = self.context.config
        kept.clusters = self.present(namespace)
        clusters = self.readable(namespace)
        if not clusters:
            return
        for cluster in clusters:
            key = Key("DatabaseCluster", namespace, cluster.metadata.name)
            self.board.expect(key, watched(cluster).digest)
        wanted = manifests(
            namespace,
            clusters,
            image=config.images.monitor,
            interval_seconds=config.monitor_interval,
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=config.image_pull_secrets,
        )
        digests = [manifest["metadata"]["annotations"][DIGEST_ANNOTATION] for manifest in wanted]
        now = time.monotonic()
        if kept.digests == digests and now - kept.compared_at < self.context.config.resync_interval:
            return
        for manifest in wanted:
            type_ = TYPES[manifest["kind"]]
            if not await self.same(type_, namespace, manifest):
                await self.context.client.apply(type_, namespace, manifest)
                kept.made_at, kept.complete = now, False
        kept.digests, kept.compared_at = digests, now

    def readable(self, namespace: str) -> list[DatabaseCluster]:
        """The namespace's DatabaseClusters; one that cannot be read says so itself and does not stop the others."""
        found = []
        for body in self.context.cache.bodies("DatabaseCluster", namespace):
            try:
                found.append(read(DatabaseCluster, body))
            except UnreadableObject:
                continue
        return found

    async def same(self, type_: ResourceType, namespace: str, manifest: dict[str, Any]) -> bool:
        """Whether what is there was made from this very manifest. Raises KubeError when it is somebody else's."""
        body = await self.context.client.get(type_, namespace, NAME)
        if body is None:
            return False
        if (body["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) != MANAGED_BY:
            message = f"there is a {type_.kind} {namespace}/{NAME} that is not pgwarden's; rename or remove it"
            raise KubeError(409, "NameTaken", message)
        annotations = body["metadata"].get("annotations") or {}
        return bool(annotations.get(DIGEST_ANNOTATION) == manifest["metadata"]["annotations"][DIGEST_ANNOTATION])

    async def remove(self, namespace: str) -> None:
        """The namespace has no DatabaseCluster any more; garbage collection does the same when we are not there."""
        try:
            for type_ in (DEPLOYMENTS, SERVICES):
                await self.context.client.delete(type_, namespace, NAME)
        except KubeError as error:
            log.warning("a monitor could not be removed", namespace=namespace, error=error.message)
        self._kept.pop(namespace, None)
        self.board.leave(namespace)

    async def fetch(self, session: aiohttp.ClientSession, namespace: str, kept: Kept) -> None:
        """Reads the monitor's document and has the clusters looked at about which it tells something new."""
        url = f"http://{NAME}.{namespace}.svc:{PORT}{OBSERVATIONS_PATH}"
        try:
            async with session.get(url) as answer:
                answer.raise_for_status()
                document = Observations.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            # Somebody may have changed or deleted what we made: it is compared with what it should be once a minute.
            if time.monotonic() - kept.compared_at > STARTING_SECONDS:
                kept.digests = []
            if time.monotonic() - kept.made_at > STARTING_SECONDS:
                self.tell(
                    namespace,
                    f"the monitor Deployment {namespace}/{NAME} does not answer: {await self.why(namespace, error)}",
                )
            return
        taken = self.board.take(namespace, document)
        kept.complete = len(taken) == len(kept.clusters)
        for key, news in taken.items():
            if news:
                self.context.wake(key)

    async def why(self, namespace: str, error: Exception) -> str:
        """What the Deployment says of itself, for somebody who wonders why its monitor does not answer."""
        body = await self.context.client.get(DEPLOYMENTS, namespace, NAME)
        if body is None:
            return "it was deleted; it is made again"
        if (body.get("spec") or {}).get("replicas") == 0:
            return "it is scaled to 0 replicas; scale it to 1"
        for condition in (body.get("status") or {}).get("conditions") or []:
            if condition["status"] == "False" or condition["type"] == "ReplicaFailure":
                return f"{condition.get('message', '')} Look at its pods"
        return f"{type(error).__name__}. Look at its pods and at the NetworkPolicies"

    def tell(self, namespace: str, problem: str) -> None:
        """Remembers why there is nothing new."""
        if self.board.fail(namespace, problem):
            for key in self.context.cache.keys("DatabaseCluster", namespace):
                self.context.wake(key)
