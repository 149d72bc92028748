"""The API server for a person at a shell: the person's own rights, few calls, errors that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from kubernetes.aio import config as kubernetes_config

from pgwarden.api.model import GROUP, VERSION
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest
from pgwarden.jobs.task import Result
from pgwarden.kube import types
from pgwarden.kube.client import Body, KubeClient, KubeError

REQUESTS_PER_SECOND = 20.0
POLL_SECONDS = 0.5
LOG_BYTES = 256 << 20
LOG_LINES = 10_000_000
SECONDS_TO_LIVE = 600
"""Of a Job whose shell died before it could remove it."""
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
        """Runs a Job to its end: its result and its log. The Job is removed. Raises TaskError."""
        manifest["spec"]["ttlSecondsAfterFinished"] = SECONDS_TO_LIVE
        name = manifest["metadata"]["name"]
        await self.client.create(JOBS, self.namespace, manifest)
        try:
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
            await self.client.delete(JOBS, self.namespace, name)

    async def _ended(self, job: str) -> tuple[str, str]:
        """Name and termination message of the Job's pod, once its agent has ended. Raises TaskError."""
        while True:
            for pod in await self.client.list(PODS, self.namespace, {"labelSelector": f"job-name={job}"}):
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
            return await work(Person(client, namespace or await _namespace()))
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
            "docs/restore/drills.md."
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
