"""Why a restore cannot begin, as sentences: what passes by itself (Obstacle) and what never will (refusal). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pgwarden.api.conditions import Truth, find
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.restores.parts import from_dump, not_of_dumps, wants_parts
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore


def backup_refusal(request: RestoreRequest, backup: DatabaseBackup | None) -> Obstacle | None:
    """A backup that can never be restored as it is asked for."""
    refused = None
    if backup is not None and from_dump(backup):
        refused = not_of_dumps(request) if wants_parts(request) else logical_refusal(backup)
    if refused is not None:
        return refused
    condition = find(backup.status.conditions, "Restorable") if backup is not None else None
    if backup is None or condition is None or condition.status != Truth.FALSE:
        return None
    message = (
        f"DatabaseBackup {backup.metadata.name} cannot be restored ({condition.reason}): {condition.message}."
        " Name another backup in a new RestoreRequest"
    )
    return Obstacle("BackupNotRestorable", message)


def logical_refusal(backup: DatabaseBackup) -> Obstacle:
    """A dump is loaded into a server that runs, and a restore makes one."""
    name, spec = backup.metadata.name, backup.spec
    shown = f"--store {spec.store_ref.name} --cluster {spec.cluster_ref.name}"
    message = (
        f"DatabaseBackup {name} is a logical backup: a dump of each database, out of which no server can be made."
        " Load it into a server that runs: target.into in a new RestoreRequest, or by hand, by the commands"
        " (restoreByHand, with pg_restore) that this prints: kubectl"
        f" pgwarden backup show {backup.status.backup_id or 'ID'} {shown} --namespace {backup.metadata.namespace}."
        " For a new instance name a full or incremental backup, or a policyRef with a target, in a new RestoreRequest"
    )
    return Obstacle("BackupIsLogical", message)


def backup_obstacle(
    request: RestoreRequest, backup: DatabaseBackup | None, store: BackupStore | None
) -> Obstacle | None:
    """What is not there yet: the backup, its store, or the identity that reads it."""
    source = request.spec.source
    if source.backup_ref is None:
        return store_obstacle(request, store)
    name = source.backup_ref.name
    if backup is None:
        message = f"there is no DatabaseBackup {name} in this namespace; name one that exists in a new RestoreRequest"
        return Obstacle("BackupNotFound", message)
    condition = find(backup.status.conditions, "Restorable")
    if condition is None or condition.status != Truth.TRUE:
        return Obstacle("BackupNotReady", f"DatabaseBackup {name} is not finished yet")
    if store is None:
        return Obstacle("StoreNotFound", f"BackupStore {backup.spec.store_ref.name} of DatabaseBackup {name} is gone")
    identity = request.spec.identity or (store.spec.encryption.identity if store.spec.encryption else None)
    if backup.status.encrypted and identity is None:
        message = (
            f"DatabaseBackup {name} is encrypted and no identity is named: set spec.identity in a new RestoreRequest,"
            f" or encryption.identity of BackupStore {store.metadata.name}, to a Secret with the age identity"
        )
        return Obstacle("IdentityMissing", message)
    return None


def store_obstacle(request: RestoreRequest, store: BackupStore | None) -> Obstacle | None:
    """What keeps an archive from being read: whether it is encrypted, and to whom, only its records tell."""
    source = request.spec.source
    if store is not None:
        return None
    if source.policy_ref is not None:
        message = f"there is no BackupPolicy {source.policy_ref.name} in this namespace, or its BackupStore is gone"
        return Obstacle("PolicyNotFound", f"{message}; name one that exists, or clusterRef and storeRef, in a new one")
    name = source.store_ref.name if source.store_ref is not None else ""
    return Obstacle("StoreNotFound", f"there is no BackupStore {name} in this namespace; create it")


def name_taken(instance: str, others: Sequence[str]) -> Obstacle | None:
    """Names that the new instance would need and that belong to something else."""
    if not others:
        return None
    message = (
        f"the name {instance} is taken: {', '.join(others)} exist and were not made for this request."
        " Choose another name in a new RestoreRequest"
    )
    return Obstacle("NameTaken", message)
