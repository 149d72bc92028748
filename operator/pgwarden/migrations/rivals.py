"""Which of several DatabaseMigrations may migrate a database: two sets of files must not fight over one history.

Pure. Claims are read out of bare bodies: many are compared at each look, and one that this version cannot read has one
as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgwarden.clusters.access import server_of

Body = dict[str, Any]


@dataclass(frozen=True, order=True)
class Claim:
    """A DatabaseMigration's claim to a database; the least of all claims to the same one is in force."""

    through_duplicate: bool
    """Whether its DatabaseCluster is a duplicate, through which no work is done."""
    made: datetime
    uid: str
    namespace: str
    name: str
    cluster: str
    """Name of the DatabaseCluster, in the same namespace."""
    server: str
    """Which PostgreSQL cluster that leads to; empty where nobody knows."""
    database: str

    def same_database(self, other: Claim) -> bool:
        """Whether both lead to one database, by the same DatabaseCluster or by two of one PostgreSQL cluster."""
        if self.database != other.database:
            return False
        if (self.namespace, self.cluster) == (other.namespace, other.cluster):
            return True
        return self.server == other.server != ""


def claim_of(migration: Body, cluster: Body) -> Claim:
    """The claim of a DatabaseMigration, `cluster` being the DatabaseCluster it names, or empty when there is none."""
    metadata, spec = migration["metadata"], migration["spec"]
    status = cluster.get("status") or {}
    conditions = status.get("conditions") or []
    return Claim(
        through_duplicate=any(c["type"] == "DuplicateOf" and c["status"] == "True" for c in conditions),
        made=datetime.fromisoformat(metadata["creationTimestamp"]),
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        cluster=spec["clusterRef"]["name"],
        server=server_of(cluster),
        database=spec["database"],
    )


def in_force(mine: Claim, others: Iterable[Claim]) -> str:
    """Whose claim goes before mine, as `<namespace>/<name>`; empty when mine is in force."""
    before = [other for other in others if other.uid != mine.uid and other.same_database(mine) and other < mine]
    first = min(before, default=None)
    return f"{first.namespace}/{first.name}" if first is not None else ""
