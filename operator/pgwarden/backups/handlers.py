"""DatabaseBackup: observe its cluster, store and Job, plan, start the attempt, write the status.

A finished one that a person wants deleted, or pinned, has a Job of the catalogue, which does it or says why not.
"""

from __future__ import annotations

from contextlib import nullcontext

from pgwarden.backups.expiry import (
    concerned,
    may_lose_parent,
)
from pgwarden.backups.pinning import unlike
from pgwarden.backups.plan import BackupPlan, ObservedBackup, backup_id, backup_job, finished, operation, plan
from pgwarden.backups.render import POLICY_LABEL, physical_backup
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.backups.wish_handlers import ExpiryKeeper, PinKeeper
from pgwarden.clusters.access import Obstacle, Role, major_version, wanted
from pgwarden.clusters.access import obstacle as cluster_obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.render import Manifest
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import account_refused, agent_image, image_missing, launch
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import referring
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of, find, read
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DATABASE_BACKUPS
from pgwarden.kube.work import apply, bury_all, observe_job
from pgwarden.logical.render import logical_backup
from pgwarden.stores.access import obstacle as store_obstacle
from pgwarden.stores.access import wanted as store_wanted
from pgwarden.stores.resource import BackupStore


class BackupController:
    """Looks at DatabaseBackups."""

    type = DATABASE_BACKUPS

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self.expiry = ExpiryKeeper(context)
        self.pins = PinKeeper(context)

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            context.progress.leave(key)
            return None
        backup = read(DatabaseBackup, body)
        if finished(backup):
            context.progress.leave(key)
            if unlike(backup):
                return await self.pins.reconcile(body, backup)
            if concerned(backup):
                return await self.expiry.reconcile(body, backup)
            await bury_all(context, key.namespace, backup.metadata.uid)
            return await apply(context, self.type, body, backup.status, BackupPlan(status=backup.status))
        attempts = backup.status.attempts
        name = attempts[-1].job if attempts else backup_job(backup, 1)
        state = await observe_job(context, key.namespace, name, recorded=bool(attempts))
        cluster = find(context, DatabaseCluster, key.namespace, backup.spec.cluster_ref.name)
        store = find(context, BackupStore, key.namespace, backup.spec.store_ref.name)
        observed = ObservedBackup(
            job=state,
            obstacle=await self.obstacle(backup, cluster, store, key.namespace),
            busy=self.busy(backup, cluster),
            progress=context.progress.follow(key, state),
        )
        result = plan(backup, observed, context.clock())
        if result.attempt is not None and cluster is not None and store is not None:
            result.start = self.job(backup, cluster, store, result.attempt)
        identifier = cluster.status.system_identifier if cluster is not None else ""
        with reserved(context, operation(backup), identifier, backup.metadata.uid) if result.start else nullcontext():
            again = await apply(context, self.type, body, backup.status, result)
        if state.ended and result.written:
            await bury_all(context, key.namespace, backup.metadata.uid)
        return again

    def job(self, backup: DatabaseBackup, cluster: DatabaseCluster, store: BackupStore, attempt: int) -> Manifest:
        """The Job of one attempt."""
        image = agent_image(self.context.config, major_version(cluster.status.version))
        start = launch(self.context.config, backup_job(backup, attempt), attempt, image)
        if operation(backup) == Operation.LOGICAL_BACKUP:
            policy = backup.metadata.labels.get(POLICY_LABEL, "")
            return logical_backup(backup, cluster, store, start, backup_id=backup_id(backup), policy=policy)
        return physical_backup(backup, cluster, store, start)

    async def obstacle(
        self, backup: DatabaseBackup, cluster: DatabaseCluster | None, store: BackupStore | None, namespace: str
    ) -> Obstacle | None:
        """What keeps an attempt from beginning now."""
        found = cluster_obstacle(cluster, backup.spec.cluster_ref.name, Role.BACKUP)
        found = found or store_obstacle(store, backup.spec.store_ref.name)
        if found is not None or cluster is None or store is None:
            return found
        needed = [*wanted(cluster, Role.BACKUP), *store_wanted(store, catalogue_key=True)]
        absent = await missing(self.context.client, namespace, needed)
        if absent:
            return Obstacle("SecretMissing", "; ".join(absent))
        major = major_version(cluster.status.version)
        if agent_image(self.context.config, major) is None:
            return Obstacle("AgentImageMissing", image_missing(self.context.config, major))
        refused = account_refused(self.context.config, backup.spec.job_template.service_account_name)
        return Obstacle("ServiceAccountRefused", refused) if refused else None

    def busy(self, backup: DatabaseBackup, cluster: DatabaseCluster | None) -> str:
        if cluster is None:
            return ""
        if backup.spec.type is BackupType.INCREMENTAL:
            others = all_of(self.context, DatabaseBackup, backup.metadata.namespace)
            if losing := may_lose_parent(backup, others):
                return losing
        return no_room(self.context, operation(backup), cluster.status.system_identifier, backup.metadata.uid)

    def dependents(self, changed: Key) -> list[Key]:
        return referring(self.context.cache, "DatabaseBackup", changed)
