"""What to say about a DatabaseCluster. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgwarden.api.conditions import Judgment, Truth, find, in_progress, judge, ready, stalled
from pgwarden.api.quantities import human_bytes, rounded
from pgwarden.clusters.access import AbandonedRestore
from pgwarden.clusters.resource import (
    DatabaseCluster,
    DatabaseClusterStatus,
    DatabaseStatus,
    EndpointStatus,
)
from pgwarden.jobs.attempts import sentence
from pgwarden.jobs.plan import Notice, Plan, told
from pgwarden.jobs.task import shorten
from pgwarden.monitoring.contract import ClusterObservation, EndpointObservation, SlotObservation

REACHABLE = "Reachable"
DUPLICATE_OF = "DuplicateOf"
SLOTS_IN_USE = "SlotsInUse"
RESTORES_CONCLUDED = "RestoresConcluded"
KEPT_DATABASES = 128
MOST_COMMANDS = 5
"""In one message, which ends at 4,096 characters, and a host's name may have 253."""


@dataclass(frozen=True)
class ObservedCluster:
    """What is known about a DatabaseCluster beside its own object."""

    missing: Sequence[str] = ()
    """Sentences about Secrets, ConfigMaps or keys that are not there."""
    observation: ClusterObservation | None = None
    """The monitor's last answer that was made with the present spec."""
    monitor_problem: str = ""
    """Why there is no answer from the monitor."""
    stale_after_seconds: float = 60.0
    twins: Sequence[tuple[datetime, str]] = ()
    """(creation time, name) of other DatabaseClusters with the same system identifier, in any namespace."""
    slots: Collection[str] = ()
    """Replication slots of the archivers that BackupPolicies want."""
    abandoned: AbandonedRestore | None = None
    """Of a restore that nobody asks for any more; None when nobody has looked."""


def plan(cluster: DatabaseCluster, observed: ObservedCluster, now: datetime) -> Plan:
    """The status of a DatabaseCluster out of what was observed."""
    status = cluster.status.model_copy()
    judgments = acceptance(cluster, observed)
    observation = observed.observation
    if observed.missing:
        judgments.append(judge(REACHABLE, None, "SecretMissing", "; ".join(observed.missing)))
    elif observation is not None:
        status = described(status, observation)
        judgments.append(reachability(observation, observed, now))
        judgments += slots_in_use(cluster, observation, observed.slots)
    elif observed.monitor_problem:
        judgments.append(judge(REACHABLE, None, "MonitorNotRunning", observed.monitor_problem))
    elif not seen_before(cluster):
        judgments.append(judge(REACHABLE, None, "NotObservedYet", "the monitor has not answered yet"))
    duplicate = duplication(cluster, observed)
    if duplicate.status == Truth.TRUE:
        judgments = [*stalled(duplicate.reason, duplicate.message), *(j for j in judgments if j.type == REACHABLE)]
    judgments.append(duplicate)
    judgments += restores_concluded(cluster, observed.abandoned)
    return Plan(status=status, judgments=judgments, notices=notices(cluster, judgments))


def seen_before(cluster: DatabaseCluster) -> bool:
    """Whether an operator has seen this very spec's server answer or fail: that holds until its successor has asked

    the monitor, so that a restart of the operator is no news about the database.
    """
    reachable = find(cluster.status.conditions, REACHABLE)
    return (
        reachable is not None
        and reachable.status != Truth.UNKNOWN
        and reachable.observed_generation == cluster.metadata.generation
    )


def acceptance(cluster: DatabaseCluster, observed: ObservedCluster) -> list[Judgment]:
    """Ready, Reconciling, Stalled: whether the object is accepted and in force. An unreachable server does not

    make it less so: that is what the condition Reachable tells.
    """
    if observed.missing:
        return in_progress("SecretMissing", "; ".join(observed.missing))
    if cluster.spec.suspend:
        return ready("Suspended", "no new work is started on this cluster (spec.suspend)")
    return ready("Accepted", "the cluster is watched, and work on it is accepted")


def reachability(observation: ClusterObservation, observed: ObservedCluster, now: datetime) -> Judgment:
    """The condition Reachable: the primary, then the databases that must exist."""
    age = (now - observation.time).total_seconds()
    if age > observed.stale_after_seconds:
        # The time, not how long ago: that would be another message, and another write, at every look.
        since = observation.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        message = f"the monitor has not looked since {since}: {observed.monitor_problem or 'it may hang'}"
        return judge(REACHABLE, None, "MonitorNotRunning", message)
    primary = observation.primary
    if not primary.reachable:
        return judge(REACHABLE, False, primary.reason, sentence(primary.message, primary.remedy))
    where = f"{primary.host}:{primary.port}"
    if primary.in_recovery:
        message = (
            f"{where} is a standby, so nothing can be written there. Point spec.primary at the primary, or promote it"
        )
        return judge(REACHABLE, False, "NotPrimary", message)
    if observation.missing_databases:
        names = ", ".join(observation.missing_databases)
        message = f"{where} has no database {names}. Create it, or take it out of spec.databases"
        return judge(REACHABLE, False, "DatabaseNotFound", message)
    lost = [replica for replica in observation.replicas if not replica.reachable]
    if lost:
        detail = "; ".join(f"{r.host}:{r.port}: {r.message}" for r in lost)
        return judge(REACHABLE, True, "ReplicaUnreachable", f"the primary answers, but not every replica: {detail}")
    return judge(REACHABLE, True, "Reachable", f"{where} answers queries")


def slots_in_use(cluster: DatabaseCluster, seen: ClusterObservation, wanted: Collection[str]) -> list[Judgment]:
    """The condition SlotsInUse: said when there is a slot of ours that no policy wants, and when there is none left."""
    orphans = [
        (server, slot)
        for server in (seen.primary, *seen.replicas)
        for slot in server.slots
        if slot.name not in wanted and not slot.active
    ]
    if not orphans:
        known = find(cluster.status.conditions, SLOTS_IN_USE) is not None
        return [judge(SLOTS_IN_USE, True, "SlotsInUse", "every slot of an archiver is wanted")] if known else []
    commands = [dropping(cluster, server, slot) for server, slot in orphans[:MOST_COMMANDS]]
    left = len(orphans) - len(commands)
    message = (
        "no BackupPolicy with wal.enabled wants these replication slots any more, and the server keeps WAL for each"
        " until its disk is full. Unless an archiver of another Kubernetes cluster uses it, drop it: "
        f"{'; '.join(commands)}{f'; and {left} more' if left else ''}"
    )
    return [judge(SLOTS_IN_USE, False, "OrphanedSlot", message)]


def restores_concluded(cluster: DatabaseCluster, left: AbandonedRestore | None) -> list[Judgment]:
    """The condition RestoresConcluded: said from the first restore on whose RestoreRequest was deleted on the way."""
    if left is None:
        return []
    if not left.concluded:
        return [judge(RESTORES_CONCLUDED, False, "PutBackFailed" if left.stuck else "PuttingBack", left.message)]
    said = find(cluster.status.conditions, RESTORES_CONCLUDED)
    if not left.message and (said is None or said.status == Truth.TRUE):
        return []
    message = left.message or "what a RestoreRequest that was deleted on the way had stopped is started again"
    return [judge(RESTORES_CONCLUDED, True, "HandedOver" if left.handed_over else "PutBack", message)]


def dropping(cluster: DatabaseCluster, server: EndpointObservation, slot: SlotObservation) -> str:
    """What the server keeps for a slot, and the command that drops it there, as it is typed."""
    kept = f" (more than {human_bytes(slot.kept_bytes)} of WAL)" if slot.kept_bytes else ""
    where = f"host={server.host} port={server.port} dbname={cluster.spec.maintenance_database}"
    statement = f"SELECT pg_drop_replication_slot('{slot.name}')"
    return f'{slot.name} on {server.host}:{server.port}{kept}: psql "{where}" -c "{statement}"'


def duplication(cluster: DatabaseCluster, observed: ObservedCluster) -> Judgment:
    """The condition DuplicateOf: two objects for one PostgreSQL cluster; only the older one is acted on."""
    made = cluster.metadata.creation_timestamp
    mine = (made, f"{cluster.metadata.namespace}/{cluster.metadata.name}")
    older = [twin for twin in observed.twins if made is not None and twin < mine]
    if not older:
        return judge(DUPLICATE_OF, False, "Unique")
    message = (
        f"DatabaseCluster {min(older)[1]} is older and has the same system identifier, so no work is done through"
        " this one. Delete one of the two, or give this one the address of another cluster. Where this one is a"
        " restored copy, name the other one in spec.copyOf"
    )
    return judge(DUPLICATE_OF, True, "SameSystemIdentifier", message)


def described(status: DatabaseClusterStatus, observation: ClusterObservation) -> DatabaseClusterStatus:
    """The status with what an observation tells; what it does not tell stays as it was."""
    primary = observation.primary
    update: dict[str, object] = {
        "endpoints": [
            endpoint(primary),
            *(endpoint(replica) for replica in observation.replicas),
        ]
    }
    if primary.reachable:
        size = rounded(sum(database.size_bytes for database in observation.databases))
        update |= {
            "version": primary.version,
            "role": role(primary),
            "system_identifier": primary.system_identifier,
            "timeline": primary.timeline,
            "restore_token": f"{primary.system_identifier}-{primary.timeline}",
            "size_bytes": size,
            "size": human_bytes(size),
            "databases": [
                DatabaseStatus(name=database.name[:63], size_bytes=rounded(database.size_bytes))
                for database in sorted(observation.databases, key=lambda d: (-rounded(d.size_bytes), d.name))
            ][:KEPT_DATABASES],
        }
    return status.model_copy(update=update)


def endpoint(seen: EndpointObservation) -> EndpointStatus:
    return EndpointStatus(
        host=seen.host,
        port=seen.port,
        role=role(seen),
        reachable=seen.reachable,
        reason=seen.reason,
        message=shorten(sentence(seen.message, seen.remedy), 1024),
    )


def role(seen: EndpointObservation) -> str:
    """Primary, Replica, or empty when the server did not say."""
    if seen.in_recovery is None:
        return ""
    return "Replica" if seen.in_recovery else "Primary"


def notices(cluster: DatabaseCluster, judgments: Sequence[Judgment]) -> list[Notice]:
    """An Event for each turn of Reachable and the like, and for a duplicate."""
    turns = (REACHABLE, SLOTS_IN_USE, RESTORES_CONCLUDED)
    found = [notice for type_ in turns for notice in told(judgments, cluster.status, type_)]
    if any(judgment.type == DUPLICATE_OF and judgment.status == Truth.TRUE for judgment in judgments):
        found += [replace(notice, warning=True) for notice in told(judgments, cluster.status, DUPLICATE_OF)]
    return found
