"""Observing Jobs and applying plans: the I/O that is the same for every capability."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from pgwarden.api.conditions import Truth, in_progress, judge, stalled
from pgwarden.api.status import Attempt, Status
from pgwarden.jobs.attempts import begin
from pgwarden.jobs.names import OPERATION_LABEL, OWNER_UID_LABEL, SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.plan import Plan, conclude, told
from pgwarden.jobs.state import ABSENT, JobState, ended_condition, observe
from pgwarden.jobs.task import Operation
from pgwarden.kube.cache import JOB_NAME_LABEL, Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.patch import merge_patch, pruned, without
from pgwarden.kube.types import ALL, EVENTS, JOBS, PODS, ResourceType

TYPES = {type_.kind: type_ for type_ in ALL}
NO_POD_AFTER_SECONDS = 3.0
POD_STARTS_WITHIN_SECONDS = 20.0
REFUSED_RETRY_SECONDS = 30.0

log = structlog.get_logger()


async def observe_job(context: OperatorContext, namespace: str, name: str, *, recorded: bool) -> JobState:
    """The state of a Job. Where the watches do not tell enough to conclude that something is gone, asks directly.

    `recorded` says that the Job is known to have existed; one that is not is created, or adopted when it exists.
    """
    key = Key("Job", namespace, name)
    job = context.cache.get(key)
    if job is None and not recorded:
        return ABSENT
    if job is None:
        job = await context.client.get(JOBS, namespace, name)
        if job is None:
            return ABSENT
        context.cache.put(key, job)
    state = observe(job, context.cache.pods_of(namespace, name))
    if state.ended and state.result is None:
        # The watch on Jobs may run ahead of the one on pods.
        pods = await context.client.list(PODS, namespace, {"labelSelector": f"{JOB_NAME_LABEL}={name}"})
        return observe(job, pods)
    if state.reason == "PodNotCreated" and age_seconds(context, job) > NO_POD_AFTER_SECONDS:
        return observe(job, [], await warnings_about(context, namespace, name))
    if state.reason == "PodStarting" and age_seconds(context, job) > POD_STARTS_WITHIN_SECONDS:
        warnings = await warnings_about_pod(context, namespace, state.pod)
        return observe(job, context.cache.pods_of(namespace, name), warnings)
    return state


async def warnings_about(context: OperatorContext, namespace: str, name: str) -> list[str]:
    """Messages of the warnings about a Job, oldest first: why it gets no pod (quota, admission, Pod Security).

    Other warnings speak of other things: a Job whose pod was deleted has "reached the specified backoff limit".
    """
    query = {"fieldSelector": f"regarding.kind=Job,regarding.name={name},type=Warning,reason=FailedCreate"}
    events = await context.client.list(EVENTS, namespace, query)
    events.sort(key=lambda event: event.get("eventTime") or event.get("deprecatedLastTimestamp") or "")
    return [event.get("note", "") for event in events]


async def warnings_about_pod(context: OperatorContext, namespace: str, name: str) -> list[str]:
    """Messages of the warnings about a pod, oldest first: a sandbox that was killed for want of memory and is made
    again and again, a volume that cannot be attached."""
    query = {"fieldSelector": f"regarding.kind=Pod,regarding.name={name},type=Warning"}
    events = await context.client.list(EVENTS, namespace, query)
    events.sort(key=lambda event: event.get("eventTime") or event.get("deprecatedLastTimestamp") or "")
    return [event.get("note", "") for event in events]


def age_seconds(context: OperatorContext, body: Body) -> float:
    """How long ago an object was made."""
    made = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    return (context.clock() - made).total_seconds()


def running_operations(context: OperatorContext, system_identifier: str, except_uid: str) -> list[Operation]:
    """Operations whose Jobs are under way on a PostgreSQL cluster for other objects than this one."""
    found = []
    for job in context.cache.bodies("Job"):
        labels = job["metadata"].get("labels") or {}
        if labels.get(SYSTEM_IDENTIFIER_LABEL) != system_identifier or labels.get(OWNER_UID_LABEL) == except_uid:
            continue
        if ended_condition(job) is None and labels.get(OPERATION_LABEL) in set(Operation):
            found.append(Operation(labels[OPERATION_LABEL]))
    return found


async def apply(context: OperatorContext, type_: ResourceType, body: Body, before: Status, plan: Plan) -> float | None:
    """Carries a plan out and writes the status: objects first, then the Job, then what is true now.

    A crash between any two of these is made good by the next look: objects and Jobs have deterministic names.
    """
    namespace = body["metadata"]["namespace"]
    again = plan.again_after
    try:
        for manifest in plan.create:
            await create_or_adopt(context, body, manifest)
        if plan.start is not None:
            await start_job(context, body, plan, plan.start)
    except KubeError as error:
        if error.namespace_terminating:
            return None
        if error.passing:
            raise
        again = refuse(plan, before, error)
    if plan.delete_job is not None:
        await context.client.delete(JOBS, namespace, plan.delete_job)
    if plan.judgments or plan.status != before or before.observed_generation != body["metadata"].get("generation", 0):
        await write_status(context, type_, body, before, plan)
    if plan.written:
        # As it stands now: an Event about the turn of a condition is named after that very turn.
        present = context.cache.get(Key(body["kind"], namespace, body["metadata"]["name"])) or body
        for notice in plan.notices:
            context.events.tell(present, notice)
    return again


async def start_job(context: OperatorContext, body: Body, plan: Plan, manifest: Body) -> None:
    """Creates the plan's Job, or adopts the one of that name, and records the attempt in the plan's status."""
    namespace, name = body["metadata"]["namespace"], manifest["metadata"]["name"]
    job = await create_or_adopt(context, body, manifest)
    context.cache.put(Key("Job", namespace, name), job)
    attempts: list[Attempt] = list(getattr(plan.status, "attempts", []))
    number = observe(job, []).attempt
    if not any(attempt.number == number and attempt.job == name for attempt in attempts):
        attempts.append(begin(number, name, now=context.clock()))
        plan.status = plan.status.model_copy(update={"attempts": attempts[-16:]})


async def create_or_adopt(context: OperatorContext, owner: Body, manifest: Body) -> Body:
    """Creates an object; one of that name that we made for the same owner is taken as it is.

    Raises KubeError with reason NameTaken when it is somebody else's.
    """
    type_ = TYPES[manifest["kind"]]
    namespace, name = owner["metadata"]["namespace"], manifest["metadata"]["name"]
    try:
        return await context.client.create(type_, namespace, manifest)
    except KubeError as error:
        if not error.already_exists:
            raise
    existing = await context.client.get(type_, namespace, name)
    if existing is None:
        raise KubeError(409, "Conflict", f"{type_.kind} {namespace}/{name} is just being deleted")
    labels = existing["metadata"].get("labels") or {}
    if labels.get(OWNER_UID_LABEL) != owner["metadata"]["uid"]:
        raise KubeError(
            409,
            "NameTaken",
            f"{type_.kind} {namespace}/{name} exists already and was not made for this {owner['kind']}. "
            "Choose another name, or remove it if nothing needs it",
        )
    return existing


def refuse(plan: Plan, before: Status, error: KubeError) -> float | None:
    """Turns a refusal by the API server into judgments; returns seconds after which to try again."""
    quota = error.status == 403
    reason = error.reason if error.reason == "NameTaken" else "JobForbidden" if quota else "JobRefused"
    message = f"the API server refused what this needs: {error.message}"
    others = [j for j in plan.judgments if j.type not in ("Ready", "Reconciling", "Stalled")]
    # What is unknown (Writable, Restorable) is unknown for this reason now.
    plan.judgments = [judge(j.type, None, reason, message) if j.status == Truth.UNKNOWN else j for j in others]
    waits = quota or error.reason == "Conflict"
    if waits:
        plan.judgments += in_progress(reason, message)
    else:
        plan.judgments += stalled(reason, error.message if reason == "NameTaken" else message)
    plan.notices = told(plan.judgments, before)
    return REFUSED_RETRY_SECONDS if waits else None


async def write_status(context: OperatorContext, type_: ResourceType, body: Body, before: Status, plan: Plan) -> None:
    """Writes the status, when it differs from what is there; remembers the answer, so that its echo wakes nobody.

    It is written only onto the version it was planned for: another one (edited meanwhile, or deleted and made anew
    under the same name) is looked at again instead.
    """
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    after = conclude(plan, before, generation=metadata.get("generation", 0), now=context.clock())
    wanted = after.to_json()
    before_json, lost = body.get("status") or {}, context.pruned.get(body["kind"], set())
    # What the cluster's schema drops differs for ever: that alone is nothing to write.
    if not merge_patch(before_json, without(wanted, lost)):
        return
    patch = merge_patch(before_json, wanted)
    key = Key(body["kind"], namespace, name)
    try:
        answer = await context.client.merge_status(
            type_, namespace, name, {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch}
        )
    except KubeError as error:
        if error.not_found:
            return
        if error.status != 409:
            raise
        newer = await context.client.get(type_, namespace, name)
        if newer is not None:
            context.cache.put(key, newer)
            context.wake(key)
        plan.written = False
        return
    remember_pruned(context, body["kind"], wanted, answer.get("status") or {})
    if context.cache.put(key, answer):
        for dependent in context.dependents(key):
            context.wake(dependent)


def remember_pruned(context: OperatorContext, kind: str, written: Body, came_back: Body) -> None:
    """Notes which fields of a status the API server dropped, and says so once: its CRDs are older than this code."""
    lost = pruned(written, came_back)
    known = context.pruned.get(kind)
    if lost and known is None:
        fields = sorted(".".join(("status", *path)).replace(".[]", "[]") for path in lost)
        log.warning(
            "the CRD in the cluster is older than this operator and drops fields of the status; apply the CRDs of this"
            " version (chart pgwarden-crds, or crds.enabled), then restart the operator",
            kind=kind,
            fields=fields[:20],
        )
    if lost:
        context.pruned[kind] = (known or set()) | lost


async def bury(
    context: OperatorContext, namespace: str, state: JobState, *, seconds_to_live: int | None = None
) -> None:
    """Gives a Job whose result stands in the status its time to live; None is as configured."""
    if not state.ended or state.time_to_live_set or state.deleting:
        return
    seconds = context.config.job_seconds_to_live if seconds_to_live is None else seconds_to_live
    patch: dict[str, Any] = {"spec": {"ttlSecondsAfterFinished": seconds}}
    try:
        answer = await context.client.merge(JOBS, namespace, state.name, patch)
    except KubeError as error:
        if not error.not_found:
            raise
        return
    context.cache.put(Key("Job", namespace, state.name), answer)


def open_job(attempts: Sequence[Attempt]) -> str:
    """Name of the Job whose result does not stand in the status yet; empty when there is none."""
    return attempts[-1].job if attempts and attempts[-1].completion_time is None else ""


async def bury_all(
    context: OperatorContext, namespace: str, owner_uid: str, *, but: str = "", seconds_to_live: int | None = None
) -> None:
    """Buries every Job of an object that ended, also those of earlier attempts; not the one whose name is `but`."""
    for job in context.cache.jobs_of(owner_uid):
        if job["metadata"]["name"] != but:
            await bury(context, namespace, observe(job, []), seconds_to_live=seconds_to_live)
