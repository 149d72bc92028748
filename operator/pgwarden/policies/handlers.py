"""BackupPolicy: observe its backups, its archiver and its surroundings, plan, make backups, write the status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgwarden.archiving.board import ArchiverBoard
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.catalogue.contract import What
from pgwarden.clusters.access import Obstacle, Role, credential
from pgwarden.clusters.access import wanted as cluster_wanted
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import account_refused, launch
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import named
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of, find, read
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import BACKUP_POLICIES, DATABASE_BACKUPS, JOBS, RESTORE_REQUESTS
from pgwarden.kube.work import apply, bury_all, create_or_adopt, observe_job, start_job
from pgwarden.policies import metrics
from pgwarden.policies.drills import drill_run, is_drill_of
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.looks import look_job, open_attempts
from pgwarden.policies.lost import without_lost
from pgwarden.policies.moved import in_its_store
from pgwarden.policies.plan import PolicyPlan, plan
from pgwarden.policies.render import backup as backup_of
from pgwarden.policies.render import drill as drill_of
from pgwarden.policies.render import look
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import RunType, newest, run_of
from pgwarden.policies.stalls import StallWatch
from pgwarden.policies.surroundings import (
    concerns,
    elder_twin,
    measured,
    measured_loss,
    named_by_restores,
    no_drill,
    parents_under_way,
    pinned_in,
    restored_timeline,
    under_way,
)
from pgwarden.policies.wal import Archiver, archived_point
from pgwarden.restores.access import read_by_restores
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.access import obstacle as store_obstacle
from pgwarden.stores.access import wanted as store_wanted
from pgwarden.stores.resource import BackupStore

REFUSED_RETRY_SECONDS = 60.0
NAMED_IN = {"DatabaseCluster": "clusterRef", "BackupStore": "storeRef"}


class PolicyController:
    """Looks at BackupPolicies."""

    type = BACKUP_POLICIES

    def __init__(self, context: OperatorContext, board: ArchiverBoard) -> None:
        self.context = context
        self.board = board
        self.stalls = StallWatch()

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            metrics.forget(key)
            return None
        policy = in_its_store(read(BackupPolicy, body))
        cluster = find(context, DatabaseCluster, key.namespace, policy.spec.cluster_ref.name)
        store = find(context, BackupStore, key.namespace, policy.spec.store_ref.name)
        observed = await self.observe(key, policy, cluster, store)
        result = await self.begin(body, policy, observed, cluster, store)
        again = await apply(context, self.type, body, policy.status, result)
        await self.clear(key, result)
        if observed.job.ended and result.written:
            await bury_all(context, key.namespace, policy.metadata.uid)
        self.export(key, observed)
        return again

    async def begin(
        self,
        body: Body,
        policy: BackupPolicy,
        observed: ObservedPolicy,
        cluster: DatabaseCluster | None,
        store: BackupStore | None,
    ) -> PolicyPlan:
        """Plans, and makes what is due; what the API server refuses is planned without, so that nothing counts as

        taken that was not.
        """
        now = self.context.clock()
        result = plan(policy, observed, now)
        try:
            for turn in result.backups:
                await self.make(body, backup_of(policy, turn))
        except KubeError as error:
            told = self.refusal(error, "the DatabaseBackup that is due")
            observed = replace(observed, obstacle=Obstacle("BackupForbidden", told))
            result = plan(policy, observed, now)
            result.again_after = REFUSED_RETRY_SECONDS
        result = await self.begin_drill(body, policy, observed, result)
        if result.look is None or cluster is None or store is None:
            return result
        try:
            with reserved(self.context, Operation.CATALOGUE, cluster.status.system_identifier, policy.metadata.uid):
                await start_job(self.context, body, result, self.look_job(policy, cluster, store, result.look))
        except KubeError as error:
            told = self.refusal(error, "the Job that looks after the archive")
            made, drill = result.backups, result.drill
            result = plan(policy, replace(observed, look_obstacle=told), now)
            result.backups, result.drill = made, drill
        return result

    async def begin_drill(
        self, body: Body, policy: BackupPolicy, observed: ObservedPolicy, result: PolicyPlan
    ) -> PolicyPlan:
        """Makes the drill that is due; one that the API server refuses keeps nothing else from its turn."""
        wanted = policy.spec.drill
        if result.drill is None or wanted is None:
            return result
        try:
            await self.make(body, drill_of(policy, wanted, result.drill))
        except KubeError as error:
            told = self.refusal(error, "the RestoreRequest of the drill that is due")
            made = result.backups
            result = plan(policy, replace(observed, no_drill=Obstacle("DrillForbidden", told)), self.context.clock())
            result.backups, result.again_after = made, REFUSED_RETRY_SECONDS
        return result

    def refusal(self, error: KubeError, what: str) -> str:
        """The sentence for a request that was refused for good. Raises the error when it was not."""
        if error.passing or error.namespace_terminating:
            raise error
        return f"the API server refused {what}: {error.message}"

    async def make(self, body: Body, manifest: Body) -> None:
        """Creates a DatabaseBackup or a drill, or adopts the one of that name that an earlier look has made."""
        made = await create_or_adopt(self.context, body, manifest)
        key = Key(manifest["kind"], body["metadata"]["namespace"], made["metadata"]["name"])
        if self.context.cache.put(key, made):
            self.context.wake(key)

    async def clear(self, key: Key, result: PolicyPlan) -> None:
        """Ends what is stuck, and deletes objects whose time is over."""
        client, namespace = self.context.client, key.namespace
        for job in result.end:
            await client.delete(JOBS, namespace, job)
        gone = [(DATABASE_BACKUPS, name) for name in result.forget]
        gone += [(RESTORE_REQUESTS, name) for name in result.forget_drills]
        for type_, name in gone:
            body = self.context.cache.get(Key(type_.kind, namespace, name))
            if body is not None:
                await client.delete(type_, namespace, name, body["metadata"]["uid"])

    async def observe(
        self, key: Key, policy: BackupPolicy, cluster: DatabaseCluster | None, store: BackupStore | None
    ) -> ObservedPolicy:
        """All that the plan has to know."""
        context, namespace = self.context, key.namespace
        backups = {each.metadata.name: each for each in all_of(context, DatabaseBackup, namespace)}
        runs = [run_of(each) for each in backups.values() if is_of(policy, each)]
        requests = all_of(self.context, RestoreRequest, namespace)
        restores = [each for each in requests if concerns(policy, each, backups)]
        known = self.board.known(key)
        attempts = open_attempts(policy)
        return ObservedPolicy(
            runs=runs,
            unmoved=self.stalls.unmoved(namespace, runs, context.clock(), context.config.backup_stuck_after),
            stuck_after=context.config.backup_stuck_after,
            obstacle=await self.obstacle(policy, cluster, store, namespace),
            twin=elder_twin(policy, all_of(self.context, BackupPolicy, namespace)),
            in_use=named_by_restores(restores)
            | {each.metadata.name for each in pinned_in(policy, list(backups.values()))},
            archiver=Archiver(known.report, known.problem),
            measured=measured(restores),
            measured_loss=measured_loss(restores),
            restored_timeline=restored_timeline(restores, cluster, known.report),
            drills=[drill_run(policy, each) for each in requests if is_drill_of(policy, each)],
            no_drill=no_drill(policy, cluster, store),
            job=await observe_job(context, namespace, look_job(policy), recorded=bool(attempts)),
            look_obstacle=await self.look_obstacle(policy, cluster, store, restores, backups),
        )

    async def obstacle(
        self, policy: BackupPolicy, cluster: DatabaseCluster | None, store: BackupStore | None, namespace: str
    ) -> Obstacle | None:
        """Why the policy cannot be in force. A cluster that does not answer, or a full store, is no such reason."""
        spec = policy.spec
        if cluster is None:
            return Obstacle("ClusterNotFound", f"there is no DatabaseCluster {spec.cluster_ref.name}; create it")
        if store is None:
            return Obstacle("StoreNotFound", f"there is no BackupStore {spec.store_ref.name}; create it")
        if credential(cluster, Role.BACKUP) is None:
            where = f"DatabaseCluster {cluster.metadata.name}"
            return Obstacle("CredentialsMissing", f"{where} names no credentials.backup; add the Secret of that role")
        absent = await missing(self.context.client, namespace, cluster_wanted(cluster, Role.BACKUP))
        if absent:
            return Obstacle("CredentialsMissing", "; ".join(absent))
        refused = account_refused(self.context.config, spec.job_template.service_account_name)
        return Obstacle("ServiceAccountRefused", refused) if refused else None

    async def look_obstacle(
        self,
        policy: BackupPolicy,
        cluster: DatabaseCluster | None,
        store: BackupStore | None,
        restores: Sequence[RestoreRequest],
        backups: dict[str, DatabaseBackup],
    ) -> str:
        """Why the archive cannot be looked after now; empty when it can."""
        held = store_obstacle(store, policy.spec.store_ref.name, frees=True)
        if held is not None or cluster is None or store is None:
            return held.message if held is not None else "there is no DatabaseCluster"
        if read_by_restores(restores, backups) is None:
            return "a restore has not found out yet which backups it needs"
        absent = await missing(self.context.client, policy.metadata.namespace, store_wanted(store, catalogue_key=True))
        if absent:
            return "; ".join(absent)
        return no_room(self.context, Operation.CATALOGUE, cluster.status.system_identifier, policy.metadata.uid)

    def look_job(self, policy: BackupPolicy, cluster: DatabaseCluster, store: BackupStore, what: What) -> Body:
        """The Job of the look that begins now."""
        config, namespace = self.context.config, policy.metadata.namespace
        backups = {each.metadata.name: each for each in all_of(self.context, DatabaseBackup, namespace)}
        restores = [each for each in all_of(self.context, RestoreRequest, namespace) if concerns(policy, each, backups)]
        return look(
            policy,
            cluster,
            store,
            what,
            self.context.clock(),
            launch(config, look_job(policy), 1, config.images.monitor),
            live=under_way(policy, list(backups.values())),
            in_use=[*(read_by_restores(restores, backups) or []), *parents_under_way(policy, list(backups.values()))],
            pinned=[each.status.backup_id for each in pinned_in(policy, list(backups.values()))],
        )

    def export(self, key: Key, observed: ObservedPolicy) -> None:
        """Sets the policy's metrics from its status as it was just written."""
        body = self.context.cache.get(key)
        if body is None:
            return
        policy = read(BackupPolicy, body)
        status = policy.status
        full = newest(without_lost(observed.runs, status.catalogue), RunType.FULL)
        archived = archived_point(observed.archiver, status.wal, full) if policy.spec.wal.enabled else None
        moments = [each.time for each in (status.latest_recoverable, archived) if each is not None]
        metrics.export(policy, status, observed.archiver, max(moments, default=None))

    def dependents(self, changed: Key) -> list[Key]:
        """Policies that this object is a backup or a restore of, or that name it, or that share its archive."""
        cache = self.context.cache
        keys = [key for key in cache.keys("BackupPolicy", changed.namespace) if key != changed]
        body = cache.get(changed)
        if changed.kind in NAMED_IN:
            field = NAMED_IN[changed.kind]
            return [key for key in keys if named(cache.get(key), (field,)) == changed.name]
        if body is None and changed.kind in ("BackupPolicy", "DatabaseBackup"):
            return keys
        if changed.kind == "BackupPolicy":
            return [key for key in keys if archive_of(cache.get(key)) == archive_of(body)]
        if changed.kind == "DatabaseBackup":
            return [key for key in keys if uid_of(cache.get(key)) == owner_uid(body)]
        return keys if changed.kind == "RestoreRequest" else []


def is_of(policy: BackupPolicy, backup: DatabaseBackup) -> bool:
    """Whether the policy has made a DatabaseBackup in the store that it has now: those in an earlier one say nothing of
    what the archive there holds."""
    made = backup.metadata.labels.get(OWNER_UID_LABEL) == policy.metadata.uid
    return made and backup.spec.store_ref == policy.spec.store_ref


def archive_of(body: Body | None) -> tuple[str, ...]:
    """Names of cluster and store: two policies that share both share an archive."""
    return tuple(named(body, (field,)) for field in NAMED_IN.values())


def owner_uid(body: Body | None) -> str:
    return str(((body or {}).get("metadata", {}).get("labels") or {}).get(OWNER_UID_LABEL, ""))


def uid_of(body: Body | None) -> str:
    return str((body or {}).get("metadata", {}).get("uid", ""))
