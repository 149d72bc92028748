"""A proxy in front of an S3 server that does what networks and servers do on bad days.

    with s3_faults(s3) as proxy:
        store = proxy.location(s3.location(bucket))
        proxy.fault = lambda request: 503 if request.method == "PUT" else None

It ends TLS with the server's own certificate and speaks TLS to the server, so that clients notice nothing.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer

from pgwarden.jobs.files import StoreLocation

from .http_front import FrontHandler, serving
from .postgres import HOST
from .s3 import S3Server

CUT = -1
"""A fault: the connection ends in the middle of the request's body."""
UNANSWERED = -2
"""A fault: the server does what it is asked for, and the connection ends before it can say so."""
CODES = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 507: "InsufficientStorage"}


@dataclass(frozen=True)
class Request:
    """One request, before it is passed on."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    """By names in small letters."""


class Proxy(ThreadingHTTPServer):
    """The server; `fault` says what happens to a request.

    It is an HTTP status, CUT, UNANSWERED, seconds to wait (a float), or None.
    """

    daemon_threads = True

    def __init__(self, server: S3Server, *, secure: bool = True) -> None:
        super().__init__((HOST, 0), Handler)
        self.behind = server
        self.fault: Callable[[Request], int | float | None] = lambda _request: None
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.secure = secure
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(server.tls.certificate, server.tls.key)
            # The handshake belongs to the thread of the connection, not to the one that accepts.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.trusted = ssl.create_default_context(cafile=str(server.tls.authority))

    def location(self, direct: StoreLocation) -> StoreLocation:
        """The same store, by way of here."""
        assert direct.s3
        endpoint = f"http{'s' if self.secure else ''}://localhost:{self.server_address[1]}"
        return direct.model_copy(update={"s3": direct.s3.model_copy(update={"endpoint": endpoint})})

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are what this is for."""


class Handler(FrontHandler):
    """One connection."""

    server: Proxy

    def behind(self) -> http.client.HTTPConnection:
        server = self.server
        return http.client.HTTPSConnection(HOST, server.behind.port, timeout=60, context=server.trusted)

    def do(self) -> None:
        with self.server.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(len(self.server.requests), self.command, self.path, headers)
            self.server.requests.append(request)
        fault = self.server.fault(request)
        length = int(self.headers.get("content-length", "0"))
        if fault == CUT:
            self.rfile.read(length // 2)
            self.cut()
            return
        content = self.rfile.read(length)
        if fault == UNANSWERED:
            self.ask(content)
            self.cut()
            return
        if isinstance(fault, float):
            time.sleep(fault)
        elif isinstance(fault, int):
            self.answer(fault, f"<Error><Code>{CODES[fault]}</Code><Message>on purpose</Message></Error>")
            return
        self.pass_on(content)

    def cut(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do  # noqa: N815 - names that http.server looks for


@contextmanager
def s3_faults(server: S3Server, *, secure: bool = True) -> Iterator[Proxy]:
    """A proxy in front of the server, without faults to begin with; speaks plain HTTP unless it is to be `secure`."""
    with serving(Proxy(server, secure=secure)) as proxy:
        yield proxy
