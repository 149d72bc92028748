"""RestoreRequest: observe backup, store, cluster and Job, plan, make what is needed, write the status."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

from pgwarden.api.conditions import READY, Truth, is_true
from pgwarden.api.references import SecretKey
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle, Role, major_version
from pgwarden.clusters.access import obstacle as unfit
from pgwarden.clusters.access import wanted as database_wanted
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import shorten
from pgwarden.kube.agents import account_refused, agent_image, image_missing
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import named, referring
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of, find, read
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import CLAIMS, RESTORE_REQUESTS, SECRETS, SERVICES, STATEFUL_SETS
from pgwarden.kube.work import apply, bury_all, create_or_adopt, observe_job
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.drills import is_drill, is_physical, size_unknown, volume_bytes, wants_size
from pgwarden.restores.filing import concludes, due, report_job
from pgwarden.restores.in_place import at_rest
from pgwarden.restores.in_place_handlers import InPlaceRestorer, Sources
from pgwarden.restores.inspect_handlers import pass_word
from pgwarden.restores.new_cluster import database_cluster, not_made, wants_cluster
from pgwarden.restores.parts import from_dump, older_server
from pgwarden.restores.plan import (
    ObservedRestore,
    RestorePlan,
    claim_name,
    finished,
    new_instance,
    plan,
    restore_job,
    secret_name,
)
from pgwarden.restores.refusals import backup_obstacle, backup_refusal, name_taken
from pgwarden.restores.render import Identity, Surroundings, before_job, instance, operation_of, restore
from pgwarden.restores.report_handlers import Reporter
from pgwarden.restores.resource import RestoreRequest, RestoreRequestStatus
from pgwarden.restores.scratch import on_scratch
from pgwarden.storage.layout import archive_folder
from pgwarden.stores.access import wanted
from pgwarden.stores.resource import BackupStore

DEFAULT_USER = 999
"""The user `postgres` of the official image and of Debian's packages in containers."""


@dataclass
class Found:
    """The objects a request refers to, as far as they exist."""

    backup: DatabaseBackup | None = None
    """The one that is named."""
    like: DatabaseBackup | None = None
    """That one, or the newest of the same cluster and store."""
    alike: list[DatabaseBackup] = field(default_factory=list)
    """All finished ones of the same cluster and store."""
    cluster_name: str = ""
    store: BackupStore | None = None
    cluster: DatabaseCluster | None = None
    workload: Body | None = None
    live: DatabaseCluster | None = None
    """The server that runs, where databases are restored into one."""


class RestoreController:
    """Looks at RestoreRequests."""

    type = RESTORE_REQUESTS

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self.reports = Reporter(context)
        self.in_place = InPlaceRestorer(context)

    async def reconcile(self, key: Key) -> float | None:
        context = self.context
        body = context.cache.get(key)
        if body is None:
            context.progress.leave(key)
            return None
        request = read(RestoreRequest, body)
        if request.spec.target.in_place is not None and not at_rest(request):
            return await self.in_place.reconcile(key, body, request, await self.sources(request, key.namespace))
        if finished(request):
            context.progress.leave(key)
            ended = RestorePlan(status=request.status)
            if due(request, context.clock()):
                ended = await self.reported(body, request)
            again = await apply(context, self.type, body, request.status, ended)
            open_report = report_job(request) if again is not None else ""
            seconds = seconds_to_live(request, well=is_true(request.status.conditions, READY))
            await bury_all(context, key.namespace, request.metadata.uid, but=open_report, seconds_to_live=seconds)
            return again
        attempts = request.status.attempts
        name = attempts[-1].job if attempts else restore_job(request, 1)
        state = await observe_job(context, key.namespace, name, recorded=bool(attempts))
        found = await self.find(request, key.namespace)
        around, obstacle = await self.surroundings(request, found, key.namespace)
        operation, system = operation_of(request, dump=from_dump(found.backup)), kept_clear(request, found)
        recovered = (state.ended or request.status.restored_to is not None) and not on_scratch(request)
        running, problem = await self.instance_state(request, key.namespace) if recovered else (False, "")
        observed = ObservedRestore(
            backup=found.backup,
            job=state,
            obstacle=obstacle,
            refusal=backup_refusal(request, found.backup)
            or older_server(request, version_of(found), found.live)
            or (None if attempts else await self.taken(request, key.namespace)),
            busy=no_room(context, operation, system, request.metadata.uid),
            progress=context.progress.follow(key, state),
            instance_ready=running,
            instance_problem=problem,
        )
        result = plan(request, observed, context.clock())
        await pass_word(context, request, state)
        if result.attempt is not None and around is not None:
            result.create = before_job(request, around, password=secrets.token_urlsafe(24))
            job = restore_job(request, result.attempt)
            nonce = secrets.token_hex(16)
            result.start = restore(request, around, name=job, attempt=result.attempt, nonce=nonce)
        if result.make_instance and around is not None:
            result.create = instance(request, around)
        if result.make_cluster and wants_cluster(request) and found.cluster is not None:
            await self.make_cluster(body, request, found.cluster, result)
        with reserved(context, operation, system, request.metadata.uid) if result.start else nullcontext():
            again = await apply(context, self.type, body, request.status, result)
        if state.ended and result.written:
            seconds = seconds_to_live(request, well=is_ready(result))
            await bury_all(context, key.namespace, request.metadata.uid, seconds_to_live=seconds)
        if result.written and concludes(result):
            context.wake(key)
        return again

    async def make_cluster(
        self, body: Body, request: RestoreRequest, original: DatabaseCluster, result: RestorePlan
    ) -> None:
        """Makes the DatabaseCluster of the new instance; a refusal is told, and fails no restore that has succeeded."""
        try:
            await create_or_adopt(self.context, body, database_cluster(request, original))
        except KubeError as error:
            if error.passing:
                raise
            status = cast("RestoreRequestStatus", result.status)
            findings = [shorten(not_made(request, error.message), 256), *status.findings][:32]
            result.status = status.model_copy(update={"findings": findings})

    async def reported(self, body: Body, request: RestoreRequest) -> RestorePlan:
        """The next step of the incident report of a restore that has ended."""
        found = await self.find(request, request.metadata.namespace)
        try:
            return await self.reports.plan(body, request, found.cluster_name, found.store)
        except KubeError as error:
            if not error.namespace_terminating:
                raise
            return RestorePlan(status=request.status)

    async def sources(self, request: RestoreRequest, namespace: str) -> Sources:
        """What a restore in place refers to."""
        found = await self.find(request, namespace)
        around, obstacle = await self.surroundings(request, found, namespace)
        return Sources(found.cluster, found.workload, around, obstacle, backup_refusal(request, found.backup))

    async def find(self, request: RestoreRequest, namespace: str) -> Found:
        """What the request refers to."""
        source, into = request.spec.source, request.spec.target.into
        found = Found()
        if into is not None:
            found.live = find(self.context, DatabaseCluster, namespace, into.cluster_ref.name)
        if source.backup_ref is not None:
            found.backup = find(self.context, DatabaseBackup, namespace, source.backup_ref.name)
            if found.backup is None:
                return found
            names = (found.backup.spec.cluster_ref.name, found.backup.spec.store_ref.name)
        elif source.policy_ref is not None:
            policy = self.context.cache.get(Key("BackupPolicy", namespace, source.policy_ref.name))
            names = (named(policy, ("clusterRef",)), named(policy, ("storeRef",)))
        else:
            cluster, store = source.cluster_ref, source.store_ref
            names = (cluster.name if cluster is not None else "", store.name if store is not None else "")
        found.cluster_name, store_name = names
        found.store = find(self.context, BackupStore, namespace, store_name)
        found.cluster = find(self.context, DatabaseCluster, namespace, found.cluster_name)
        found.alike = self.backups_alike(namespace, found.cluster_name, store_name)
        found.like = found.backup or newest(found.alike)
        if found.cluster is not None and found.cluster.spec.workload_ref is not None:
            name = found.cluster.spec.workload_ref.name
            found.workload = await self.context.client.get(STATEFUL_SETS, namespace, name)
        return found

    def backups_alike(self, namespace: str, cluster: str, store: str) -> list[DatabaseBackup]:
        """The finished backups of a cluster in a store that there are objects of."""
        return [
            each
            for each in all_of(self.context, DatabaseBackup, namespace)
            if (each.spec.cluster_ref.name, each.spec.store_ref.name) == (cluster, store)
            and each.status.postgres_version
            and each.status.completion_time is not None
        ]

    async def surroundings(
        self, request: RestoreRequest, found: Found, namespace: str
    ) -> tuple[Surroundings | None, Obstacle | None]:
        """All that the Job needs, or what keeps it from beginning now."""
        config = self.context.config
        obstacle = backup_obstacle(request, found.backup, found.store)
        if obstacle is not None or found.store is None:
            return None, obstacle
        into = request.spec.target.into
        obstacle = unfit(found.live, into.cluster_ref.name, Role.RESTORE) if into is not None else None
        if obstacle is not None:
            return None, obstacle
        decryption = self.decryption(request, found.backup, found.store)
        secrets_wanted = wanted(found.store, decryption, catalogue_key=True)
        if found.live is not None:
            secrets_wanted += database_wanted(found.live, Role.RESTORE)
        absent = await missing(self.context.client, namespace, secrets_wanted)
        if absent:
            return None, Obstacle("SecretMissing", "; ".join(absent))
        dump = from_dump(found.backup)
        server_image = self.server_image(request, found)
        if not server_image and not dump:
            message = (
                "no image of the server is known: set image or workloadRef of the DatabaseCluster, or make a new"
                " RestoreRequest with the image of its target"
            )
            return None, Obstacle("ServerImageUnknown", message)
        version = version_of(found)
        if not version:
            return None, version_unknown(found.cluster_name)
        # A dump is loaded by the tools of the server that it goes into.
        major = major_version(found.live.status.version if dump and found.live is not None else version)
        image = agent_image(config, major)
        if image is None:
            return None, Obstacle("AgentImageMissing", image_missing(config, major))
        refused = account_refused(config, request.spec.job_template.service_account_name)
        if refused:
            return None, Obstacle("ServiceAccountRefused", refused)
        base = found.backup or newest([each for each in found.alike if is_physical(each)])
        room = volume_bytes(base, found.alike)
        if wants_size(request) and room is None and not dump:
            return None, size_unknown(found.cluster_name)
        around = Surroundings(
            cluster=found.cluster_name,
            location=found.backup.status.location if found.backup is not None else "",
            archive="" if found.backup is not None else archive_folder(namespace, found.cluster_name),
            target=target_point(request),
            major=major,
            superuser=found.like.status.superuser if found.like is not None else "",
            store=found.store,
            server_image=server_image,
            agent_image=image,
            identity=owner_of_data(found.workload),
            decryption=decryption,
            volume_bytes=room or 0,
            system_identifier=kept_clear(request, found),
            live=found.live,
            dump=found.backup if dump else None,
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=tuple(config.image_pull_secrets),
        )
        return around, None

    def decryption(
        self, request: RestoreRequest, backup: DatabaseBackup | None, store: BackupStore
    ) -> SecretKey | None:
        """Where the identity stands; None when the backup is not encrypted, and nothing after it is wanted."""
        alone = request.spec.source.target is None or request.spec.source.target.immediate
        if backup is not None and not backup.status.encrypted and alone:
            return None
        return request.spec.identity or (store.spec.encryption.identity if store.spec.encryption else None)

    def server_image(self, request: RestoreRequest, found: Found) -> str:
        """The image the data are recovered and run in: as asked for, the cluster's, or its workload's."""
        target = request.spec.target
        asked = target.drill or target.new_instance or target.into
        if asked is not None and asked.image:
            return asked.image
        cluster = found.cluster
        if cluster is not None and cluster.spec.image:
            return cluster.spec.image
        if cluster is None or cluster.spec.workload_ref is None or found.workload is None:
            return ""
        containers = found.workload["spec"]["template"]["spec"]["containers"]
        name = cluster.spec.workload_ref.container
        return next((str(c.get("image", "")) for c in containers if c["name"] == name), "")

    async def taken(self, request: RestoreRequest, namespace: str) -> Obstacle | None:
        """Names of the new instance that belong to something else already; a copy that is thrown away needs none."""
        if on_scratch(request):
            return None
        name, client = new_instance(request).name, self.context.client
        wanted_names = (
            (STATEFUL_SETS, name),
            (SERVICES, name),
            (CLAIMS, claim_name(request)),
            (SECRETS, secret_name(request)),
        )
        others = []
        for type_, each in wanted_names:
            body = await client.get(type_, namespace, each)
            labels = (body["metadata"].get("labels") or {}) if body is not None else {}
            if body is not None and labels.get(OWNER_UID_LABEL) != request.metadata.uid:
                others.append(f"{type_.kind} {each}")
        return name_taken(name, others)

    async def instance_state(self, request: RestoreRequest, namespace: str) -> tuple[bool, str]:
        """Whether the new instance answers, and what its StatefulSet says while it does not."""
        body = await self.context.client.get(STATEFUL_SETS, namespace, new_instance(request).name)
        status: dict[str, Any] = (body or {}).get("status") or {}
        if (status.get("readyReplicas") or 0) >= 1:
            return True, ""
        return False, "" if status.get("currentReplicas") else "it has no pod yet"

    def dependents(self, changed: Key) -> list[Key]:
        return referring(self.context.cache, "RestoreRequest", changed)


def newest(backups: Sequence[DatabaseBackup]) -> DatabaseBackup | None:
    """The newest of finished backups: it tells what its like are."""
    return max(backups, key=lambda each: str(each.status.completion_time), default=None)


def kept_clear(request: RestoreRequest, found: Found) -> str:
    """System identifier of the PostgreSQL cluster that the Job keeps others away from: a new instance is one of its
    own."""
    if found.live is not None:
        return found.live.status.system_identifier
    return system_of(found) if is_drill(request) else ""


def system_of(found: Found) -> str:
    """The system identifier of the data, as far as an object tells it."""
    if found.like is not None:
        return found.like.status.system_identifier
    return found.cluster.status.system_identifier if found.cluster is not None else ""


def seconds_to_live(request: RestoreRequest, *, well: bool) -> int | None:
    """How long a finished Job is kept: one that went well and whose copy is thrown away goes at once, and its volume
    with it; None is as configured, for people who look at what failed."""
    return 0 if on_scratch(request) and well else None


def is_ready(planned: RestorePlan) -> bool:
    return any(each.type == READY and each.status == Truth.TRUE for each in planned.judgments)


def version_of(found: Found) -> str:
    """The version of the server that the data are of, as far as an object tells it: 17.10."""
    if found.like is not None:
        return found.like.status.postgres_version
    return found.cluster.status.version if found.cluster is not None else ""


def version_unknown(cluster: str) -> Obstacle:
    message = (
        f"nothing tells which version of PostgreSQL the data of {cluster} are of: neither a DatabaseBackup of it in"
        " that store nor its DatabaseCluster. Create the DatabaseCluster, or import the backups: pgwarden backup import"
    )
    return Obstacle("ServerVersionUnknown", message)


def target_point(request: RestoreRequest) -> TargetPoint | None:
    """The target for the agent."""
    target = request.spec.source.target
    return TargetPoint.model_validate(target.model_dump()) if target is not None else None


def owner_of_data(workload: Body | None) -> Identity:
    """User and groups of the workload's pods, or those usual in PostgreSQL's images."""
    if workload is None:
        return Identity(DEFAULT_USER, DEFAULT_USER, DEFAULT_USER)
    spec = workload["spec"]["template"]["spec"]
    context = spec.get("securityContext") or {}
    user = int(context.get("runAsUser") or DEFAULT_USER)
    group = int(context.get("runAsGroup") or user)
    return Identity(user, group, int(context.get("fsGroup") or group))
