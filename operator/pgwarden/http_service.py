"""A small HTTP server in a thread: documents, metrics and probes of processes that are no operator."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How long a client may take over its request.
CLIENT_SECONDS = 10.0

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class DualStackServer(ThreadingHTTPServer):
    """Listens on IPv6 and IPv4, whichever the pod's address is of."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        dual = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if dual else socket.AF_INET
        super().__init__(("::" if dual else "", port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(port: int, answer: Callable[[str], Answer | None]) -> DualStackServer:
    """Answers GET requests by their path, None is 404; the caller calls `shutdown` of what it gets."""

    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:
            status, content_type, body = answer(self.path) or (404, "text/plain", b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    server = DualStackServer(port, Handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
