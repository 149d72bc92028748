"""DatabaseCluster: observe its Secrets and the monitor's answer, plan, write the status."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pgwarden.api.conditions import Truth
from pgwarden.archiving.contract import slot_name
from pgwarden.clusters.access import AbandonedRestore, Role, server_of, wanted
from pgwarden.clusters.plan import DUPLICATE_OF, ObservedCluster, plan
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.kube.cache import Body
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import named
from pgwarden.kube.key import Key
from pgwarden.kube.objects import read
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DATABASE_CLUSTERS
from pgwarden.kube.work import apply
from pgwarden.monitoring.board import ObservationBoard

SECRETS_RETRY_SECONDS = 15.0
STALE_INTERVALS = 6
LEAST_STALE_SECONDS = 60.0


class Restores(Protocol):
    """Looks after what restores have left whose RestoreRequests were deleted on the way."""

    async def look(
        self, key: Key, body: Body, cluster: DatabaseCluster
    ) -> tuple[AbandonedRestore | None, float | None]:
        """What there is to say of it, and seconds after which to look again. Raises KubeError."""
        ...

    def requests_changed(self, changed: Key) -> list[Key]:
        """DatabaseClusters that want to be looked at because a RestoreRequest changed or went."""
        ...


class ClusterController:
    """Looks at DatabaseClusters."""

    type = DATABASE_CLUSTERS

    def __init__(self, context: OperatorContext, board: ObservationBoard, restores: Restores) -> None:
        self.context = context
        self.board = board
        self.restores = restores
        self.duplicates: set[Key] = set()
        """Those last judged to be duplicates."""
        self.servers: dict[Key, str] = {}
        """Which server each led to at its last look."""

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            self.board.forget(key)
            self.duplicates.discard(key)
            self.servers.pop(key, None)
            return None
        cluster = read(DatabaseCluster, body)
        absent = await missing(context.client, key.namespace, wanted(cluster, Role.MONITOR))
        observation = self.board.observation(key, cluster.metadata.uid)
        server = self.server(key)
        self.notice(key, server)
        stale_after = max(LEAST_STALE_SECONDS, STALE_INTERVALS * context.config.monitor_interval)
        abandoned, restores_after = await self.restores.look(key, body, cluster)
        observed = ObservedCluster(
            missing=absent,
            observation=observation,
            monitor_problem=self.board.problem(key.namespace),
            stale_after_seconds=stale_after,
            twins=self.twins(key, server),
            slots=self.slots(key),
            abandoned=abandoned,
        )
        result = plan(cluster, observed, context.clock())
        if any(each.type == DUPLICATE_OF and each.status == Truth.TRUE for each in result.judgments):
            self.duplicates.add(key)
        else:
            self.duplicates.discard(key)
        # A monitor that has fallen silent wakes nobody.
        seconds = SECRETS_RETRY_SECONDS if absent else stale_after
        result.again_after = min(seconds, restores_after) if restores_after is not None else seconds
        return await apply(context, self.type, body, cluster.status, result)

    def notice(self, key: Key, server: str) -> None:
        """Has those that lead to the same server looked at, and the duplicates, as soon as a cluster turns out to be

        another one than at the last look: its status, which they would see too, is written later.
        """
        if self.servers.get(key) != server:
            self.servers[key] = server
            for other in self.dependents(key):
                self.context.wake(other)

    def slots(self, key: Key) -> set[str]:
        """The slots of the archivers that the cluster's BackupPolicies want."""
        policies = self.context.cache.bodies("BackupPolicy", key.namespace)
        return {
            slot_name(body["metadata"]["uid"])
            for body in policies
            if named(body, ("clusterRef",)) == key.name and body["spec"].get("wal", {}).get("enabled")
        }

    def twins(self, key: Key, server: str) -> list[tuple[datetime, str]]:
        """Other DatabaseClusters that lead to the same PostgreSQL cluster."""
        found = []
        for other in self.of_same_server(key, server):
            body = self.context.cache.get(other) or {}
            made = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
            found.append((made, f"{other.namespace}/{other.name}"))
        return found

    def of_same_server(self, key: Key, server: str) -> list[Key]:
        if not server:
            return []
        others = self.context.cache.keys("DatabaseCluster")
        return [other for other in others if other != key and self.server(other) == server]

    def dependents(self, changed: Key) -> list[Key]:
        """Whoever leads to the same server as a changed DatabaseCluster, or was a duplicate, perhaps of this one; and
        those whose data a RestoreRequest may have been replacing that is gone."""
        if changed.kind != "DatabaseCluster":
            return self.restores.requests_changed(changed)
        same = self.of_same_server(changed, self.server(changed))
        return [*same, *(self.duplicates - {changed} - set(same))]

    def server(self, key: Key) -> str:
        """Which PostgreSQL cluster it is, or empty; one that does not answer is still the one it was."""
        body = self.context.cache.get(key)
        if body is None:
            return ""
        observation = self.board.observation(key, body["metadata"]["uid"])
        return server_of(body, observation.primary.system_identifier if observation is not None else "")
