"""DatabaseMigration: observe its files, cluster and Job, plan, start the run, write the status."""

from __future__ import annotations

from contextlib import nullcontext

from pgwarden.clusters.access import Obstacle, Role, major_version, obstacle, wanted
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.state import JobState, ended_condition
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import account_refused, agent_image, image_missing, launch
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import referring
from pgwarden.kube.key import Key
from pgwarden.kube.objects import find, read
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import config_map_files, missing
from pgwarden.kube.types import DATABASE_MIGRATIONS
from pgwarden.kube.work import apply, bury_all, observe_job, open_job
from pgwarden.migrations.files import Parsed, parse
from pgwarden.migrations.plan import (
    MigrationPlan,
    ObservedMigration,
    last_attempt,
    migration_job,
    plan,
    wanted_digest,
)
from pgwarden.migrations.render import migrate
from pgwarden.migrations.resource import DatabaseMigration
from pgwarden.migrations.rivals import Claim, claim_of, in_force


class MigrationController:
    """Looks at DatabaseMigrations."""

    type = DATABASE_MIGRATIONS

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self.refused: set[Key] = set()
        """Those whose database another one has."""

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            context.progress.leave(key)
            self.refused.discard(key)
            return None
        migration = read(DatabaseMigration, body)
        cluster = find(context, DatabaseCluster, key.namespace, migration.spec.cluster_ref.name)
        taken_by = self.taken_by(key, migration.spec.database)
        files, absent = await self.files(migration, key.namespace)
        state = await self.job(key, migration, files)
        observed = ObservedMigration(
            files=files,
            job=state,
            missing=absent,
            obstacle=await self.obstacle(migration, cluster, key.namespace),
            busy=self.busy(migration, cluster, state),
            progress=context.progress.follow(key, state),
            taken_by=taken_by,
        )
        result = plan(migration, observed, context.clock())
        self.prepare(result, migration, cluster)
        identifier = cluster.status.system_identifier if cluster is not None else ""
        with (
            reserved(context, Operation.MIGRATE, identifier, migration.metadata.uid) if result.start else nullcontext()
        ):
            again = await apply(context, self.type, body, migration.status, result)
        if result.written:
            # A Job that ended while the status was being written has not told its result yet.
            now = read(DatabaseMigration, context.cache.get(key) or body)
            await bury_all(context, key.namespace, migration.metadata.uid, but=open_job(now.status.attempts))
        return again

    def prepare(self, result: MigrationPlan, migration: DatabaseMigration, cluster: DatabaseCluster | None) -> None:
        """Adds the Job's manifest to a plan that starts one."""
        config = self.context.config
        if result.attempt is None or cluster is None:
            return
        image = agent_image(config, major_version(cluster.status.version))
        name = migration_job(migration, result.wanted, result.attempt)
        start = launch(config, name, result.attempt, image)
        digest = getattr(result.status, "source_digest", "")
        result.start = migrate(migration, cluster, start, source_digest=digest)

    async def files(self, migration: DatabaseMigration, namespace: str) -> tuple[Parsed, list[str]]:
        """The migration files of all sources, and sentences about ConfigMaps that do not exist."""
        found: list[tuple[str, bytes]] = []
        absent = []
        for source in migration.spec.sources:
            name = source.config_map.name
            files = await config_map_files(self.context.client, namespace, name)
            if files is None:
                absent.append(f"ConfigMap {namespace}/{name} (spec.sources) does not exist; create it")
                continue
            found += [(f"{name}/{key}", content) for key, content in files.items()]
        return (parse(found) if not absent else Parsed()), absent

    async def job(self, key: Key, migration: DatabaseMigration, files: Parsed) -> JobState:
        """The state of the Job of the last attempt at what is wanted now."""
        wanted = wanted_digest(migration, files)
        name = migration_job(migration, wanted, last_attempt(migration, wanted))
        open_ = migration.status.tried_digest == wanted != migration.status.applied_digest
        recorded = open_ and bool(migration.status.attempts)
        return await observe_job(self.context, key.namespace, name, recorded=recorded)

    async def obstacle(
        self, migration: DatabaseMigration, cluster: DatabaseCluster | None, namespace: str
    ) -> Obstacle | None:
        """What keeps a run from beginning now."""
        found = obstacle(cluster, migration.spec.cluster_ref.name, Role.MIGRATION)
        if found is not None or cluster is None:
            return found
        absent = await missing(self.context.client, namespace, wanted(cluster, Role.MIGRATION))
        if absent:
            return Obstacle("SecretMissing", "; ".join(absent))
        major = major_version(cluster.status.version)
        if agent_image(self.context.config, major) is None:
            return Obstacle("AgentImageMissing", image_missing(self.context.config, major))
        refused = account_refused(self.context.config, migration.spec.job_template.service_account_name)
        return Obstacle("ServiceAccountRefused", refused) if refused else None

    def busy(self, migration: DatabaseMigration, cluster: DatabaseCluster | None, state: JobState) -> str:
        """Why a Job has to wait: for room, or for the end of a run with earlier files or settings."""
        for job in self.context.cache.jobs_of(migration.metadata.uid):
            name = job["metadata"]["name"]
            if name != state.name and ended_condition(job) is None:
                return f"waits for Job {name}, a run with earlier files or settings, to end"
        if cluster is None:
            return ""
        identifier = cluster.status.system_identifier
        return no_room(self.context, Operation.MIGRATE, identifier, migration.metadata.uid)

    def taken_by(self, key: Key, database: str) -> str:
        """The DatabaseMigration that goes before this one on the same database."""
        rivals = self.context.cache.on_database("DatabaseMigration", database)
        found = in_force(self.claim(key), map(self.claim, rivals))
        if found:
            self.refused.add(key)
        else:
            self.refused.discard(key)
        return found

    def claim(self, key: Key) -> Claim:
        """What the DatabaseMigration of that key, which is in the cache, claims."""
        body = self.context.cache.get(key) or {}
        cluster = Key("DatabaseCluster", key.namespace, body["spec"]["clusterRef"]["name"])
        return claim_of(body, self.context.cache.get(cluster) or {})

    def dependents(self, changed: Key) -> list[Key]:
        """Those that name a changed DatabaseCluster, and those that were refused a database another one has."""
        waiting = self.refused - {changed} if changed.kind in ("DatabaseCluster", "DatabaseMigration") else set()
        return [*referring(self.context.cache, "DatabaseMigration", changed), *waiting]
