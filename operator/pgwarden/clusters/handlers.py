"""DatabaseCluster: observe its Secrets and the monitor's answer, plan, write the status."""

from __future__ import annotations

from datetime import datetime

from pgwarden.clusters.access import Role, wanted
from pgwarden.clusters.plan import ObservedCluster, plan
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.objects import read
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DATABASE_CLUSTERS
from pgwarden.kube.work import apply
from pgwarden.monitoring.board import ObservationBoard

SECRETS_RETRY_SECONDS = 15.0
UNKNOWN = ("", "0")
"""System identifiers of a cluster that was never reached, the second as its status has it: no two are the same."""
STALE_INTERVALS = 6
LEAST_STALE_SECONDS = 60.0


class ClusterController:
    """Looks at DatabaseClusters."""

    type = DATABASE_CLUSTERS

    def __init__(self, context: OperatorContext, board: ObservationBoard) -> None:
        self.context = context
        self.board = board

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            self.board.forget(key)
            return None
        cluster = read(DatabaseCluster, body)
        absent = await missing(context.client, key.namespace, wanted(cluster, Role.MONITOR))
        observation = self.board.observation(key, cluster.metadata.uid)
        seen = observation.primary.system_identifier if observation is not None else ""
        stale_after = max(LEAST_STALE_SECONDS, STALE_INTERVALS * context.config.monitor_interval)
        observed = ObservedCluster(
            missing=absent,
            observation=observation,
            monitor_problem=self.board.problem(key.namespace),
            stale_after_seconds=stale_after,
            # A server that does not answer now is still the one it was.
            twins=self.twins(key, seen or self.identifier(key)),
        )
        result = plan(cluster, observed, context.clock())
        # A monitor that has fallen silent wakes nobody.
        result.again_after = SECRETS_RETRY_SECONDS if absent else stale_after
        return await apply(context, self.type, body, cluster.status, result)

    def twins(self, key: Key, system_identifier: str) -> list[tuple[datetime, str]]:
        """Other DatabaseClusters that lead to the same PostgreSQL cluster."""
        if system_identifier in UNKNOWN:
            return []
        found = []
        for other in self.context.cache.keys("DatabaseCluster"):
            body = self.context.cache.get(other)
            if other == key or body is None:
                continue
            if (body.get("status") or {}).get("systemIdentifier") == system_identifier:
                made = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
                found.append((made, f"{other.namespace}/{other.name}"))
        return found

    def dependents(self, changed: Key) -> list[Key]:
        """A DatabaseCluster that goes or changes its system identifier concerns those that have the same one."""
        if changed.kind != "DatabaseCluster":
            return []
        gone = self.context.cache.get(changed) is None
        identifiers = {self.identifier(changed)} if not gone else None
        return [
            other
            for other in self.context.cache.keys("DatabaseCluster")
            if other != changed
            and self.duplicate(other)
            and (identifiers is None or self.identifier(other) in identifiers)
        ]

    def identifier(self, key: Key) -> str:
        body = self.context.cache.get(key) or {}
        return str((body.get("status") or {}).get("systemIdentifier", ""))

    def duplicate(self, key: Key) -> bool:
        """Whether an object was last judged to be a duplicate."""
        body = self.context.cache.get(key) or {}
        conditions = (body.get("status") or {}).get("conditions") or []
        return any(c["type"] == "DuplicateOf" and c["status"] == "True" for c in conditions)
