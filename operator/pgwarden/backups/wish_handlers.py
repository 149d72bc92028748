"""What people ask for of finished DatabaseBackups: observe, plan, have a Job of the catalogue do it, write the status.

`expiry` and `pinning` say when which of them is concerned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pgwarden.api.status import Attempt
from pgwarden.backups.expiry import (
    expiry_job,
    open_attempts,
    plan_expiry,
    taken_on_it,
    wanted_gone,
)
from pgwarden.backups.pinning import open_pins, pin_job, plan_pin, wanted_pinned
from pgwarden.backups.plan import BackupPlan
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.backups.wishes import ObservedWish
from pgwarden.catalogue.contract import CatalogueTask, RetentionSettings, What
from pgwarden.catalogue.render import catalogue_job, task_for
from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import launch
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.objects import all_of, find
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DATABASE_BACKUPS
from pgwarden.kube.work import apply, bury_all, observe_job, start_job
from pgwarden.policies.access import governing, retention_settings
from pgwarden.policies.resource import BackupPolicy
from pgwarden.restores.access import read_by_restores
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.access import obstacle as store_obstacle
from pgwarden.stores.access import wanted as store_wanted
from pgwarden.stores.resource import BackupStore


class WishKeeper(ABC):
    """Has a Job of the catalogue do what people ask for of finished DatabaseBackups."""

    frees = False
    """Whether the Job makes room, so that a full store does not keep it from beginning."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    @abstractmethod
    def open_attempts(self, backup: DatabaseBackup) -> list[Attempt]: ...

    @abstractmethod
    def job_name(self, backup: DatabaseBackup, attempt: int) -> str: ...

    @abstractmethod
    def plan(self, backup: DatabaseBackup, observed: ObservedWish, now: datetime) -> BackupPlan: ...

    @abstractmethod
    def payload(
        self, backup: DatabaseBackup, cluster: DatabaseCluster, store: BackupStore, others: Sequence[DatabaseBackup]
    ) -> CatalogueTask: ...

    def waits_for(self, backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> str:
        """Which other backup of the archive has to end first; empty where none has."""
        return ""

    def undecided(self, backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> Obstacle | None:
        """What is not known yet without which the Job must not begin."""
        return None

    async def reconcile(self, body: Body, backup: DatabaseBackup) -> float | None:
        context, metadata = self.context, backup.metadata
        attempts = self.open_attempts(backup)
        name = attempts[-1].job if attempts else self.job_name(backup, 1)
        state = await observe_job(context, metadata.namespace, name, recorded=bool(attempts))
        cluster = find(context, DatabaseCluster, metadata.namespace, backup.spec.cluster_ref.name)
        store = find(context, BackupStore, metadata.namespace, backup.spec.store_ref.name)
        others = all_of(context, DatabaseBackup, metadata.namespace)
        identifier = cluster.status.system_identifier if cluster is not None else ""
        busy = self.waits_for(backup, others) or no_room(context, Operation.CATALOGUE, identifier, metadata.uid)
        observed = ObservedWish(state, await self.obstacle(backup, cluster, store, others), busy)
        result = self.plan(backup, observed, context.clock())
        if result.attempt is not None and cluster is not None and store is not None:
            job = self.job(backup, cluster, store, others, result.attempt)
            try:
                with reserved(context, Operation.CATALOGUE, identifier, metadata.uid):
                    await start_job(context, body, result, job)
            except KubeError as error:
                if error.passing or error.namespace_terminating:
                    raise
                # The backup is as good as before: only the wish has to wait.
                forbidden = Obstacle("JobForbidden", f"the API server refused the Job: {error.message}")
                result = self.plan(backup, replace(observed, obstacle=forbidden), context.clock())
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
        """Why the store cannot be asked now."""
        spec, namespace = backup.spec, backup.metadata.namespace
        if cluster is None:
            return Obstacle(
                "ClusterNotFound", f"there is no DatabaseCluster {spec.cluster_ref.name}, whose archive it is"
            )
        held = store_obstacle(store, spec.store_ref.name, frees=self.frees)
        if store is None or held is not None:
            return held
        if undecided := self.undecided(backup, others):
            return undecided
        absent = await missing(self.context.client, namespace, store_wanted(store, catalogue_key=True))
        return Obstacle("SecretMissing", "; ".join(absent)) if absent else None

    def job(
        self,
        backup: DatabaseBackup,
        cluster: DatabaseCluster,
        store: BackupStore,
        others: Sequence[DatabaseBackup],
        attempt: int,
    ) -> Manifest:
        """The Job of one attempt."""
        config = self.context.config
        start = launch(config, self.job_name(backup, attempt), attempt, config.images.monitor)
        payload = self.payload(backup, cluster, store, others)
        return catalogue_job(payload, cluster, store, Owner.of(backup), start, template=backup.spec.job_template)


class ExpiryKeeper(WishKeeper):
    """Has backups deleted, once it is judged what needs them. What a policy promises has to hold afterwards."""

    frees = True

    def open_attempts(self, backup: DatabaseBackup) -> list[Attempt]:
        return open_attempts(backup)

    def job_name(self, backup: DatabaseBackup, attempt: int) -> str:
        return expiry_job(backup, attempt)

    def plan(self, backup: DatabaseBackup, observed: ObservedWish, now: datetime) -> BackupPlan:
        return plan_expiry(backup, observed, now)

    def waits_for(self, backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> str:
        return taken_on_it(backup, others)

    def undecided(self, backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> Obstacle | None:
        if self.in_use(backup.metadata.namespace, others) is not None:
            return None
        return Obstacle("RestoreUndecided", "a restore has not found out yet which backups it needs")

    def in_use(self, namespace: str, backups: Sequence[DatabaseBackup]) -> list[str] | None:
        """Ids that restores of the namespace read now; None while one does not know yet."""
        restores = all_of(self.context, RestoreRequest, namespace)
        return read_by_restores(restores, {each.metadata.name: each for each in backups})

    def payload(
        self, backup: DatabaseBackup, cluster: DatabaseCluster, store: BackupStore, others: Sequence[DatabaseBackup]
    ) -> CatalogueTask:
        namespace = backup.metadata.namespace
        policies = all_of(self.context, BackupPolicy, namespace)
        policy = governing(policies, backup.spec.cluster_ref, backup.spec.store_ref)
        return task_for(cluster, store, What.EXPIRE, self.context.clock()).model_copy(
            update={
                "backups": wanted_gone(backup, others),
                "promised": policy is not None,
                "retention": retention_settings(policy.spec.retention) if policy is not None else RetentionSettings(),
                "in_use": self.in_use(namespace, others) or [],
                "pinned": wanted_pinned(backup, others),
            }
        )


class PinKeeper(WishKeeper):
    """Has the store know which backups are pinned."""

    def open_attempts(self, backup: DatabaseBackup) -> list[Attempt]:
        return open_pins(backup)

    def job_name(self, backup: DatabaseBackup, attempt: int) -> str:
        return pin_job(backup, attempt)

    def plan(self, backup: DatabaseBackup, observed: ObservedWish, now: datetime) -> BackupPlan:
        return plan_pin(backup, observed, now)

    def payload(
        self, backup: DatabaseBackup, cluster: DatabaseCluster, store: BackupStore, others: Sequence[DatabaseBackup]
    ) -> CatalogueTask:
        metadata = backup.metadata
        what = What.PIN if backup.spec.pinned else What.UNPIN
        return task_for(cluster, store, what, self.context.clock()).model_copy(
            update={
                "backups": [backup.status.backup_id],
                "asked_by": f"DatabaseBackup {metadata.namespace}/{metadata.name}",
            }
        )
