"""The monitors: one Deployment for each namespace with a DatabaseCluster, and the documents they answer with."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import MANAGED_BY_LABEL
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.keeper import Keeper, Kept, Purpose
from pgwarden.kube.key import Key
from pgwarden.kube.objects import UnreadableObject, read
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import OBSERVATIONS_PATH, PORT, Observations
from pgwarden.monitoring.render import NAME, manifests, watched

log = structlog.get_logger()


class MonitorKeeper(Keeper[str]):
    """Keeps each namespace's monitor as it should be, and reads what it measured."""

    WHAT = "monitor"
    MARK = MANAGED_BY_LABEL
    OWNER = "pgwarden's"
    PORT = PORT
    PATH = OBSERVATIONS_PATH

    def __init__(self, context: OperatorContext, board: ObservationBoard) -> None:
        super().__init__(context)
        self.board = board

    def purposes(self) -> Mapping[str, Purpose]:
        """Every namespace with a DatabaseCluster."""
        namespaces = sorted({key.namespace for key in self.context.cache.keys("DatabaseCluster")})
        return {namespace: Purpose(namespace, NAME, self.present(namespace)) for namespace in namespaces}

    def present(self, namespace: str) -> tuple[tuple[str, int], ...]:
        """UID and generation of the namespace's DatabaseClusters."""
        found = [body["metadata"] for body in self.context.cache.bodies("DatabaseCluster", namespace)]
        return tuple((metadata["uid"], metadata.get("generation", 0)) for metadata in found)

    async def keep(self, whose: str, kept: Kept) -> bool:
        """Applies the monitor's manifests where they differ from what is there."""
        config = self.context.config
        clusters = self.readable(whose)
        if not clusters:
            return True
        for cluster in clusters:
            key = Key("DatabaseCluster", whose, cluster.metadata.name)
            self.board.expect(key, watched(cluster).digest)
        made = manifests(
            whose,
            clusters,
            image=config.images.monitor,
            interval_seconds=config.monitor_interval,
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=config.image_pull_secrets,
        )
        if not self.up_to_date(kept, made):
            await self.apply(kept, made)
        return True

    def readable(self, namespace: str) -> list[DatabaseCluster]:
        """The namespace's DatabaseClusters; one that cannot be read says so itself and does not stop the others."""
        found = []
        for body in self.context.cache.bodies("DatabaseCluster", namespace):
            try:
                found.append(read(DatabaseCluster, body))
            except UnreadableObject:
                continue
        return found

    def take(self, whose: str, kept: Kept, content: bytes) -> bool:
        """Has the clusters looked at about which the document tells something new."""
        taken = self.board.take(whose, Observations.model_validate_json(content))
        for key, news in taken.items():
            if news:
                self.context.wake(key)
        return len(taken) == len(kept.seen)

    def tell(self, whose: str, problem: str) -> None:
        if self.board.fail(whose, problem):
            for key in self.context.cache.keys("DatabaseCluster", whose):
                self.context.wake(key)

    async def leave(self, whose: str, kept: Kept) -> None:
        """Garbage collection does the same when we are not there."""
        try:
            await self.remove(kept)
        except KubeError as error:
            log.warning("a monitor could not be removed", namespace=whose, error=error.message)
        self.board.leave(whose)
