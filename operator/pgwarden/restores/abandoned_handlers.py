"""Restores in place whose RestoreRequest was deleted on the way: found by their mark on the claim, and put back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pgwarden.clusters.access import AbandonedRestore
from pgwarden.clusters.resource import DatabaseCluster, Dependent, DependentKind
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.state import ended_condition
from pgwarden.kube.agents import agent_image
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.types import CLAIMS, JOBS, PODS, RESTORE_REQUESTS, STATEFUL_SETS
from pgwarden.kube.work import REFUSED_RETRY_SECONDS, bury_all, create_or_adopt, observe_job
from pgwarden.restores.abandoned import AbandonedPlan, ObservedAbandoned, plan
from pgwarden.restores.abandoned_render import put_back_job, put_back_name
from pgwarden.restores.claim_note import noted
from pgwarden.restores.fence import Home, home, most_members, named, pods_on_claims
from pgwarden.restores.in_place_claims import MARK, annotation, marked_by, marked_primary, unmarks
from pgwarden.restores.in_place_handlers import TYPES, as_workload, patch_workloads
from pgwarden.restores.in_place_look import SOON_SECONDS
from pgwarden.restores.in_place_render import Server
from pgwarden.restores.stopping import Workload

LOOK_AGAIN = timedelta(minutes=15)
"""A claim is looked at when an operator begins, when a RestoreRequest goes, and so often, as news may be lost."""


class AbandonedRestores:
    """Looks after the claims of DatabaseClusters."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self.clear_until: dict[Key, datetime] = {}
        """DatabaseClusters nothing was found at, and until when nobody need look again."""
        self.noticed: dict[str, datetime] = {}
        """When a request's UID was first missed."""

    def requests_changed(self, changed: Key) -> list[Key]:
        """The DatabaseClusters to look at because a RestoreRequest has gone."""
        if changed.kind != "RestoreRequest" or self.context.cache.get(changed) is not None:
            return []
        near = self.context.cache.keys("DatabaseCluster", changed.namespace)
        for key in near:
            self.clear_until.pop(key, None)
        return near

    async def look(
        self, key: Key, body: Body, cluster: DatabaseCluster
    ) -> tuple[AbandonedRestore | None, float | None]:
        """What there is to say of a restore that was abandoned, or of there being none, after the next thing was done
        about it; None when nobody knows. And the seconds after which to look again.

        Raises KubeError where trying again at once may help.
        """
        now, reference = self.context.clock(), cluster.spec.workload_ref
        wanted = self.context.config.in_place_restores and reference is not None
        if reference is None or not wanted or now < self.clear_until.get(key, now):
            return None, None
        workload = await self.context.client.get(STATEFUL_SETS, key.namespace, reference.name)
        if workload is None:
            return None, None
        place = home(cluster, workload, most_members(as_workload(DependentKind.STATEFUL_SET, workload)))
        if not isinstance(place, Home):
            return None, None
        claims = await self.claims(key.namespace, place)
        uid = marked_by(claims.values())
        if not uid:
            self.clear_until[key] = now + LOOK_AGAIN
            await bury_all(self.context, key.namespace, cluster.metadata.uid)
            return AbandonedRestore("", concluded=True), None
        if await self.is_there(key.namespace, uid):
            return None, None
        self.noticed.setdefault(uid, now)
        if place.members:
            place = replace(place, claim=marked_primary(claims, uid))
        server = Server(home=place, workload={"kind": "StatefulSet", **workload}, container=reference.container)
        planned = plan(await self.observed(cluster, server, claims, uid), now)
        try:
            await self.carry_out(body, cluster, server, claims, uid, planned)
        except KubeError as error:
            if error.passing or error.namespace_terminating:
                raise
            if error.status == 409 and error.reason == "Conflict":
                return planned.said, SOON_SECONDS
            message = f"{planned.said.message}; the API server refuses that: {error.message}"
            return AbandonedRestore(message, stuck=True), REFUSED_RETRY_SECONDS
        return planned.said, planned.again_after

    async def claims(self, namespace: str, place: Home) -> dict[str, Body]:
        """The claims with data of the server that are there, by name."""
        found = {name: await self.context.client.get(CLAIMS, namespace, name) for name in place.claims}
        return {name: claim for name, claim in found.items() if claim is not None}

    async def is_there(self, namespace: str, uid: str) -> bool:
        """Whether the request of that UID is there; one that leaves waits for what belongs to it."""
        if self.context.cache.key_of(uid) is not None:
            return True
        there = await self.context.client.list(RESTORE_REQUESTS, namespace)
        return any(each["metadata"]["uid"] == uid for each in there)

    async def observed(
        self, cluster: DatabaseCluster, server: Server, claims: Mapping[str, Body], uid: str
    ) -> ObservedAbandoned:
        """Everything around claims that are marked. Raises KubeError."""
        context, namespace = self.context, cluster.metadata.namespace
        name = put_back_name(cluster, uid)
        note = next(noted(each["metadata"]["annotations"]) for each in claims.values() if annotation(each, MARK) == uid)
        pods = pods_on_claims(await context.client.list(PODS, namespace), server.home.claims)
        return ObservedAbandoned(
            uid=uid,
            request=note.request,
            claims=named(server.home.claims),
            untouched=not server.home.claim,
            server=as_workload(DependentKind.STATEFUL_SET, server.workload),
            services=await self.services([*note.services, *cluster.spec.dependent_services], namespace),
            job=await observe_job(context, namespace, name, recorded=True),
            at_work=[job["metadata"]["name"] for job in context.cache.jobs_of(uid) if ended_condition(job) is None],
            others=[pod["metadata"]["name"] for pod in pods if owner_of(pod) != cluster.metadata.uid],
            noticed=self.noticed[uid],
        )

    async def services(self, dependents: Sequence[Dependent], namespace: str) -> list[Workload]:
        """The workloads as they are now, each once."""
        found = []
        for kind, where, name in dict.fromkeys(
            (each.kind, each.namespace or namespace, each.name) for each in dependents
        ):
            found.append(Workload(kind, where, name, await self.context.client.get(TYPES[kind], where, name)))
        return found

    async def carry_out(
        self,
        body: Body,
        cluster: DatabaseCluster,
        server: Server,
        claims: Mapping[str, Body],
        uid: str,
        planned: AbandonedPlan,
    ) -> None:
        """Patches workloads and claims, each on the version that was looked at, and makes the Job."""
        context, namespace = self.context, cluster.metadata.namespace
        for name in planned.delete_jobs:
            await context.client.delete(JOBS, namespace, name)
        await patch_workloads(context.client, planned.changes)
        if planned.launch:
            config = context.config
            launch = Launch(
                name=put_back_name(cluster, uid),
                attempt=1,
                nonce=secrets.token_hex(16),
                image=agent_image(config) or "",
                image_pull_policy=config.image_pull_policy,
                image_pull_secrets=tuple(config.image_pull_secrets),
            )
            job = await create_or_adopt(context, body, put_back_job(cluster, server, uid, launch))
            context.cache.put(Key("Job", namespace, launch.name), job)
        if planned.unmark:
            for name, patch in unmarks(claims, uid):
                await context.client.merge(CLAIMS, namespace, name, patch)
            self.noticed.pop(uid, None)


def owner_of(pod: Body) -> str:
    """UID of the object of ours that a pod works for; empty for anybody else's."""
    return str((pod["metadata"].get("labels") or {}).get(OWNER_UID_LABEL, ""))
