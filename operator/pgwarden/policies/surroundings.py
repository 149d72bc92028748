"""What other objects of the namespace mean to a policy: restores that read its archive, backups under way. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgwarden.api.conditions import READY, is_true
from pgwarden.archiving.contract import ArchiverReport, ArchiverState
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.policies.access import age, governing
from pgwarden.policies.recoverable import Measured
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import run_of
from pgwarden.restores.access import ended
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore


def same_archive(policy: BackupPolicy, backup: DatabaseBackup) -> bool:
    """Whether a backup lies, or is to lie, in the policy's archive."""
    mine, its = policy.spec, backup.spec
    return (mine.cluster_ref, mine.store_ref) == (its.cluster_ref, its.store_ref)


def elder_twin(policy: BackupPolicy, others: Sequence[BackupPolicy]) -> str:
    """Name of the oldest other policy of the same cluster and store that is older than this one; empty without one."""
    oldest = governing(others, policy.spec.cluster_ref, policy.spec.store_ref)
    return oldest.metadata.name if oldest is not None and age(oldest) < age(policy) else ""


def concerns(policy: BackupPolicy, request: RestoreRequest, backups: Mapping[str, DatabaseBackup]) -> bool:
    """Whether a restore is one of the policy's cluster. What it names may be gone, or be called otherwise by now: where
    it reads tells it as well."""
    metadata, source = policy.metadata, request.spec.source
    if request.status.location.startswith(f"{metadata.namespace}/{policy.spec.cluster_ref.name}/"):
        return True
    if source.backup_ref is not None:
        backup = backups.get(source.backup_ref.name)
        return backup is not None and backup.spec.cluster_ref == policy.spec.cluster_ref
    if source.policy_ref is not None:
        return source.policy_ref.name == policy.metadata.name
    return source.cluster_ref == policy.spec.cluster_ref


def measured(requests: Sequence[RestoreRequest]) -> Measured | None:
    """The newest of these restores and drills that succeeded, as long as it took."""
    done = [
        Measured(each.metadata.name, seconds, each.status.completion_time)
        for each in requests
        if is_true(each.status.conditions, READY)
        and (seconds := took(each)) is not None
        and each.status.completion_time is not None
    ]
    return max(done, key=lambda each: each.time, default=None)


def took(request: RestoreRequest) -> float | None:
    """How long a restore took, in seconds; of a drill what one would have taken. One of parts tells nothing: it loads a
    part of the data, and may have waited for people."""
    status = request.status
    if request.spec.target.into is not None:
        return None
    return status.recovery_seconds if request.spec.target.drill is not None else status.duration_seconds


def measured_loss(requests: Sequence[RestoreRequest]) -> Measured | None:
    """The newest of these drills that told how much would have been lost."""
    done = [
        Measured(each.metadata.name, each.status.data_loss_seconds, each.status.completion_time)
        for each in requests
        if is_true(each.status.conditions, READY)
        and each.status.data_loss_seconds is not None
        and each.status.completion_time is not None
    ]
    return max(done, key=lambda each: each.time, default=None)


def restored_timeline(
    requests: Sequence[RestoreRequest], cluster: DatabaseCluster | None, report: ArchiverReport | None = None
) -> int:
    """The newest timeline that one of these restores has begun in place, where the cluster has come to it, as the
    monitor saw or the archiver, which is the first to see it; 0 for none.

    A cluster that pg_upgrade or initdb made since, or whose volume was rolled back, is not what was restored.
    """
    if cluster is None:
        return 0
    system, timeline = cluster.status.system_identifier, cluster.status.timeline
    if report is not None and (report.state, report.system_identifier) == (ArchiverState.STREAMING, system):
        timeline = max(timeline, report.timeline)
    begun = [
        each.status.timeline
        for each in requests
        if (place := each.spec.target.in_place) is not None
        and place.replaces.partition("-")[0] == system
        and each.status.in_place is not None
        and each.status.in_place.handed_over
        and each.status.timeline is not None
    ]
    return max((each for each in begun if each <= timeline), default=0)


def no_drill(policy: BackupPolicy, cluster: DatabaseCluster | None, store: BackupStore | None) -> Obstacle | None:
    """What a drill needs and does not have; objects that are missing altogether are told otherwise."""
    drill = policy.spec.drill
    encryption = store.spec.encryption if store is not None else None
    identity = drill.identity if drill is not None else None
    if store is not None and encryption is not None and encryption.identity is None and identity is None:
        name = store.metadata.name
        message = (
            f"BackupStore {name} encrypts, and no identity is named that reads its backups: set encryption.identity of"
            f" BackupStore {name}, or spec.drill.identity, to a Secret with the age identity"
        )
        return Obstacle("IdentityMissing", message)
    if drill is None or drill.image is not None or cluster is None:
        return None
    if cluster.spec.image is None and cluster.spec.workload_ref is None:
        name = cluster.metadata.name
        message = (
            f"no image of the server is known: set image or workloadRef of DatabaseCluster {name}, or spec.drill.image"
        )
        return Obstacle("ServerImageUnknown", message)
    return None


def named_by_restores(requests: Sequence[RestoreRequest]) -> set[str]:
    """DatabaseBackups that restores name that have not ended."""
    return {
        each.spec.source.backup_ref.name
        for each in requests
        if not ended(each) and each.spec.source.backup_ref is not None
    }


def under_way(policy: BackupPolicy, backups: Sequence[DatabaseBackup]) -> list[str]:
    """Ids of the backups that are being written into the policy's archive, or may be tried again."""
    return sorted(
        each.status.backup_id
        for each in backups
        if same_archive(policy, each) and each.status.backup_id and not run_of(each).finished
    )


def parents_under_way(policy: BackupPolicy, backups: Sequence[DatabaseBackup]) -> list[str]:
    """Ids of the backups that one which is being taken into the policy's archive was told to stand on."""
    return sorted(
        {
            each.spec.parent
            for each in backups
            if same_archive(policy, each) and each.spec.parent and not run_of(each).finished
        }
    )


def pinned_in(policy: BackupPolicy, backups: Sequence[DatabaseBackup]) -> list[DatabaseBackup]:
    """The DatabaseBackups of the policy's archive that people want pinned: the store may not have been told yet."""
    return [each for each in backups if same_archive(policy, each) and each.spec.pinned and each.status.backup_id]
