"""What fake-gcs-server lacks: uploads by the XML API, which the client library writes with.

A front of it that takes `PUT /<bucket>/<object>`, with x-goog-if-generation-match, and multipart uploads (Google's
documentation, "XML API > Multipart uploads"), and makes uploads by the JSON API of them. All else is passed on.
"""

from __future__ import annotations

import http.client
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .http_front import FrontHandler, serving
from .postgres import HOST


class Front(ThreadingHTTPServer):
    """The server; `behind` is the port of fake-gcs-server."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__((HOST, 0), Handler)
        self.behind = behind
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count(1)


class Handler(FrontHandler):
    """One connection."""

    server: Front

    def behind(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.server.behind, timeout=30)

    def get(self) -> None:
        self.pass_on(self.body())

    def delete(self) -> None:
        upload = self.query().get("uploadId", [""])[0]
        if upload:
            self.server.uploads.pop(upload, None)
            self.answer(204)
        else:
            self.pass_on(self.body())

    def post(self) -> None:
        _, bucket, name = unquote(urlsplit(self.path).path).split("/", 2)
        query = self.query()
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
            self.pass_on(self.body())

    def put(self) -> None:
        _, bucket, name = unquote(urlsplit(self.path).path).split("/", 2)
        query, content = self.query(), self.body()
        if "uploadId" in query:
            number = int(query["partNumber"][0])
            self.server.uploads[query["uploadId"][0]][number] = content
            self.answer(200, etag=f'"{number}"')
        else:
            self.answer(self.upload(bucket, name, content), etag='"whole"')

    do_GET = do_HEAD = get  # noqa: N815 - names that http.server looks for
    do_DELETE, do_POST, do_PUT = delete, post, put  # noqa: N815

    def upload(self, bucket: str, name: str, content: bytes) -> int:
        """An upload by the JSON API; its status."""
        target = f"/upload/storage/v1/b/{quote(bucket)}/o?uploadType=media&name={quote(name, safe='')}"
        if generation := self.headers.get("x-goog-if-generation-match"):
            target += f"&ifGenerationMatch={generation}"
        behind = self.behind()
        try:
            behind.request("POST", target, content, {"Content-Type": "application/octet-stream"})
            return behind.getresponse().status
        finally:
            behind.close()

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)


@contextmanager
def xml_front(behind: int) -> Iterator[int]:
    """The front's port."""
    with serving(Front(behind)) as front:
        yield int(front.server_address[1])
