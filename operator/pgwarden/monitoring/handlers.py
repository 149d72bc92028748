"""The monitors: one Deployment for each namespace with a DatabaseCluster, and the documents they answer with."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import structlog
from pydantic import ValidationError

from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.types import CONFIG_MAPS, DEPLOYMENTS, SERVICES, ResourceType
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import OBSERVATIONS_PATH, PORT, Observations
from pgwarden.monitoring.render import DIGEST_ANNOTATION, NAME, manifests, watched

FETCH_TIMEOUT_SECONDS = 5.0
FIRST_LOOKS_SECONDS = 1.0
STARTING_SECONDS = 60.0
TYPES = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS}

log = structlog.get_logger()


class MonitorKeeper:
    """Keeps each namespace's monitor as it should be, and reads what it measured."""

    def __init__(self, context: OperatorContext, board: ObservationBoard) -> None:
        self.context = context
        self.board = board
        self._made: dict[str, list[str]] = {}
        self._made_at: dict[str, float] = {}
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Works until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)) as session:
            while True:
                await self.round(session)
                interval = self.context.config.monitor_interval
                await asyncio.sleep(min(interval, FIRST_LOOKS_SECONDS) if self._silent else interval)

    async def round(self, session: aiohttp.ClientSession) -> None:
        """One look at every namespace."""
        namespaces = {key.namespace for key in self.context.cache.keys("DatabaseCluster")}
        for gone in set(self._made) - namespaces:
            await self.remove(gone)
        async with asyncio.TaskGroup() as group:
            for namespace in sorted(namespaces):
                group.create_task(self.look_after(session, namespace))

    async def look_after(self, session: aiohttp.ClientSession, namespace: str) -> None:
        """Makes one namespace's monitor as it should be, and reads its document."""
        try:
            await self.keep(namespace)
            await self.fetch(session, namespace)
        except KubeError as error:
            if error.namespace_terminating or error.not_found:
                return
            self.tell(namespace, f"the monitor Deployment {namespace}/{NAME} cannot be made: {error.message}")

    async def keep(self, namespace: str) -> None:
        """Applies the monitor's manifests where they differ from what was last applied."""
        config = self.context.config
        clusters = [DatabaseCluster.of(body) for body in self.context.cache.bodies("DatabaseCluster", namespace)]
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
        if self._made.get(namespace) == digests:
            return
        for manifest in wanted:
            type_ = TYPES[manifest["kind"]]
            if not await self.same(type_, namespace, manifest):
                await self.context.client.apply(type_, namespace, manifest)
        self._made[namespace] = digests
        self._made_at[namespace] = time.monotonic()
        self._silent.add(namespace)

    async def same(self, type_: ResourceType, namespace: str, manifest: dict[str, object]) -> bool:
        """Whether what is there was made from this very manifest."""
        body = await self.context.client.get(type_, namespace, NAME)
        if body is None:
            return False
        annotations = body["metadata"].get("annotations") or {}
        wanted: dict[str, str] = manifest["metadata"]["annotations"]  # type: ignore[index]
        return bool(annotations.get(DIGEST_ANNOTATION) == wanted[DIGEST_ANNOTATION])

    async def remove(self, namespace: str) -> None:
        """The namespace has no DatabaseCluster any more; garbage collection does the same when we are not there."""
        try:
            for type_ in (DEPLOYMENTS, SERVICES):
                await self.context.client.delete(type_, namespace, NAME)
        except KubeError as error:
            log.warning("a monitor could not be removed", namespace=namespace, error=error.message)
        self._made.pop(namespace, None)
        self._silent.discard(namespace)

    async def fetch(self, session: aiohttp.ClientSession, namespace: str) -> None:
        """Reads the monitor's document and has the clusters it speaks of looked at."""
        url = f"http://{NAME}.{namespace}.svc:{PORT}{OBSERVATIONS_PATH}"
        try:
            async with session.get(url) as answer:
                answer.raise_for_status()
                document = Observations.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            self.tell(
                namespace,
                f"the monitor Deployment {namespace}/{NAME} does not answer: {await self.why(namespace, error)}",
            )
            return
        taken = self.board.take(namespace, document)
        expected = len(self.context.cache.keys("DatabaseCluster", namespace))
        if len(taken) == expected:
            self._silent.discard(namespace)
        for key in taken:
            self.context.wake(key)

    async def why(self, namespace: str, error: Exception) -> str:
        """What the Deployment says of itself, for somebody who wonders why its monitor does not answer."""
        body = await self.context.client.get(DEPLOYMENTS, namespace, NAME)
        if body is None:
            self._made.pop(namespace, None)
            return "it was deleted; it is made again"
        for condition in (body.get("status") or {}).get("conditions") or []:
            if condition["status"] == "False" or condition["type"] == "ReplicaFailure":
                return f"{condition.get('message', '')} Look at its pods"
        return f"{type(error).__name__}. Look at its pods and at the NetworkPolicies"

    def tell(self, namespace: str, problem: str) -> None:
        """Remembers why there is nothing new, once a monitor has had the time to start."""
        self._silent.add(namespace)
        if time.monotonic() - self._made_at.get(namespace, float("-inf")) < STARTING_SECONDS:
            return
        self.board.fail(namespace, problem)
        for key in self.context.cache.keys("DatabaseCluster", namespace):
            self.context.wake(key)
