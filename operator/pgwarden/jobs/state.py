"""What a Job, its pods and the events about it tell: one JobState. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from pgwarden.jobs.names import ATTEMPT_ANNOTATION
from pgwarden.jobs.task import TASK_ANNOTATION, Progress, Result, shorten

Body = dict[str, Any]


class JobPhase(StrEnum):
    ABSENT = "Absent"
    QUEUED = "Queued"
    """The Job exists; no pod runs yet. `reason` says why."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobState:
    """One attempt as seen from outside. `result` is what its agent told, when that can still be read."""

    phase: JobPhase
    name: str = ""
    uid: str = ""
    attempt: int = 0
    reason: str = ""
    message: str = ""
    remedy: str = ""
    result: Result | None = None
    told: Mapping[str, Result] = field(default_factory=dict)
    """What each container of the pod that ended has told, by its name."""
    pod: str = ""
    container: str = ""
    """Container whose log tells progress now."""
    nonce: str = ""
    finished: datetime | None = None
    time_to_live_set: bool = False
    deleting: bool = False
    created: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.phase in (JobPhase.SUCCEEDED, JobPhase.FAILED)


ABSENT = JobState(JobPhase.ABSENT)


def observe(job: Body | None, pods: Sequence[Body], warnings: Sequence[str] = ()) -> JobState:
    """The state of a Job, from its body, its pods' bodies, and the messages of warnings about a Job without pods, or
    about a pod that does not start."""
    if job is None:
        return ABSENT
    pod = newest(pods)
    task = task_of(job)
    metadata = job["metadata"]
    base: dict[str, Any] = {
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "attempt": attempt_of(job),
        "nonce": task.get("nonce", ""),
        "time_to_live_set": job["spec"].get("ttlSecondsAfterFinished") is not None,
        "created": read_time(metadata.get("creationTimestamp")),
        "deleting": metadata.get("deletionTimestamp") is not None,
        "pod": pod["metadata"]["name"] if pod else "",
        "told": results_of(pod) if pod else {},
    }
    ended = ended_condition(job)
    if ended is not None:
        return finished(base, ended, pod)
    if job["spec"].get("suspend"):
        message = "the Job is suspended: a queueing system such as Kueue has not admitted it yet"
        return JobState(JobPhase.QUEUED, reason="JobSuspended", message=message, **base)
    if pod is None:
        if warnings:
            message, remedy = no_pod(warnings), POD_FORBIDDEN_REMEDY
            return JobState(JobPhase.QUEUED, reason="PodForbidden", message=message, remedy=remedy, **base)
        return JobState(JobPhase.QUEUED, reason="PodNotCreated", message="the Job has no pod yet", **base)
    return waiting_or_running(base, pod, warnings)


def waiting_or_running(base: dict[str, Any], pod: Body, warnings: Sequence[str] = ()) -> JobState:
    """The state of a Job whose pod has not ended: unscheduled, held up by a container, or at work."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = f"no node takes the pod {base['pod']}: {condition.get('message', '')}"
            remedy = "Look at the pod's node selection, tolerations, resources and claims, and at the nodes."
            return JobState(JobPhase.QUEUED, reason="PodUnschedulable", message=message, remedy=remedy, **base)
    for container in container_statuses(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in HELD_UP:
            reason, remedy = HELD_UP[waiting["reason"]]
            message = f"container {container['name']} of pod {base['pod']} cannot start: {waiting.get('message', '')}"
            return JobState(JobPhase.QUEUED, reason=reason, message=shorten(message, 900), remedy=remedy, **base)
    running = [c["name"] for c in container_statuses(pod) if "running" in (c.get("state") or {})]
    if not running and any("terminated" in (c.get("state") or {}) for c in container_statuses(pod)):
        return JobState(JobPhase.RUNNING, reason="Finishing", message=f"pod {base['pod']} goes on", **base)
    if not running:
        message = f"pod {base['pod']} is starting"
        if warnings:
            message = shorten(f"{message}; Kubernetes says: {warnings[-1].rstrip('. ')}", 900)
        return JobState(JobPhase.QUEUED, reason="PodStarting", message=message, **base)
    speaker = "agent" if "agent" in running else running[0]
    return JobState(JobPhase.RUNNING, reason="Running", container=speaker, **base)


POD_FORBIDDEN_REMEDY = (
    "Raise the quota, or change the rule that refuses the pod; Kubernetes tries again by itself, after a while."
)
IMAGE_REMEDY = (
    "Check the image: the chart's values images.* for an agent's, the DatabaseCluster's image, newInstance.image"
    " or drill.image for the server's; and the pull secrets."
)
HELD_UP = {
    "ErrImagePull": ("ImageNotFound", IMAGE_REMEDY),
    "ImagePullBackOff": ("ImageNotFound", IMAGE_REMEDY),
    "ErrImageNeverPull": ("ImageNotFound", IMAGE_REMEDY),
    "InvalidImageName": ("ImageNotFound", IMAGE_REMEDY),
    "CreateContainerConfigError": ("ContainerNotCreated", "A Secret, ConfigMap or key that the pod mounts is missing."),
    "CreateContainerError": ("ContainerNotCreated", "Look at the node's container runtime."),
}


def finished(base: dict[str, Any], condition: Body, pod: Body | None) -> JobState:
    """The state of a Job that ended, with its agent's result where the pod still tells it."""
    phase = JobPhase.SUCCEEDED if condition["type"] in ("Complete", "SuccessCriteriaMet") else JobPhase.FAILED
    when = read_time(condition.get("lastTransitionTime"))
    result = result_of(pod) if pod else None
    if result is not None:
        return JobState(
            phase,
            reason=result.reason,
            message=result.message,
            remedy=result.remedy,
            result=result,
            finished=when,
            **base,
        )
    if phase == JobPhase.SUCCEEDED:
        message = f"Job {base['name']} succeeded, but its pod is gone and with it the result"
        return JobState(phase, reason="ResultLost", message=message, finished=when, **base)
    reason, message, remedy = why_killed(base, condition, pod)
    return JobState(phase, reason=reason, message=message, remedy=remedy, finished=when, **base)


def why_killed(base: dict[str, Any], condition: Body, pod: Body | None) -> tuple[str, str, str]:
    """(reason, message, remedy) of a Job that failed without its agent saying why."""
    name = base["name"]
    if condition.get("reason") == "DeadlineExceeded":
        return "DeadlineExceeded", f"Job {name} ran longer than it may", ""
    if pod is None:
        return "PodDeleted", f"the pod of Job {name} was deleted before its result could be read", ""
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        remedy = "Give the node more room, or the pod higher requests (jobTemplate.resources)."
        return "Evicted", f"pod {base['pod']} was evicted: {status.get('message', '')}", remedy
    for container in container_statuses(pod):
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            message = f"container {container['name']} of pod {base['pod']} used more memory than its limit"
            return "OOMKilled", message, "Raise jobTemplate.resources.limits.memory."
        if ended.get("exitCode", 0) != 0:
            code = ended["exitCode"]
            told = (ended.get("message") or "").strip()
            message = f"container {container['name']} of pod {base['pod']} ended with exit code {code}"
            if code in (137, 143):
                return "PodKilled", f"{message}: it was killed", ""
            return "AgentFailed", shorten(f"{message}: {told}" if told else message, 900), "Read the pod's log."
    for disruption in status.get("conditions") or []:
        if disruption["type"] == "DisruptionTarget" and disruption["status"] == "True":
            return "PodKilled", f"pod {base['pod']} was disrupted: {disruption.get('message', '')}", ""
    return "PodKilled", f"pod {base['pod']} ended without a result", ""


def ended_condition(job: Body) -> Body | None:
    """The condition that says the Job ended, if it did."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            found: Body = condition
            return found
    return None


def container_statuses(pod: Body) -> list[Body]:
    """Statuses of init containers and containers, in the order they start."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def results_of(pod: Body) -> dict[str, Result]:
    """What each container told in its termination message, by the container's name."""
    results = {}
    for container in container_statuses(pod):
        message = ((container.get("state") or {}).get("terminated") or {}).get("message")
        if not message:
            continue
        try:
            results[container["name"]] = Result.model_validate_json(message)
        except ValidationError:
            continue
    return results


def result_of(pod: Body) -> Result | None:
    """The pod's result: the first failure told by any container, else what the container `agent` told."""
    results = results_of(pod)
    for result in results.values():
        if result.outcome == "Failed":
            return result
    return results.get("agent")


def progress_in(log: str, nonce: str) -> Progress | None:
    """The last line of progress in a log that carries the task's nonce."""
    for line in reversed(log.splitlines()):
        if not line.startswith("{"):
            continue
        try:
            progress = Progress.model_validate_json(line)
        except ValidationError:
            continue
        if nonce and progress.nonce == nonce:
            return progress
    return None


def attempt_of(job: Body) -> int:
    """The attempt a Job was made for; 1 where nobody can tell, because somebody edited the annotation."""
    text = (job["metadata"].get("annotations") or {}).get(ATTEMPT_ANNOTATION, "1")
    return int(text) if text.isascii() and text.isdigit() else 1


def task_of(job: Body) -> Body:
    """The task in a Job's pod template, as JSON; empty when it cannot be read."""
    annotations = job["spec"].get("template", {}).get("metadata", {}).get("annotations") or {}
    try:
        task = json.loads(annotations.get(TASK_ANNOTATION, "{}"))
    except ValueError:
        return {}
    return task if isinstance(task, dict) else {}


def newest(pods: Sequence[Body]) -> Body | None:
    """The pod made last."""
    return max(pods, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", default=None)


def no_pod(warnings: Sequence[str]) -> str:
    """One sentence out of the warnings about a Job that gets no pod."""
    return shorten(f"the Job gets no pod: {warnings[-1].rstrip('. ')}", 900)


def read_time(text: str | None) -> datetime | None:
    """A time as the API server writes it."""
    return datetime.fromisoformat(text) if text else None
