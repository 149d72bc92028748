"""Progress of running Jobs, read from the last lines of their pods' logs: polled, bounded, never followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pgwarden.jobs.state import JobState, progress_in
from pgwarden.jobs.task import Progress
from pgwarden.kube.client import KubeClient, KubeError
from pgwarden.kube.key import Key
from pgwarden.kube.types import PODS

POLL_SECONDS = 10.0
FIRST_POLL_SECONDS = 2.0
"""Until a pod has told anything: short work should be seen as well."""
ROUND_SECONDS = 1.0
PODS_AT_ONCE = 8

log = structlog.get_logger()


@dataclass(frozen=True)
class Watched:
    namespace: str
    pod: str
    container: str
    nonce: str


class ProgressBoard:
    """Which pods are at work for which objects, and what each last told."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self._watched: dict[Key, Watched] = {}
        self._told: dict[Key, Progress] = {}
        self._due: dict[Key, float] = {}

    def follow(self, key: Key, state: JobState) -> Progress | None:
        """From now on reads that pod's log for the object, while a container runs; returns what it last told."""
        if not state.container:
            self.leave(key)
            return None
        wanted = Watched(key.namespace, state.pod, state.container, state.nonce)
        if self._watched.get(key) != wanted:
            self._watched[key] = wanted
            self._told.pop(key, None)
            self._due.pop(key, None)
        return self._told.get(key)

    def leave(self, key: Key) -> None:
        """Nothing runs for the object any more."""
        self._watched.pop(key, None)
        self._told.pop(key, None)
        self._due.pop(key, None)

    async def run(self, wake: Callable[[Key], None]) -> None:
        """Polls until cancelled, each pod every ten seconds once it has told something.

        Has every object looked at whose progress moved.
        """
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.round(wake)

    async def round(self, wake: Callable[[Key], None]) -> None:
        """Polls the pods whose turn it is."""
        gate = asyncio.Semaphore(PODS_AT_ONCE)
        now = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for key, watched in list(self._watched.items()):
                if self._due.get(key, now) <= now:
                    self._due[key] = now + (POLL_SECONDS if key in self._told else FIRST_POLL_SECONDS)
                    group.create_task(self._poll(key, watched, gate, wake))

    async def _poll(self, key: Key, watched: Watched, gate: asyncio.Semaphore, wake: Callable[[Key], None]) -> None:
        async with gate:
            try:
                text = await self.client.log_tail(PODS, watched.namespace, watched.pod, watched.container)
            except KubeError as error:
                log.debug("a log could not be read", pod=watched.pod, error=error.message)
                return
        progress = progress_in(text, watched.nonce)
        if progress is not None and progress != self._told.get(key) and self._watched.get(key) == watched:
            if key not in self._told:
                self._due[key] = asyncio.get_running_loop().time() + POLL_SECONDS
            self._told[key] = progress
            wake(key)
