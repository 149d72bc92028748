"""An HTTP server on loopback that answers as a test says: what the operator's client sends and hears is real HTTP.

    async with loopback(answer) as api:
        client = api.client()

For how the operator takes refusals, broken connections and silence, which a real API server does not give on demand;
what it accepts is tested against a real one (tests/integration/kube, tests/e2e).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from pgwarden.kube.client import KubeClient

HANG_UP = 0
"""As a status: the connection is closed without an answer."""


@dataclass(frozen=True)
class Asked:
    """One request: its body is JSON, or None."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None


Answer = tuple[int, Any]
"""Status, and what is sent: text as it is, everything else as JSON."""


@dataclass
class Loopback:
    """A server that is up."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    clients: list[KubeClient] = field(default_factory=list)

    def client(self) -> KubeClient:
        """A client of the operator's that speaks to it; closed with the server."""
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{self.port}"
        self.clients.append(KubeClient(configuration, requests_per_second=10_000))
        return self.clients[-1]


def refusal(status: int, reason: str, message: str = "") -> Answer:
    """A metav1.Status."""
    return status, {"kind": "Status", "code": status, "reason": reason, "message": message or reason}


@asynccontextmanager
async def loopback(answer: Callable[[Asked], Answer | Awaitable[Answer]]) -> AsyncIterator[Loopback]:
    """A server on a free port; `answer` is asked for each request."""
    server = Loopback()

    async def handle(request: web.Request) -> web.StreamResponse:
        text = await request.text()
        asked = Asked(request.method, request.path, dict(request.query), json.loads(text) if text else None)
        server.asked.append(asked)
        answered = answer(asked)
        status, sent = await answered if isinstance(answered, Awaitable) else answered
        if status == HANG_UP:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return (
            web.Response(text=sent, status=status) if isinstance(sent, str) else web.json_response(sent, status=status)
        )

    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", handle)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        for client in server.clients:
            await client.close()
        await runner.cleanup()
