"""Lists all that is watched, at the start and then every resync interval: what a broken watch swallowed comes to light.

After a break that lasted too long a watch lists anew, and nobody tells what was deleted in between. A Job that is
gone must not be waited for, nor count as running.
"""

from __future__ import annotations

import asyncio

import structlog

from pgwarden.kube.cache import version
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.types import JOBS, PODS, ResourceType
from pgwarden.kube.watch import OURS, take

log = structlog.get_logger()


class Refresher:
    """Compares the cache with what there is."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await asyncio.sleep(self.context.config.resync_interval)
            try:
                await self.refresh()
            except KubeError as error:
                log.warning("what is watched could not be listed; the watches go on", error=error.message)

    async def refresh(self) -> None:
        """One comparison of every kind in every namespace. Raises KubeError."""
        namespaces: list[str | None] = [*self.context.config.namespaces] or [None]
        types = (*(controller.type for controller in self.context.controllers), JOBS, PODS)
        await asyncio.gather(*(self.compare(type_, namespace) for type_ in types for namespace in namespaces))

    async def compare(self, type_: ResourceType, namespace: str | None) -> None:
        """Takes what is new as if a watch had told it, and drops what is gone."""
        query = {"labelSelector": OURS} if type_ in (JOBS, PODS) else None
        bodies, moment = await self.context.client.snapshot(type_, namespace, query)
        present = set()
        for body in bodies:
            # Items of a list do not say what they are.
            body |= {"apiVersion": type_.api_version, "kind": type_.kind}
            present.add(Key(type_.kind, body["metadata"]["namespace"], body["metadata"]["name"]))
            take(self.context, type_, "MODIFIED", body)
        for key in self.context.cache.keys(type_.kind, namespace):
            known = self.context.cache.get(key)
            if key not in present and known is not None and version(known) <= int(moment or 0):
                take(self.context, type_, "DELETED", known)
