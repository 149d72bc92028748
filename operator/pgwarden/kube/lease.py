"""The Lease: one operator works, the others stand by. The official client's leader election, with time limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

LEASE_SECONDS = 15
RENEW_SECONDS = 10
RETRY_SECONDS = 2
REQUEST_SECONDS = 4.0

log = structlog.get_logger()


class BoundedLeaseLock(LeaseLock):
    """A LeaseLock whose requests end: one that hung would let a leader believe in its lease after it ran out."""

    async def get(self, name: str, namespace: str) -> Any:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await super().get(name, namespace)
        except (TimeoutError, OSError) as error:
            return False, Unanswered(error)

    async def create(self, name: str, namespace: str, election_record: Any) -> Any:
        return await self._bounded(super().create(name, namespace, election_record))

    async def update(self, name: str, namespace: str, updated_record: Any) -> Any:
        return await self._bounded(super().update(name, namespace, updated_record))

    async def _bounded(self, request: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await request
        except (TimeoutError, OSError) as error:
            log.warning("the Lease could not be written", error=str(error) or type(error).__name__)
            return False

    async def release(self, name: str, namespace: str) -> None:
        """Gives the lease up, so that a standby need not wait for it to run out."""
        found, record = await self.get(name, namespace)
        lease = self.lease_reference
        if not found or record.holder_identity != self.identity or lease is None or lease.spec is None:
            return
        lease.spec.holder_identity = None
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self.api_instance.replace_namespaced_lease(name, namespace, lease)
        except (TimeoutError, OSError, ApiException) as error:
            log.warning("the Lease could not be given up; it runs out by itself", error=str(error))


class Unanswered(Exception):
    """Stands where the election expects the client's exception: no body, so nothing is concluded from it."""

    body = None

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.reason = str(error) or type(error).__name__


async def lead(
    configuration: Configuration,
    *,
    name: str,
    namespace: str,
    identity: str,
    work: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
) -> bool:
    """Waits for the lease, then does `work` for as long as it is held.

    Returns True when `stop` was set (the lease is given up), False when the lease was lost or `work` ended: the
    process must end then, because another one may have begun.
    """
    api_client = ApiClient(configuration)
    lock = BoundedLeaseLock(name, namespace, identity, api_client)
    finished = asyncio.Event()

    async def started() -> None:
        try:
            await work()
        except Exception:
            log.exception("the operator's work broke; ending, to begin afresh")
        finally:
            finished.set()

    async def stopped() -> None:
        log.error("the lease is lost; ending, because another operator may have begun", lease=f"{namespace}/{name}")

    config = Config(lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, started, stopped)
    election = asyncio.create_task(LeaderElection(config).run())
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(finished.wait()), election]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return stop.is_set()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if stop.is_set():
            await lock.release(name, namespace)
        await api_client.close()  # type: ignore[no-untyped-call]
