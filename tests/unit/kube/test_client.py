"""Writes of a caller that is cancelled: they come to their end, and the end can be waited for."""

from __future__ import annotations

import asyncio

from pgwarden.kube.types import BACKUP_STORES, JOBS
from tests.support.loopback import Answer, Asked, loopback


async def test_a_write_in_flight_outlives_its_caller_and_is_waited_for() -> None:
    begun, let_go, done = asyncio.Event(), asyncio.Event(), []

    async def answer(asked: Asked) -> Answer:
        begun.set()
        await let_go.wait()
        done.append(asked.method)
        return 200, {}

    async with loopback(answer) as api:
        client = api.client()
        writing = asyncio.create_task(client.merge_status(BACKUP_STORES, "shop", "claims", {"status": {}}))
        await begun.wait()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        settling = asyncio.create_task(client.settled())
        await asyncio.sleep(0)
        assert (settling.done(), done) == (False, [])
        let_go.set()
        async with asyncio.timeout(10):
            await settling
        assert done == ["PATCH"]


async def test_what_only_reads_is_not_waited_for() -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def answer(_: Asked) -> Answer:
        begun.set()
        await never.wait()
        return 200, {}

    async with loopback(answer) as api:
        client = api.client()
        reading = asyncio.create_task(client.get(JOBS, "shop", "job"))
        await begun.wait()
        async with asyncio.timeout(1):
            await client.settled()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        never.set()
