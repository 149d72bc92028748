"""Watching: Kopf lists and watches, this turns its events into entries of the cache and of the queue.

Only `on.event` handlers are registered, so Kopf writes no annotations and sets no finalizers.
"""

from __future__ import annotations

from typing import Any

import kopf

from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_UID_LABEL
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.kube.config import OperatorConfig
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.types import JOBS, PODS, ResourceType

OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


def settings_for(config: OperatorConfig) -> kopf.OperatorSettings:
    """Kopf's settings: no Events or peering of its own, no waiting to batch, only our Jobs and their pods."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.queueing.batch_window = 0.0
    settings.queueing.idle_timeout = 1.0
    # What is left to handle at the end changes nothing but a cache that ends as well.
    settings.queueing.exit_timeout = 0.2
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = 500
    settings.networking.trust_env = True
    for type_ in (JOBS, PODS):
        settings.watching.label_selectors[type_.plural] = OURS
    return settings


def registry_for(context: OperatorContext) -> kopf.OperatorRegistry:
    """A registry whose handlers feed the cache and the queue."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(id="login", registry=registry)(login)
    for type_ in (*(controller.type for controller in context.controllers), JOBS, PODS):
        register(registry, context, type_)
    return registry


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Kopf's credentials: the pod's service account, or else the kubeconfig of whoever runs this."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def register(registry: kopf.OperatorRegistry, context: OperatorContext, type_: ResourceType) -> None:
    """Handles the events of one kind."""

    async def handle(event: Any, **_: Any) -> None:
        take(context, type_, event["type"], event["object"])

    kopf.on.event(type_.group, type_.version, type_.plural, id=f"watch-{type_.plural}", registry=registry)(handle)


def take(context: OperatorContext, type_: ResourceType, event_type: str | None, body: Any) -> None:
    """Takes one event of a watch; an echo of what was written or read by ourselves wakes nobody."""
    metadata = body["metadata"]
    key = Key(type_.kind, metadata["namespace"], metadata["name"])
    if event_type == "DELETED":
        if context.cache.drop(key, metadata.get("uid", "")) and key.kind not in ("Job", "Pod"):
            context.queue.forget(key)
    else:
        known = context.cache.get(key)
        echo = known is not None and known["metadata"].get("resourceVersion") == metadata.get("resourceVersion")
        if not context.cache.put(key, dict(body)) and echo:
            return
    wake_for(context, key, body)


def wake_for(context: OperatorContext, key: Key, body: Any) -> None:
    """Wakes whoever an event concerns: the object itself, the owner of a Job or pod, and who depends on it."""
    if key.kind not in ("Job", "Pod"):
        context.wake(key)
        for dependent in context.dependents(key):
            context.wake(dependent)
        return
    owner = owner_of(context, key, body)
    if owner is not None:
        context.wake(owner)
    if key.kind == "Job":
        for dependent in context.dependents(key):
            context.wake(dependent)


def owner_of(context: OperatorContext, key: Key, body: Any) -> Key | None:
    """The object of ours that a Job or a pod works for; labels cut long names, so the UID decides."""
    labels = body["metadata"].get("labels") or {}
    if key.kind == "Pod" and JOB_NAME_LABEL not in labels:
        return None
    return context.cache.key_of(labels.get(OWNER_UID_LABEL, ""))
