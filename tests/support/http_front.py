"""An HTTP server in front of another one: what it does not answer itself, it passes on.

class Handler(FrontHandler):
    def behind(self) -> http.client.HTTPConnection: ...
    def do_GET(self) -> None:
        self.pass_on(self.body())

with serving(ThreadingHTTPServer((HOST, 0), Handler)) as front:
    front.server_address[1]
"""

from __future__ import annotations

import http.client
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}

Front = TypeVar("Front", bound=ThreadingHTTPServer)


class FrontHandler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"

    @abstractmethod
    def behind(self) -> http.client.HTTPConnection:
        """A new connection to the server behind."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def body(self) -> bytes:
        """All of the request's body."""
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def answer(self, status: int, content: str = "", *, etag: str = "") -> None:
        """An answer of our own."""
        encoded = content.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)

    def ask(self, content: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """What the server behind says to this request with that body."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        behind = self.behind()
        try:
            behind.request(self.command, self.path, content or None, headers)
            found = behind.getresponse()
            return found, found.read()
        finally:
            behind.close()

    def pass_on(self, content: bytes) -> None:
        """The answer of the server behind to this request with that body."""
        found, answer = self.ask(content)
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in HOP_BY_HOP or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextmanager
def serving(server: Front) -> Iterator[Front]:
    """The server at work, until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, name=type(server).__name__, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
