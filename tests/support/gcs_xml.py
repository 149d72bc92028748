"""What fake-gcs-server lacks: uploads by the XML API, which the client library writes with.

A front of it that takes `PUT /<bucket>/<object>`, with x-goog-if-generation-match, and multipart uploads (Google's
documentation, "XML API > Multipart uploads"), and makes uploads by the JSON API of them. All else is passed on.
"""

from __future__ import annotations

import http.client
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .postgres import HOST

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


class Front(ThreadingHTTPServer):
    """The server; `behind` is the port of fake-gcs-server."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__((HOST, 0), Handler)
        self.behind = behind
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Front

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self.pass_on()

    def do_HEAD(self) -> None:
        self.pass_on()

    def do_DELETE(self) -> None:
        upload = self.query().get("uploadId", [""])[0]
        if upload:
            self.server.uploads.pop(upload, None)
            self.answer(204)
        else:
            self.pass_on()

    def do_POST(self) -> None:
        address, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        _, bucket, name = unquote(address.path).split("/", 2)
        if "uploads" in query:
            upload = f"upload-{next(self.server.numbers)}"
            self.server.uploads[upload] = {}
            self.body()
            self.answer(
                200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        elif "uploadId" in query:
            parts = self.server.uploads.pop(query["uploadId"][0])
            listed = [int(number) for number in re.findall(r"<PartNumber>(\d+)", self.body().decode())]
            content = b"".join(parts[number] for number in listed)
            status = self.upload(bucket, name, content)
            self.answer(status, f"<CompleteMultipartUploadResult><ETag>{name}</ETag></CompleteMultipartUploadResult>")
        else:
            self.pass_on()

    def do_PUT(self) -> None:
        _, bucket, name = unquote(urlsplit(self.path).path).split("/", 2)
        query, content = self.query(), self.body()
        if "uploadId" in query:
            number = int(query["partNumber"][0])
            self.server.uploads[query["uploadId"][0]][number] = content
            self.answer(200, etag=f'"{number}"')
        else:
            self.answer(self.upload(bucket, name, content), etag='"whole"')

    def upload(self, bucket: str, name: str, content: bytes) -> int:
        """An upload by the JSON API; its status."""
        target = f"/upload/storage/v1/b/{quote(bucket)}/o?uploadType=media&name={quote(name, safe='')}"
        if generation := self.headers.get("x-goog-if-generation-match"):
            target += f"&ifGenerationMatch={generation}"
        behind = http.client.HTTPConnection(HOST, self.server.behind, timeout=30)
        try:
            behind.request("POST", target, content, {"Content-Type": "application/octet-stream"})
            return behind.getresponse().status
        finally:
            behind.close()

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def answer(self, status: int, content: str = "", *, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(content.encode())

    def pass_on(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        behind = http.client.HTTPConnection(HOST, self.server.behind, timeout=30)
        try:
            behind.request(self.command, self.path, self.body() or None, headers)
            found = behind.getresponse()
            content = found.read()
        finally:
            behind.close()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in HOP_BY_HOP or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def xml_front(behind: int) -> Iterator[int]:
    """The front's port."""
    front = Front(behind)
    thread = threading.Thread(target=front.serve_forever, name="gcs-xml", daemon=True)
    thread.start()
    try:
        yield int(front.server_address[1])
    finally:
        front.shutdown()
        front.server_close()
        thread.join()
