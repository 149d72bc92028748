"""The Lease: one operator works, the others stand by. The official client's leader election, with time limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from pgwarden.kube.client import Body, KubeClient, KubeError
from pgwarden.kube.types import LEASES

# A leader that cannot renew gives up before the lease runs out for the others: it waits RETRY_SECONDS, tries for
# RENEW_SECONDS, and its last try may still spend two requests (read, write).
LEASE_SECONDS = 15
RENEW_SECONDS = 6
RETRY_SECONDS = 2
# A standby asks more often than a leader renews: what it waits, nobody works.
ASK_SECONDS = 1.0
REQUEST_SECONDS = 2.0
# What is left until then is for ending what is under way.
END_SECONDS = 3.0

log = structlog.get_logger()


class LeaseLock(BaseLock):
    """The official election's lock, kept in a Lease through our own client.

    The client's own LeaseLock cannot create a Lease (version 37 sends `pretty` as a boolean and refuses that itself),
    and its requests may hang for minutes: a leader would believe in its lease after it ran out.
    """

    def __init__(self, client: KubeClient, name: str, namespace: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self.client = client
        self._lease: Body | None = None

    async def get(self, name: str, namespace: str) -> Any:
        """(True, record), or (False, an exception with the status as its body)."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                self._lease = await self.client.get(LEASES, namespace, name)
        except (TimeoutError, KubeError) as error:
            return False, Unanswered(str(error) or "no answer", body=None)
        if self._lease is None:
            return False, Unanswered("there is no Lease yet", body='{"code": 404}')
        spec = self._lease.get("spec") or {}
        holder, duration = spec.get("holderIdentity") or None, spec.get("leaseDurationSeconds")
        return True, LeaderElectionRecord(holder, duration, spec.get("acquireTime"), spec.get("renewTime"))

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        lease = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": lease_spec(election_record, transitions=0),
        }
        return await self._write(self.client.create(LEASES, namespace, lease))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        if self._lease is None:
            return False
        before = self._lease.get("spec") or {}
        changes_hands = before.get("holderIdentity") != updated_record.holder_identity
        transitions = (before.get("leaseTransitions") or 0) + int(changes_hands)
        lease = {**self._lease, "spec": lease_spec(updated_record, transitions=transitions)}
        return await self._write(self.client.update(LEASES, namespace, lease))

    async def release(self) -> None:
        """Gives the lease up, so that a standby need not wait for it to run out."""
        # A renewal that was under way would make the version we read an old one.
        with suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                await self.client.settled()
        found, record = await self.get(self.name, self.namespace)
        if found and record.holder_identity == self.identity and self._lease is not None:
            lease = {**self._lease, "spec": {**self._lease["spec"], "holderIdentity": None}}
            await self._write(self.client.update(LEASES, self.namespace, lease))

    async def _write(self, request: Coroutine[Any, Any, Body]) -> bool:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                self._lease = await request
        except (TimeoutError, KubeError) as error:
            log.warning("the Lease could not be written", error=str(error) or "no answer")
            return False
        return True


def lease_spec(record: LeaderElectionRecord, *, transitions: int) -> Body:
    """coordination.k8s.io/v1 LeaseSpec."""
    return {
        "holderIdentity": record.holder_identity,
        "leaseDurationSeconds": LEASE_SECONDS,
        "acquireTime": micro_time(record.acquire_time),
        "renewTime": micro_time(record.renew_time),
        "leaseTransitions": transitions,
    }


def micro_time(text: str | None) -> str:
    """The election's local time, or a time read from a Lease, as metav1.MicroTime."""
    moment = datetime.fromisoformat(text) if text else datetime.now(UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Election(LeaderElection):
    """The official election, in which a standby asks every ASK_SECONDS."""

    async def acquire(self) -> bool:
        while True:
            if await self.try_acquire_or_renew():
                return True
            await asyncio.sleep(ASK_SECONDS)


class Unanswered(ApiException):
    """Stands where the election expects the client's exception: `body` is what it looks for the code in."""

    def __init__(self, reason: str, *, body: str | None) -> None:
        super().__init__(reason=reason)
        self.body = body


async def lead(
    client: KubeClient,
    *,
    name: str,
    namespace: str,
    identity: str,
    work: Callable[[], Coroutine[Any, Any, None]],
    stop: asyncio.Event,
) -> bool:
    """Waits for the lease, then does `work` for as long as it is held.

    Returns True when `stop` was set (the lease is given up), False when the lease was lost or `work` ended: the
    process must end then, because another one may have begun.
    """
    lock = LeaseLock(client, name, namespace, identity)
    finished = asyncio.Event()
    at_work: list[asyncio.Task[None]] = []

    async def started() -> None:
        at_work.append(asyncio.create_task(work()))
        try:
            await asyncio.shield(at_work[0])
        except Exception:
            log.exception("the operator's work broke; ending, to begin afresh")
        finally:
            finished.set()

    async def stopped() -> None:
        log.error("the lease is lost; ending, because another operator may have begun", lease=f"{namespace}/{name}")

    config = Config(lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, started, stopped)
    election = asyncio.create_task(Election(config).run())
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(finished.wait()), election]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if election.done() and election.exception() is not None:
            log.error("the election broke", exc_info=election.exception())
        return stop.is_set()
    finally:
        ended = await end(at_work)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if ended:
            await lock.release()


async def end(tasks: list[asyncio.Task[None]]) -> bool:
    """Cancels the work and waits until it has ended; False when it does not, and another one must not begin yet."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return True
    done, running = await asyncio.wait(tasks, timeout=END_SECONDS)
    await asyncio.gather(*done, return_exceptions=True)
    if running:
        log.warning("the work did not end in time; the lease is left to run out")
    return not running
