"""The operator process: leads or stands by; while it leads, it watches and works; it ends when told or deposed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf
import structlog

from pgwarden.kube.cache import Cache
from pgwarden.kube.client import KubeClient
from pgwarden.kube.config import OperatorConfig
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.controller import Background, Controller
from pgwarden.kube.events import EventRecorder
from pgwarden.kube.health import Health, serve
from pgwarden.kube.lease import lead
from pgwarden.kube.progress import ProgressBoard
from pgwarden.kube.queue import Queue
from pgwarden.kube.reconciler import Reconciler
from pgwarden.kube.refresh import Refresher
from pgwarden.kube.watch import registry_for, settings_for

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
BEAT_SECONDS = 5.0
LEASE_REQUESTS_PER_SECOND = 10.0
END_SECONDS = 10.0
DRAIN_SECONDS = 10.0
"""For Events, of the 30 s that Kubernetes grants between SIGTERM and SIGKILL."""

Assemble = Callable[[OperatorContext], tuple[list[Controller], list[Background]]]
"""Makes everything that works in a context."""

log = structlog.get_logger()


async def run(config: OperatorConfig, assemble: Assemble) -> int:
    """Runs until SIGTERM or SIGINT (0), or until the Lease is lost or the work breaks (1)."""
    stop = asyncio.Event()
    end_on_signals(stop)
    client = await KubeClient.connect(config.requests_per_second)
    # The Lease has connections and a rate of its own: a burst of work must never keep it from being renewed.
    lease_client = await KubeClient.connect(LEASE_REQUESTS_PER_SECOND)
    events = EventRecorder(client)
    health = Health(started=True)
    server = await serve(health, config.listen_port)
    beside = [asyncio.create_task(beat(health)), asyncio.create_task(events.run())]
    try:
        stopped = await lead(
            lease_client,
            name=config.lease_name,
            namespace=config.lease_namespace or own_namespace(),
            identity=f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            work=lambda: work(config, client, events, health, assemble, stop, beside),
            stop=stop,
        )
        # The Lease is free by now: another one may begin while what happened is still being told.
        await events.drain(DRAIN_SECONDS)
    finally:
        for task in beside:
            task.cancel()
        # Kopf, cancelled a second time by the end of the event loop, may not end at all.
        await asyncio.wait(beside, timeout=END_SECONDS)
        await server.cleanup()
        await client.close()
        await lease_client.close()
    log.info("the operator ends", told_to_stop=stopped)
    return 0 if stopped else 1


async def work(
    config: OperatorConfig,
    client: KubeClient,
    events: EventRecorder,
    health: Health,
    assemble: Assemble,
    stop: asyncio.Event,
    beside: list[asyncio.Task[None]],
) -> None:
    """What the leader does, until cancelled; ends when no write is in flight any more.

    The watches only read, take their time to end, and Kopf then cancels whatever task it finds: so they go on, `beside`
    this, until Events are written too.
    """
    context = OperatorContext(
        config=config,
        client=client,
        cache=Cache(),
        queue=Queue(config.resync_interval),
        events=events,
        progress=ProgressBoard(client),
    )
    context.controllers, background = assemble(context)
    reconcile = Reconciler(context).reconcile
    refresher = Refresher(context)

    health.leading = True
    log.info("this process leads", namespaces=config.namespaces or "all")
    ready = asyncio.Event()
    watching = asyncio.create_task(watch(context, ready, stop))
    beside.append(watching)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(shielded(watching))
            await ready.wait()
            # Kopf has put its own handlers in place of ours, and would end more slowly than we do.
            end_on_signals(stop)
            # The watches may tell of a backup before its cluster: nothing is decided before all is known.
            await refresher.refresh()
            for controller in context.controllers:
                for body in context.cache.bodies(controller.type.kind):
                    events.tell_again(body, context.clock())
            health.watching = True
            group.create_task(context.queue.run(reconcile, config.workers))
            group.create_task(refresher.run())
            group.create_task(context.progress.run(context.wake))
            for each in background:
                group.create_task(each.run())
    finally:
        health.leading = health.watching = False
        await client.settled()


async def shielded(task: asyncio.Task[None]) -> None:
    """Ends, or breaks, as the task does; being cancelled leaves the task to itself."""
    await asyncio.shield(task)


def end_on_signals(stop: asyncio.Event) -> None:
    """Has SIGTERM and SIGINT end the process in good order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def watch(context: OperatorContext, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Runs Kopf, which ends by itself only when it was the one to get a signal."""
    # Kopf would ask for the user's name, and a container's user has none. Its type for this is a string, and private.
    identity: Any = socket.gethostname()
    await kopf.operator(
        registry=registry_for(context),
        settings=settings_for(context.config),
        clusterwide=not context.config.namespaces,
        namespaces=context.config.namespaces,
        identity=identity,
        ready_flag=ready,
    )
    stop.set()


async def beat(health: Health) -> None:
    """Tells the liveness probe that the event loop turns."""
    while True:
        health.beat()
        await asyncio.sleep(BEAT_SECONDS)


def own_namespace() -> str:
    """The namespace of the pod this runs in, or of whoever runs it outside of one."""
    if NAMESPACE_FILE.exists():
        return NAMESPACE_FILE.read_text().strip()
    return os.environ.get("PGWARDEN_NAMESPACE", "default")
