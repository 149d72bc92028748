"""DatabaseBackup: observe its cluster, store and Job, plan, start the attempt, write the status.

A finished one that a person wants deleted, or pinned, has a Job of the catalogue, which does it or says why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from pgwarden.backups.expiry import (
    ObservedExpiry,
    concerned,
    expiry_job,
    may_lose_parent,
    open_attempts,
    plan_expiry,
    taken_on_it,
    wanted_gone,
)
from pgwarden.backups.pinning import ObservedPin, open_pins, pin_job, plan_pin, unlike, wanted_pinned
from pgwarden.backups.plan import BackupPlan, ObservedBackup, backup_id, backup_job, finished, operation, plan
from pgwarden.backups.render import POLICY_LABEL, physical_backup
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.catalogue.contract import RetentionSettings, What
from pgwarden.catalogue.render import catalogue_job, task_for
from pgwarden.clusters.access import Obstacle, Role, major_version, wanted
from pgwarden.clusters.access import obstacle as cluster_obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import account_refused, agent_image, image_missing, launch
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import referring
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of, find, read
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DATABASE_BACKUPS
from pgwarden.kube.work import apply, bury_all, observe_job, start_job
from pgwarden.logical.render import logical_backup
from pgwarden.policies.access import governing, retention_settings
from pgwarden.policies.resource import BackupPolicy
from pgwarden.restores.access import read_by_restores
from pgwarden.restores.resource import RestoreRequest
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


class ExpiryKeeper:
    """Looks at finished DatabaseBackups that people want deleted."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def reconcile(self, body: Body, backup: DatabaseBackup) -> float | None:
        context, metadata = self.context, backup.metadata
        attempts = open_attempts(backup)
        name = attempts[-1].job if attempts else expiry_job(backup, 1)
        state = await observe_job(context, metadata.namespace, name, recorded=bool(attempts))
        cluster = find(context, DatabaseCluster, metadata.namespace, backup.spec.cluster_ref.name)
        store = find(context, BackupStore, metadata.namespace, backup.spec.store_ref.name)
        others = all_of(context, DatabaseBackup, metadata.namespace)
        identifier = cluster.status.system_identifier if cluster is not None else ""
        busy = taken_on_it(backup, others) or no_room(context, Operation.CATALOGUE, identifier, metadata.uid)
        observed = ObservedExpiry(state, await self.obstacle(backup, cluster, store, others), busy)
        result = plan_expiry(backup, observed, context.clock())
        if result.attempt is not None and cluster is not None and store is not None:
            job = self.job(backup, cluster, store, others, result.attempt)
            try:
                with reserved(context, Operation.CATALOGUE, identifier, metadata.uid):
                    await start_job(context, body, result, job)
            except KubeError as error:
                if error.passing or error.namespace_terminating:
                    raise
                # The backup is as good as before: only its expiry has to wait.
                forbidden = Obstacle("JobForbidden", f"the API server refused the Job: {error.message}")
                result = plan_expiry(backup, replace(observed, obstacle=forbidden), context.clock())
        again = await apply(context, DATABASE_BACKUPS, body, backup.status, result)
        if state.ended and result.written:
            await bury_all(context, metadata.namespace, metadata.uid)
        return again

    async def obstacle(
        self,
        backup: DatabaseBackup,
        cluster: DatabaseCluster | None,
        store: BackupStore | None,
        others: Sequence[DatabaseBackup],
    ) -> Obstacle | None:
        """Why the archive cannot be judged now."""
        spec, namespace = backup.spec, backup.metadata.namespace
        if cluster is None:
            return Obstacle(
                "ClusterNotFound", f"there is no DatabaseCluster {spec.cluster_ref.name}, whose archive it is"
            )
        held = store_obstacle(store, spec.store_ref.name, frees=True)
        if store is None or held is not None:
            return held
        if self.in_use(namespace, others) is None:
            return Obstacle("RestoreUndecided", "a restore has not found out yet which backups it needs")
        absent = await missing(self.context.client, namespace, store_wanted(store, catalogue_key=True))
        return Obstacle("SecretMissing", "; ".join(absent)) if absent else None

    def in_use(self, namespace: str, backups: Sequence[DatabaseBackup]) -> list[str] | None:
        """Ids that restores of the namespace read now; None while one does not know yet."""
        restores = all_of(self.context, RestoreRequest, namespace)
        return read_by_restores(restores, {each.metadata.name: each for each in backups})

    def job(
        self,
        backup: DatabaseBackup,
        cluster: DatabaseCluster,
        store: BackupStore,
        others: Sequence[DatabaseBackup],
        attempt: int,
    ) -> Manifest:
        """The Job that judges what needs the backup, and deletes it. What a policy promises has to hold afterwards."""
        config, metadata = self.context.config, backup.metadata
        policies = all_of(self.context, BackupPolicy, metadata.namespace)
        policy = governing(policies, backup.spec.cluster_ref, backup.spec.store_ref)
        payload = task_for(cluster, store, What.EXPIRE, self.context.clock()).model_copy(
            update={
                "backups": wanted_gone(backup, others),
                "promised": policy is not None,
                "retention": retention_settings(policy.spec.retention) if policy is not None else RetentionSettings(),
                "in_use": self.in_use(metadata.namespace, others) or [],
                "pinned": wanted_pinned(backup, others),
            }
        )
        name = expiry_job(backup, attempt)
        start = launch(config, name, attempt, config.images.monitor)
        return catalogue_job(payload, cluster, store, Owner.of(backup), start, template=backup.spec.job_template)


class PinKeeper:
    """Has the store know which finished DatabaseBackups people want pinned."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def reconcile(self, body: Body, backup: DatabaseBackup) -> float | None:
        context, metadata = self.context, backup.metadata
        attempts = open_pins(backup)
        name = attempts[-1].job if attempts else pin_job(backup, 1)
        state = await observe_job(context, metadata.namespace, name, recorded=bool(attempts))
        cluster = find(context, DatabaseCluster, metadata.namespace, backup.spec.cluster_ref.name)
        store = find(context, BackupStore, metadata.namespace, backup.spec.store_ref.name)
        identifier = cluster.status.system_identifier if cluster is not None else ""
        busy = no_room(context, Operation.CATALOGUE, identifier, metadata.uid)
        observed = ObservedPin(state, await self.obstacle(backup, cluster, store), busy)
        result = plan_pin(backup, observed, context.clock())
        if result.attempt is not None and cluster is not None and store is not None:
            try:
                with reserved(context, Operation.CATALOGUE, identifier, metadata.uid):
                    await start_job(context, body, result, self.job(backup, cluster, store, result.attempt))
            except KubeError as error:
                if error.passing or error.namespace_terminating:
                    raise
                # The backup is as good as before: only its pin has to wait.
                forbidden = Obstacle("JobForbidden", f"the API server refused the Job: {error.message}")
                result = plan_pin(backup, replace(observed, obstacle=forbidden), context.clock())
        again = await apply(context, DATABASE_BACKUPS, body, backup.status, result)
        if state.ended and result.written:
            await bury_all(context, metadata.namespace, metadata.uid)
        return again

    async def obstacle(
        self, backup: DatabaseBackup, cluster: DatabaseCluster | None, store: BackupStore | None
    ) -> Obstacle | None:
        """Why the store cannot be told now."""
        spec, namespace = backup.spec, backup.metadata.namespace
        if cluster is None:
            return Obstacle(
                "ClusterNotFound", f"there is no DatabaseCluster {spec.cluster_ref.name}, whose archive it is"
            )
        held = store_obstacle(store, spec.store_ref.name)
        if store is None or held is not None:
            return held
        absent = await missing(self.context.client, namespace, store_wanted(store, catalogue_key=True))
        return Obstacle("SecretMissing", "; ".join(absent)) if absent else None

    def job(self, backup: DatabaseBackup, cluster: DatabaseCluster, store: BackupStore, attempt: int) -> Manifest:
        """The Job that pins the backup, or takes its pin away."""
        config, metadata = self.context.config, backup.metadata
        what = What.PIN if backup.spec.pinned else What.UNPIN
        payload = task_for(cluster, store, what, self.context.clock()).model_copy(
            update={
                "backups": [backup.status.backup_id],
                "asked_by": f"DatabaseBackup {metadata.namespace}/{metadata.name}",
            }
        )
        start = launch(config, pin_job(backup, attempt), attempt, config.images.monitor)
        return catalogue_job(payload, cluster, store, Owner.of(backup), start, template=backup.spec.job_template)
