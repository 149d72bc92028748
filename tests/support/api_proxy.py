"""A proxy between an operator and the API server: counts what passes, ends connections, and tells of each write.

    with api_proxy(kubeconfig) as proxy:
        proxy.kubeconfig(path)                 # a kubeconfig that leads through it
        proxy.after_write = lambda request: True   # forwarded and answered, but the answer is thrown away
        proxy.refuse(); proxy.accept(); proxy.cut_watches()

It speaks plain HTTP on loopback, and to the API server with the kubeconfig's own certificates.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml
from aiohttp import web

T = TypeVar("T")

READS = frozenset({"GET", "HEAD", "OPTIONS"})
HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """One request that the API server has answered."""

    method: str
    path: str
    query: str
    status: int

    @property
    def writes(self) -> bool:
        """Whether it changed something, by its answer; the Lease, which is written all the time, does not count."""
        return self.method not in READS and self.status < 300 and "/leases" not in self.path


class ApiProxy:
    """The proxy, in a thread with a loop of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        self.server, self.tls = upstream(kubeconfig)
        self.requests: list[Request] = []
        self.after_write: Callable[[Request], bool] | None = None
        """Asked after each write, before its answer goes back; True throws the answer and the connection away."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy", daemon=True)
        self._watches: set[asyncio.Transport] = set()

    def kubeconfig(self, path: Path) -> Path:
        """Writes a kubeconfig that leads here."""
        cluster = {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
        user = {"name": "proxy", "user": {}}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [cluster],
                    "users": [user],
                    "contexts": [context],
                    "current-context": "proxy",
                }
            )
        )
        return path

    def writes(self) -> list[Request]:
        """All writes so far."""
        return [request for request in self.requests if request.writes]

    def refuse(self) -> None:
        """Ends all connections and takes no new ones."""
        self._do(self._stop_listening())

    def accept(self) -> None:
        """Takes connections again, on the same port."""
        self._do(self._listen())

    def cut_watches(self) -> int:
        """Ends the connections of all watches, as a load balancer does; returns how many there were."""

        async def cut() -> int:
            count = len(self._watches)
            for transport in list(self._watches):
                transport.abort()
            return count

        return self._do(cut())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def start(self) -> None:
        self._thread.start()
        self._do(self._prepare())

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()

    async def _prepare(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self.tls)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=1.0, handle_signals=False, handler_cancellation=True
        )
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop_listening(self) -> None:
        await self._site.stop()
        server = self._runner.server
        assert server is not None
        for connection in list(server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _end(self) -> None:
        await self._stop_listening()
        await self._runner.cleanup()
        await self._session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # TLS connections close a moment after their session (aiohttp documentation, "Graceful Shutdown").
        await asyncio.sleep(0.25)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = await request.read()
        url = self.server + request.raw_path
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, auto_decompress=False
        ) as answer:
            told = Request(request.method, request.path, request.query_string, answer.status)
            self.requests.append(told)
            if told.writes and self.after_write is not None and self.after_write(told):
                abort(request)
            return await self._relay(request, answer)

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        transport = request.transport
        watching = request.query.get("watch") in ("true", "1") and isinstance(transport, asyncio.Transport)
        try:
            if watching and isinstance(transport, asyncio.Transport):
                self._watches.add(transport)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        except (OSError, aiohttp.ClientError):
            abort(request)
        finally:
            if isinstance(transport, asyncio.Transport):
                self._watches.discard(transport)
        return response


def abort(request: web.Request) -> None:
    """Ends the connection a request came by, without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


def upstream(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Address of the API server of the current context, and the TLS settings its user has."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = named(config["contexts"], config["current-context"])["context"]
    cluster = named(config["clusters"], context["cluster"])["cluster"]
    user = named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=material(cluster, "certificate-authority").decode())
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        certificate.write_bytes(material(user, "client-certificate"))
        key.write_bytes(material(user, "client-key"))
        tls.load_cert_chain(certificate, key)
    return cluster["server"], tls


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def material(holder: dict[str, Any], name: str) -> bytes:
    """What a kubeconfig holds in place, or in a file it names."""
    if f"{name}-data" in holder:
        return base64.b64decode(holder[f"{name}-data"])
    return Path(holder[name]).read_bytes()


@contextmanager
def api_proxy(kubeconfig: Path) -> Iterator[ApiProxy]:
    """A proxy in front of the API server that the kubeconfig leads to."""
    proxy = ApiProxy(kubeconfig)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
