"""What probes and Prometheus hear from the operator's port, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgwarden.kube.health import STALE_SECONDS, Health, serve
from tests.support.operator_process import free_port

Ask = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture
def health() -> Health:
    return Health(started=True)


@pytest.fixture
async def ask(health: Health) -> AsyncIterator[Ask]:
    port = free_port()
    server = await serve(health, port)
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        yield get
    await server.cleanup()


@pytest.mark.parametrize(
    ("leading", "watching", "status", "text"),
    [
        (False, False, 200, "standing by\n"),
        # It leads, and has not read the first lists.
        (True, False, 503, "leading\n"),
        (True, True, 200, "leading\n"),
    ],
)
async def test_readiness_is_being_what_it_should_be(
    health: Health, ask: Ask, leading: bool, watching: bool, status: int, text: str
) -> None:
    health.leading, health.watching = leading, watching
    assert await ask("/readyz") == (status, text)


async def test_before_it_has_started_it_is_not_ready(health: Health, ask: Ask) -> None:
    health.started = False
    assert (await ask("/readyz"))[0] == 503


async def test_a_loop_that_does_not_turn_is_neither_alive_nor_ready(health: Health, ask: Ask) -> None:
    assert await ask("/healthz") == (200, "ok\n")
    health.last_beat -= STALE_SECONDS + 1
    assert (await ask("/healthz"))[0] == 503
    assert (await ask("/readyz"))[0] == 503
    health.beat()
    assert (await ask("/healthz"))[0] == 200


@pytest.mark.parametrize("leading", [True, False])
async def test_metrics_tell_who_leads(health: Health, ask: Ask, leading: bool) -> None:
    health.leading = leading
    status, text = await ask("/metrics")
    samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert (status, samples["pgwarden_operator_leading"]) == (200, float(leading))
    assert "pgwarden_operator_queue_depth" in samples


async def test_there_is_nothing_else(ask: Ask) -> None:
    assert (await ask("/"))[0] == 404
