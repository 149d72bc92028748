"""A bucket of an S3-compatible server as a store.

Small objects are created with `If-None-Match: *`. Large ones go up in parts, which the client library completes
without that condition; what keeps them from overwriting anything is that each attempt writes into a folder with a
random name, and a look before the first part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import S3Location
from pgwarden.storage.bucket_errors import bucket_error, certificate_not_trusted
from pgwarden.storage.layout import join, safe_path
from pgwarden.storage.pipes import Source
from pgwarden.storage.secrets import read_credential
from pgwarden.storage.store import ObjectExists, ObjectInfo, Store, object_missing

PART_BYTES = 8 << 20
"""Least size of a part: S3 wants 5 MiB at least, and each part in flight costs its size in memory."""
MOST_PARTS = 10_000
"""S3 allows no more parts in one object."""
UPLOADS_AT_ONCE = 4
READ_BYTES = 8 << 20
READS_AHEAD = 3
LISTED_AT_ONCE = 1000
"""As many as S3 gives in one answer."""
CLIENT_OPTIONS = {"connect_timeout": "5s", "timeout": "120s"}
RETRIES: dict[str, object] = {"max_retries": 6, "retry_timeout": timedelta(minutes=2)}


class BucketStore(Store):
    """Objects are keys below `prefix`."""

    def __init__(self, bucket: S3Store, prefix: str, name: str) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self.name = name

    @classmethod
    def open(cls, location: S3Location, prefix: str) -> BucketStore:
        """Raises TaskError: CredentialsMissing, CertificateNotTrusted, StoreMisconfigured."""
        folder = join(prefix) if prefix.strip("/") else ""
        address = urlsplit(location.endpoint)
        name = f"bucket {location.bucket} at {location.endpoint}" + (f", prefix {folder}" if folder else "")
        if address.scheme not in ("http", "https") or not address.hostname:
            raise TaskError(
                "StoreMisconfigured",
                f"the endpoint {location.endpoint!r} is not an http or https address",
                remedy="Write the endpoint in the BackupStore as https://host or https://host:port.",
            )
        secure = address.scheme == "https"
        options: dict[str, object] = {**CLIENT_OPTIONS, "allow_http": not secure}
        if location.ca_file is not None:
            options["root_certificate"] = _authorities(Path(location.ca_file), name)
        arguments: dict[str, object] = {
            "endpoint": endpoint_url(address, location),
            "region": location.region,
            "virtual_hosted_style_request": not location.path_style,
            "access_key_id": read_credential(Path(location.access_key_id_file)),
            "secret_access_key": read_credential(Path(location.secret_access_key_file)),
            # TLS protects what is sent, so that it need not be hashed once more for the signature.
            "unsigned_payload": secure,
            "client_options": options,
            "retry_config": RETRIES,
        }
        return cls(S3Store(location.bucket, **arguments), folder, name)  # type: ignore[arg-type]

    def put(self, path: str, content: bytes) -> None:
        key = self._key(path)
        with self._failures(path):
            try:
                obstore.put(self._bucket, key, content, mode="create")
            except AlreadyExistsError as error:
                raise ObjectExists(path) from error

    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        part_bytes = max(PART_BYTES, -(-at_most // MOST_PARTS))
        source = Source(parts(chunks, part_bytes))
        first = next(source, b"")
        second = next(source, None)
        if second is None:
            self.put(path, first)
            return
        if self.head(path) is not None:
            raise ObjectExists(path)
        with self._failures(path, source):
            obstore.put(
                self._bucket,
                self._key(path),
                chain((first, second), source),
                use_multipart=True,
                chunk_size=part_bytes,
                max_concurrency=UPLOADS_AT_ONCE,
            )

    def read(self, path: str) -> Iterator[bytes]:
        info = self.head(path)
        if info is None:
            raise object_missing(self, path)
        starts = iter(range(0, info.size, READ_BYTES))
        with ThreadPoolExecutor(READS_AHEAD, "read") as pool:
            ahead: deque[Future[bytes]] = deque()

            def fetch_next() -> None:
                for start in starts:
                    ahead.append(pool.submit(self.read_range, path, start, min(READ_BYTES, info.size - start)))
                    return

            for _ in range(READS_AHEAD):
                fetch_next()
            try:
                while ahead:
                    chunk = ahead.popleft().result()
                    fetch_next()
                    yield chunk
            finally:
                for future in ahead:
                    future.cancel()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self._failures(path):
            if length <= 0:
                return b""
            try:
                return bytes(obstore.get_range(self._bucket, self._key(path), start=start, length=length))
            except BaseError as error:
                if "InvalidRange" in str(error):
                    return b""
                raise

    def head(self, path: str) -> ObjectInfo | None:
        key = self._key(path)
        try:
            found = obstore.head(self._bucket, key)
        except (BaseError, FileNotFoundError):
            # The answer to HEAD has no body and so does not tell why (no such object? bucket? user?); that to GET does.
            try:
                found = obstore.get(self._bucket, key).meta
            except (BaseError, OSError) as error:
                trouble = bucket_error(self.name, path, error)
                if trouble is None:
                    return None
                raise trouble from error
        return ObjectInfo(path, int(found["size"]))

    def list(self, folder: str, *, after: str = "") -> Iterator[ObjectInfo]:
        below = self._key(folder) if folder else self._prefix
        offset = self._key(after) if after else None
        with self._failures(folder):
            for batch in obstore.list(self._bucket, below or None, offset=offset, chunk_size=LISTED_AT_ONCE):
                for found in batch:
                    path = found["path"].removeprefix(f"{self._prefix}/")
                    yield ObjectInfo(path, int(found["size"]), found["last_modified"])

    def folders(self, folder: str) -> set[str]:
        below = self._key(folder) if folder else self._prefix
        with self._failures(folder):
            found = obstore.list_with_delimiter(self._bucket, below or None)["common_prefixes"]
        return {path.rstrip("/").rsplit("/", 1)[-1] for path in found}

    def delete(self, path: str) -> None:
        with self._failures(path):
            obstore.delete(self._bucket, self._key(path))

    def _key(self, path: str) -> str:
        return join(self._prefix, safe_path(path))

    @contextmanager
    def _failures(self, path: str, source: Source | None = None) -> Iterator[None]:
        """Turns the client library's errors into TaskErrors; those of `source` pass through."""
        try:
            yield
        except (BaseError, OSError) as error:
            if source is not None:
                source.raise_own_error()
            trouble = bucket_error(self.name, path, error)
            raise (trouble or object_missing(self, path)) from error


def endpoint_url(address: SplitResult, location: S3Location) -> str:
    """The endpoint as the client library wants it: with the bucket in its host name for virtual-host style."""
    if location.path_style:
        return location.endpoint
    return address._replace(netloc=f"{location.bucket}.{address.netloc}").geturl()


def _authorities(path: Path, store: str) -> bytes:
    """The certificates in a PEM file. Raises TaskError with reason CertificateNotTrusted when there are none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise certificate_not_trusted(store, f"the CA file {path} cannot be read ({type(error).__name__})") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise certificate_not_trusted(store, f"the CA file {path} holds no certificate in PEM form")
    return content


def parts(chunks: Iterable[bytes], part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """`chunks` joined to pieces of at least `part_bytes`, but for the last."""
    gathered: list[bytes] = []
    size = 0
    for chunk in chunks:
        gathered.append(chunk)
        size += len(chunk)
        if size >= part_bytes:
            yield b"".join(gathered)
            gathered, size = [], 0
    if size:
        yield b"".join(gathered)
