"""Restores in place: observe the server, its services and the claims, plan, change one thing, write the status."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgwarden.api.conditions import in_progress
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DatabaseCluster, Dependent, DependentKind
from pgwarden.jobs.attempts import begin
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Operation, shorten
from pgwarden.kube.agents import agent_image
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeClient, KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of
from pgwarden.kube.room import no_room
from pgwarden.kube.types import (
    AUTOSCALERS,
    CLAIMS,
    CRON_JOBS,
    DEPLOYMENTS,
    PODS,
    RESTORE_REQUESTS,
    STATEFUL_SETS,
)
from pgwarden.kube.work import REFUSED_RETRY_SECONDS, apply, create_or_adopt, observe_job, refuse
from pgwarden.policies.resource import BackupPolicy
from pgwarden.restores.claim_note import note
from pgwarden.restores.connections_render import connections_job
from pgwarden.restores.fence import (
    Home,
    claims_beyond,
    fence,
    home,
    member_count,
    named,
    owned,
    pods_on_claims,
    scaled_by,
)
from pgwarden.restores.filing import concludes
from pgwarden.restores.going_on import archiving_of, fulls_since
from pgwarden.restores.in_place import plan
from pgwarden.restores.in_place_claims import (
    MARK,
    access_modes,
    annotation,
    claims_at,
    marked_by,
    marked_primary,
    marks,
    members_ready,
    nodes_of,
    readiness,
    unmarks,
)
from pgwarden.restores.in_place_look import (
    SOON_SECONDS,
    InPlacePlan,
    ObservedInPlace,
    Stage,
    attempts_at,
    place_of,
    stage_job,
    with_attempts,
    with_place,
)
from pgwarden.restores.in_place_render import Agents, Server, before_long_job, long_job, preflight_job, short_job
from pgwarden.restores.in_place_steps import handed_over_at
from pgwarden.restores.inspect_handlers import pass_word
from pgwarden.restores.render import Surroundings
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.stopping import Change, Workload, may_stop

TYPES = {
    DependentKind.DEPLOYMENT: DEPLOYMENTS,
    DependentKind.STATEFUL_SET: STATEFUL_SETS,
    DependentKind.CRON_JOB: CRON_JOBS,
}
FORBIDDEN = 403


@dataclass(frozen=True)
class Sources:
    """What a request refers to, found as for any restore."""

    cluster: DatabaseCluster | None
    workload: Body | None
    around: Surroundings | None
    obstacle: Obstacle | None
    refusal: Obstacle | None


@dataclass
class Scene:
    """The cluster around one request, as it is now."""

    server: Server | None = None
    claims: Mapping[str, Body] = field(default_factory=dict)
    """Those with data of the server, by name."""
    leftovers: Sequence[str] = ()
    """Claims of members that the server does not have any more."""
    pods: Sequence[Body] = ()
    """Those that mount one of the claims."""
    services: Sequence[Workload] = ()
    refusal: Obstacle | None = None


class InPlaceRestorer:
    """Looks at RestoreRequests that replace the data of a server."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def reconcile(self, key: Key, body: Body, request: RestoreRequest, sources: Sources) -> float | None:
        """One look at a request that is not at rest; seconds after which to look again."""
        context = self.context
        scene = await self.look(request, sources, key.namespace)
        jobs = {stage: await self.job(request, stage, key.namespace) for stage in Stage}
        seen = self.observed(key, request, sources, scene, jobs)
        planned = plan(request, seen, context.clock())
        try:
            await self.change(request, scene, planned)
            again = await self.launch(body, request, sources, scene, planned)
            await pass_word(context, request, jobs[Stage.RESTORE])
        except KubeError as error:
            # Somebody changed what was looked at meanwhile: look again.
            if error.status == 409 and error.reason == "Conflict":
                return SOON_SECONDS
            raise
        written = await apply(context, RESTORE_REQUESTS, body, request.status, planned)
        if planned.written and concludes(planned):
            # The incident report is written at the next look.
            context.wake(key)
        return again if again is not None else written

    def observed(
        self, key: Key, request: RestoreRequest, sources: Sources, scene: Scene, jobs: dict[Stage, JobState]
    ) -> ObservedInPlace:
        uid = request.metadata.uid
        target = request.spec.target.in_place
        system = target.replaces.partition("-")[0] if target is not None else ""
        mine = [pod for pod in scene.pods if (pod["metadata"].get("labels") or {}).get(OWNER_UID_LABEL) == uid]
        others = [pod["metadata"]["name"] for pod in scene.pods if pod not in mine]
        workload = scene.server.workload if scene.server is not None else None
        server = as_workload(DependentKind.STATEFUL_SET, workload) if workload is not None else None
        marker = marked_by(scene.claims.values(), uid)
        place, behind = place_of(request.status), ""
        if place.members:
            ready, problem, behind = members_ready(workload, scene.pods, place)
        else:
            ready, problem = readiness(workload, scene.pods)
        policies = [
            each
            for each in all_of(self.context, BackupPolicy, key.namespace)
            if sources.cluster is not None and each.spec.cluster_ref.name == sources.cluster.metadata.name
        ]
        backups = all_of(self.context, DatabaseBackup, key.namespace)
        return ObservedInPlace(
            token=sources.cluster.status.restore_token if sources.cluster is not None else "",
            refusal=sources.refusal or scene.refusal,
            obstacle=sources.obstacle,
            busy=no_room(self.context, Operation.IN_PLACE, system, uid),
            home=scene.server.home if scene.server is not None else None,
            marked_by=marker,
            abandoned=self.abandoned(marker, key.namespace),
            all_marked=all(annotation(each, MARK) == uid for each in scene.claims.values()),
            marked_primary=marked_primary(scene.claims, uid),
            leftovers=scene.leftovers,
            server=server,
            services=scene.services,
            strangers=others,
            own_pods=[pod["metadata"]["name"] for pod in mine],
            jobs=jobs,
            progress=self.context.progress.follow(key, at_work(jobs)),
            server_ready=ready,
            members_behind=behind,
            server_problem=problem,
            archiving=archiving_of(policies),
            fulls=fulls_since(handed_over_at(request.status.steps), policies, backups),
        )

    def abandoned(self, marked_by: str, namespace: str) -> bool:
        """Whether a claim is marked by a request that is gone. Whoever puts its work back makes sure of that."""
        requests = self.context.cache.bodies("RestoreRequest", namespace)
        return bool(marked_by) and not any(each["metadata"]["uid"] == marked_by for each in requests)

    async def look(self, request: RestoreRequest, sources: Sources, namespace: str) -> Scene:
        """The server, its claims and the pods on them, the services, and what forbids to stop them."""
        cluster, workload, client = sources.cluster, sources.workload, self.context.client
        if not self.context.config.in_place_restores:
            message = (
                "this pgwarden may not stop workloads: whoever runs it sets restore.inPlace.enabled in the chart's"
                " values, or restore into a new instance (target.newInstance)"
            )
            return Scene(refusal=Obstacle("InPlaceDisabled", message))
        if cluster is None:
            message = (
                "there is no DatabaseCluster whose data could be replaced; create it, or restore into a new instance"
            )
            return Scene(refusal=Obstacle("ClusterNotFound", message))
        scalers = await client.list(AUTOSCALERS, namespace)
        refusal = fence(cluster, workload, scalers)
        found = None
        if workload is not None:
            count = member_count(as_workload(DependentKind.STATEFUL_SET, workload), request.metadata.uid)
            found = home(cluster, workload, count)
        scene = Scene(refusal=refusal or (found if isinstance(found, Obstacle) else None))
        scene.services = await self.services(request, cluster, namespace)
        if isinstance(found, Home) and workload is not None:
            reference = cluster.spec.workload_ref
            names = list(dict.fromkeys([*found.claims, *claims_at(place_of(request.status))]))
            scene.claims = {name: claim for name in names if (claim := await client.get(CLAIMS, namespace, name))}
            scene.leftovers = await self.leftovers(request, workload, found)
            scene.pods = pods_on_claims(await client.list(PODS, namespace), names)
            scene.server = Server(
                home=found,
                workload={"kind": "StatefulSet", **workload},
                container=reference.container if reference is not None else "",
                nodes=nodes_of(scene.pods, names),
                modes={name: access_modes(claim) for name, claim in scene.claims.items()},
            )
            missing = [name for name in found.claims if name not in scene.claims]
            if missing:
                message = f"there is no {named(missing)}, on which {found.data_directory} is said to lie"
                scene.refusal = scene.refusal or Obstacle("ClaimNotFound", message)
        scene.refusal = scene.refusal or await self.service_refusal(request, cluster, scene) or shared(scene)
        return scene

    async def leftovers(self, request: RestoreRequest, workload: Body, found: Home) -> list[str]:
        """Claims of members that the server had before it was scaled down, while somebody can still be told of them."""
        left: list[str] = []
        for name in claims_beyond(workload, found) if request.status.start_time is None else ():
            if await self.context.client.get(CLAIMS, request.metadata.namespace, name) is None:
                break
            left.append(name)
        return left

    async def services(self, request: RestoreRequest, cluster: DatabaseCluster, namespace: str) -> list[Workload]:
        """The workloads to stop, each as it is now."""
        found = []
        for each in dependents_of(request, cluster):
            where = each.namespace or namespace
            body = await self.context.client.get(TYPES[each.kind], where, each.name)
            found.append(Workload(each.kind, where, each.name, body))
        return found

    async def service_refusal(self, request: RestoreRequest, cluster: DatabaseCluster, scene: Scene) -> Obstacle | None:
        """A workload that is not there, does not consent, or would be started again by somebody else."""
        name = f"{cluster.metadata.namespace}/{cluster.metadata.name}"
        scalers = {
            where: await self.context.client.list(AUTOSCALERS, where)
            for where in {each.namespace for each in scene.services}
        }
        for dependent, workload in zip(dependents_of(request, cluster), scene.services, strict=True):
            if workload.body is None:
                return Obstacle("ServiceNotFound", f"there is no {workload}, which is to be stopped; correct its name")
            if refused := may_stop(workload, dependent, name):
                return Obstacle("ConsentMissing", refused)
            by_keda = [each for each in scalers[workload.namespace] if made_by_keda(each)]
            body = {"kind": workload.kind.value, **workload.body}
            problem = owned(body) or scaled_by(body, by_keda)
            if problem is not None:
                return Obstacle(problem.reason, f"{workload} {problem.message}")
        return None

    async def job(self, request: RestoreRequest, stage: Stage, namespace: str) -> JobState:
        attempts = attempts_at(request.status, stage)
        name = attempts[-1].job if attempts else stage_job(request, stage, 1)
        return await observe_job(self.context, namespace, name, recorded=bool(attempts))

    async def change(self, request: RestoreRequest, scene: Scene, planned: InPlacePlan) -> None:
        """Patches workloads and claims, each on the version that was looked at. Raises KubeError."""
        client, of = self.context.client, request.metadata
        await patch_workloads(client, planned.changes)
        if planned.mark is not None:
            what = note(f"{of.namespace}/{of.name}", scene.services)
            place = place_of(planned.status)
            patches = marks(scene.claims, place, of.uid, what) if planned.mark else unmarks(scene.claims, of.uid)
            for name, patch in patches:
                await client.merge(CLAIMS, of.namespace, name, patch)

    async def launch(
        self, body: Body, request: RestoreRequest, sources: Sources, scene: Scene, planned: InPlacePlan
    ) -> float | None:
        """Creates the plan's Job, or adopts the one of that name, and records the attempt. Seconds after which to look
        again when the API server refused it; raises KubeError where trying again at once may help."""
        if planned.launch is None or scene.server is None:
            return None
        stage, number = planned.launch
        name = stage_job(request, stage, number)
        try:
            server = scene.server.at(place_of(planned.status))
            for manifest in self.manifests(request, sources, server, stage, name, number):
                made = await create_or_adopt(self.context, body, manifest)
        except KubeError as error:
            if error.passing or error.namespace_terminating:
                raise
            if stage is Stage.PREFLIGHT:
                return refuse(planned, request.status, error)
            return not_made(planned, stage, error)
        self.context.cache.put(Key("Job", request.metadata.namespace, name), made)
        attempts = attempts_at(planned.status, stage)
        if not any(attempt.job == name for attempt in attempts):
            attempts = [*attempts, begin(number, name, now=self.context.clock())][-16:]
            planned.status = with_attempts(planned.status, stage, attempts)
        return None

    def manifests(
        self, request: RestoreRequest, sources: Sources, server: Server, stage: Stage, name: str, attempt: int
    ) -> list[Body]:
        """The Job, last, and what must be there before it."""
        config, around = self.context.config, sources.around
        agents = Agents(
            cluster=sources.cluster.metadata.name if sources.cluster is not None else "",
            image=around.agent_image if around is not None else agent_image(config) or "",
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=tuple(config.image_pull_secrets),
        )
        nonce = secrets.token_hex(16)
        if stage is Stage.PREFLIGHT and around is not None:
            return [preflight_job(request, agents, around, server, name=name, attempt=attempt, nonce=nonce)]
        if stage is Stage.RESTORE and around is not None:
            made = long_job(request, agents, around, server, name=name, attempt=attempt, nonce=nonce)
            return [before_long_job(request, around), made]
        if stage is Stage.CONNECTIONS and sources.cluster is not None:
            return [connections_job(request, agents, sources.cluster, name=name, attempt=attempt, nonce=nonce)]
        return [short_job(request, agents, server, stage, name=name, attempt=attempt, nonce=nonce)]


def not_made(planned: InPlacePlan, stage: Stage, error: KubeError) -> float:
    """Says that the API server refused a Job while things are stopped: what a quota forbids is waited for, anything
    else ends in the old data being put back; putting back is tried for ever. Seconds after which to look again."""
    message = f"the API server refused the Job that this needs: {error.message}"
    if stage in (Stage.LOOK, Stage.RESTORE, Stage.HAND_OVER) and error.status != FORBIDDEN:
        planned.status = with_place(planned.status, failure_reason="JobRefused", failure_message=shorten(message, 1024))
        return SOON_SECONDS
    planned.judgments = in_progress("JobForbidden" if error.status == FORBIDDEN else "JobRefused", message)
    return REFUSED_RETRY_SECONDS


def dependents_of(request: RestoreRequest, cluster: DatabaseCluster) -> list[Dependent]:
    """The workloads to stop, each once."""
    target = request.spec.target.in_place
    wanted = [*cluster.spec.dependent_services, *(target.stop if target is not None else [])]
    home_ = cluster.metadata.namespace
    return list({(each.kind, each.namespace or home_, each.name): each for each in wanted}.values())


async def patch_workloads(client: KubeClient, changes: Sequence[Change]) -> None:
    """Stops or starts workloads, each on the version that was looked at. Raises KubeError."""
    for change in changes:
        workload = change.workload
        await client.merge(TYPES[workload.kind], workload.namespace, workload.name, change.patch)


def as_workload(kind: DependentKind, body: Body) -> Workload:
    return Workload(kind, body["metadata"]["namespace"], body["metadata"]["name"], body)


def made_by_keda(scaler: Body) -> bool:
    return any(owner.get("kind") == "ScaledObject" for owner in scaler["metadata"].get("ownerReferences") or [])


def shared(scene: Scene) -> Obstacle | None:
    """A claim that others than the server mount: they would go on with the old files."""
    if scene.server is None:
        return None
    name = scene.server.workload["metadata"]["name"]
    others = [
        pod["metadata"]["name"]
        for pod in scene.pods
        if (pod["metadata"].get("labels") or {}).get(OWNER_UID_LABEL) is None
        and not any(owner.get("name") == name for owner in pod["metadata"].get("ownerReferences") or [])
    ]
    if not others:
        return None
    claims = named(scene.server.home.claims)
    message = f"pods that do not belong to StatefulSet {name} mount {claims}: {', '.join(others)}"
    return Obstacle("ClaimShared", f"{message}. Stop them, or restore into a new instance (target.newInstance)")


def at_work(jobs: Mapping[Stage, JobState]) -> JobState:
    """The Job whose progress is told: the preflight while it runs, else the long one."""
    preflight = jobs[Stage.PREFLIGHT]
    return preflight if preflight.phase == JobPhase.RUNNING else jobs[Stage.RESTORE]
