"""The operator's HTTP port: /healthz, /readyz and /metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

LEADING = Gauge("pgwarden_operator_leading", "1 while this process holds the Lease.")
STALE_SECONDS = 60.0


@dataclass
class Health:
    """What the probes ask. `beat` is called by the process's main loop as long as it turns."""

    started: bool = False
    leading: bool = False
    watching: bool = False
    """Whether the first lists have been read."""
    last_beat: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        self.last_beat = time.monotonic()

    @property
    def alive(self) -> bool:
        return time.monotonic() - self.last_beat < STALE_SECONDS

    @property
    def ready(self) -> bool:
        """A standby is ready: it is what it should be."""
        return self.started and self.alive and (not self.leading or self.watching)


async def serve(health: Health, port: int) -> web.AppRunner:
    """Starts the server; the caller cleans the runner up."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n", status=200 if health.alive else 503)

    async def readyz(_: web.Request) -> web.Response:
        state = "leading" if health.leading else "standing by"
        return web.Response(text=f"{state}\n", status=200 if health.ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        LEADING.set(1 if health.leading else 0)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
