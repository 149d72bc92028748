"""The API server for a person at a shell: the person's own rights, few calls, errors that say what to do."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from kubernetes.aio import config as kubernetes_config

from pgwarden.api.model import GROUP, VERSION
from pgwarden.jobs.attempts import sentence
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest
from pgwarden.jobs.state import JobPhase, waiting_or_running
from pgwarden.jobs.task import Result
from pgwarden.kube import types
from pgwarden.kube.client import Body, KubeClient, KubeError

REQUESTS_PER_SECOND = 20.0
POLL_SECONDS = 0.5
LOG_BYTES = 256 << 20
LOG_LINES = 10_000_000
SECONDS_TO_LIVE = 600
"""Of a Job whose shell died before it could remove it."""
DEADLINE_SPARE_SECONDS = 60
"""A Job that nobody waits for any more ends so long after its shell would have given up."""
TOLD_AFTER_SECONDS = 5.0
"""A pod that starts takes a few seconds: nobody needs to hear of them."""
MONITOR = "pgwarden-monitor"
"""Deployment in each namespace with a DatabaseCluster; its image is the operator's."""

# What a person does with these kinds; the operator's own rights (kube/types.py) are others.
CLUSTERS = types.DATABASE_CLUSTERS
STORES = types.BACKUP_STORES
POLICIES = types.ResourceType(
    GROUP,
    VERSION,
    "backuppolicies",
    "BackupPolicy",
    types.verbs("get", "list"),
    "names a cluster, a store and a retention",
)
BACKUPS = replace(types.DATABASE_BACKUPS, verbs=types.verbs("get", "list", "create", "patch"))
RESTORES = replace(types.RESTORE_REQUESTS, verbs=types.verbs("get", "list", "create", "patch"))
CONFIG_MAPS = replace(types.CONFIG_MAPS, verbs=types.verbs("get"))
NAMESPACES = types.ResourceType("", "v1", "namespaces", "Namespace", types.verbs("get"), "tells a wrong name from none")
JOBS = replace(types.JOBS, verbs=types.verbs("get", "create", "delete"))
PODS = types.PODS
DEPLOYMENTS = types.DEPLOYMENTS

FORBIDDEN, UNPROCESSABLE = 403, 422

T = TypeVar("T")


class Person:
    """One person's connection, and the namespace that is meant."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    async def get(self, type_: types.ResourceType, name: str) -> Body:
        """An object. Raises TaskError: ObjectNotFound, NamespaceNotFound."""
        body = await self.client.get(type_, self.namespace, name)
        if body is None:
            await self.check_namespace()
            raise TaskError(
                "ObjectNotFound",
                f"there is no {type_.kind} {name} in namespace {self.namespace}",
                remedy=f"kubectl get {type_.plural} --namespace {self.namespace} lists those that are there.",
            )
        return body

    async def check_namespace(self) -> None:
        """Raises TaskError with reason NamespaceNotFound; who may not look at namespaces is not told."""
        try:
            found = await self.client.get(NAMESPACES, None, self.namespace)
        except KubeError as error:
            if error.status == FORBIDDEN:
                return
            raise
        if found is None:
            raise TaskError(
                "NamespaceNotFound",
                f"there is no namespace {self.namespace}",
                remedy="Name another one with --namespace; kubectl get namespaces lists them.",
            )

    async def launch(self, name: str, nonce: str) -> Launch:
        """A Job of that name with the image of pgwarden's monitor in this namespace. Raises TaskError."""
        monitor = await self.client.get(DEPLOYMENTS, self.namespace, MONITOR)
        if monitor is None:
            raise TaskError(
                "MonitorMissing",
                f"which image the Job needs is told by Deployment {self.namespace}/{MONITOR}, and there is none",
                remedy="The operator makes it in every namespace with a DatabaseCluster: look whether it runs and "
                "watches this namespace. A bucket can be read without: --store s3://bucket/prefix.",
                retryable=True,
            )
        pod = monitor["spec"]["template"]["spec"]
        container = pod["containers"][0]
        return Launch(
            name=name,
            attempt=1,
            nonce=nonce,
            image=container["image"],
            image_pull_policy=container.get("imagePullPolicy", "IfNotPresent"),
            image_pull_secrets=tuple(each["name"] for each in pod.get("imagePullSecrets") or ()),
        )

    async def run(self, manifest: Manifest, seconds: float) -> tuple[Result, str]:
        """Runs a Job to its end: its result and its log. The Job is removed, also when this is cancelled; where nobody
        is left to do so, it ends by itself. Raises TaskError.
        """
        manifest["spec"] |= {
            "ttlSecondsAfterFinished": SECONDS_TO_LIVE,
            "activeDeadlineSeconds": math.ceil(seconds) + DEADLINE_SPARE_SECONDS,
        }
        name = manifest["metadata"]["name"]
        try:
            await self.client.create(JOBS, self.namespace, manifest)
            async with asyncio.timeout(seconds):
                pod, message = await self._ended(name)
            log = await self.client.log_tail(PODS, self.namespace, pod, "agent", LOG_LINES, LOG_BYTES)
            return Result.model_validate_json(message), log
        except TimeoutError as error:
            raise TaskError(
                "JobTakesTooLong",
                f"Job {self.namespace}/{name} has not ended after {seconds:.0f} s; it was removed",
                remedy="Look at `kubectl get events`: no node may have room for its pod, or its image may be missing. "
                "Where the archive is very large, give it more time with --timeout.",
            ) from error
        finally:
            # What went wrong before is what is told: without the right to remove it, the Job goes by itself later.
            with suppress(KubeError):
                await self.client.delete(JOBS, self.namespace, name)

    async def _ended(self, job: str) -> tuple[str, str]:
        """Name and termination message of the Job's pod, once its agent has ended. Raises TaskError."""
        began, told = time.monotonic(), ""
        while True:
            pods = await self.client.list(PODS, self.namespace, {"labelSelector": f"job-name={job}"})
            waits = why_it_waits(job, pods)
            if waits != told and time.monotonic() - began > TOLD_AFTER_SECONDS:
                told = waits
                if waits:
                    sys.stderr.write(f"waiting: {waits}\n")
            for pod in pods:
                for status in pod.get("status", {}).get("containerStatuses") or ():
                    ended = status.get("state", {}).get("terminated")
                    if ended is not None and ended.get("message"):
                        return pod["metadata"]["name"], ended["message"]
                    if ended is not None or pod["status"].get("phase") == "Failed":
                        why = (ended or {}).get("reason") or pod["status"].get("reason") or "no reason"
                        raise TaskError(
                            "AgentDied",
                            f"the agent of Job {self.namespace}/{job} ended without a result ({why})",
                            remedy="Run it again; where memory ran out, raise jobTemplate.resources of the store.",
                            retryable=True,
                        )
            await asyncio.sleep(POLL_SECONDS)


def why_it_waits(job: str, pods: Sequence[Body]) -> str:
    """Why a Job's pod is not at work yet, and what to do; empty when it is, or has ended."""
    if not pods:
        return f"Job {job} has no pod yet. Look at `kubectl get events`: a quota or an admission rule may refuse it"
    pod = pods[-1]
    if pod.get("status", {}).get("phase") != "Pending":
        return ""
    state = waiting_or_running({"pod": pod["metadata"]["name"]}, pod)
    return sentence(state.message, state.remedy) if state.phase is JobPhase.QUEUED else ""


async def until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Does `work`; SIGTERM and SIGINT cancel it, which lets it clear away what it made. Raises TaskError."""
    loop, doing = asyncio.get_running_loop(), asyncio.ensure_future(work)
    signals, signalled = (signal.SIGTERM, signal.SIGINT), asyncio.Event()

    def stop() -> None:
        signalled.set()
        doing.cancel()

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        return await doing
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise
        raise TaskError(
            "Stopped",
            "it was stopped by a signal",
            remedy="A Job that only read the store for it was removed; a DatabaseBackup that was made goes on.",
        ) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def as_person(namespace: str | None, work: Callable[[Person], Coroutine[Any, Any, T]]) -> T:
    """Does `work` with the rights of whoever runs this, in that namespace or in the kubeconfig's.

    Raises TaskError, also for what the API server refuses.
    """

    async def connected() -> T:
        try:
            client = await KubeClient.connect(REQUESTS_PER_SECOND)
        except (kubernetes_config.ConfigException, OSError) as error:
            raise TaskError(
                "NoCluster",
                f"no Kubernetes cluster is configured: {error}",
                remedy="Set KUBECONFIG, or name a store directly: --store s3://bucket/prefix, or --store /path.",
            ) from error
        try:
            return await until_signalled(work(Person(client, namespace or await _namespace())))
        finally:
            await client.close()

    return asyncio.run(_told(connected()))


async def _told(work: Awaitable[T]) -> T:
    try:
        return await work
    except KubeError as error:
        raise TaskError(
            "ClusterRefused",
            error.message,
            remedy="Ask for the rights that docs/retention.md lists; for restores docs/restore-points.md, for drills "
            "docs/restore-drills.md."
            if error.status == FORBIDDEN
            else "Correct what it names."
            if error.status == UNPROCESSABLE
            else "Look whether the API server answers: kubectl get --raw /readyz",
            retryable=error.passing,
        ) from error


async def _namespace() -> str:
    """The namespace of the kubeconfig's current context."""
    try:
        _, active = kubernetes_config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except kubernetes_config.ConfigException:
        return "default"
    found: str = active["context"].get("namespace") or "default"
    return found
