"""A bucket as a store: of an S3-compatible server, of Google Cloud Storage, of Azure.

Small objects are created with `If-None-Match: *` (Google: `x-goog-if-generation-match: 0`). Large ones go up in parts,
which the client library completes without that condition; what keeps them from overwriting anything is that each
attempt writes into a folder with a random name, and a look before the first part.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.bucket_clients import Bucket, Client
from pgwarden.storage.bucket_errors import bucket_error, was_cut
from pgwarden.storage.layout import join, safe_path
from pgwarden.storage.pipes import Source
from pgwarden.storage.store import ObjectExists, ObjectInfo, Store, object_missing

PART_BYTES = 8 << 20
"""Least size of a part: S3 wants 5 MiB at least, and each part in flight costs its size in memory."""
MOST_PARTS = 10_000
"""S3 allows no more parts in one object."""
UPLOADS_AT_ONCE = 4
PUTS_AT_MOST = 7
"""Of an object whose connections are cut while it is created: as often as the client library sends anything."""
PUT_AGAIN_SECONDS = 0.5
"""At once the first time: mostly it was a connection that had been idle for too long."""
READ_BYTES = 8 << 20
READS_AHEAD = 3
LISTED_AT_ONCE = 1000
"""As many as S3 gives in one answer."""


class BucketStore(Store):
    """Objects are keys below `prefix`."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._opened = bucket
        self._prefix = prefix
        self._credentials = versions(bucket.credential_files)
        self._client = bucket.connect()
        self._accepted = False
        """Whether the server has taken these credentials before."""
        self.name = bucket.name + (f", prefix {prefix}" if prefix else "")

    @classmethod
    def open(cls, bucket: Bucket, prefix: str) -> BucketStore:
        """Raises TaskError: CredentialsMissing, CredentialsUnusable, CertificateNotTrusted."""
        return cls(bucket, join(prefix) if prefix.strip("/") else "")

    @property
    def _bucket(self) -> Client:
        """The client, a new one when somebody has replaced the credentials since the last was made."""
        now = versions(self._opened.credential_files)
        if now != self._credentials:
            self._client, self._credentials, self._accepted = self._opened.connect(), now, False
        return self._client

    def put(self, path: str, content: bytes) -> None:
        """Raises ObjectExists.

        The client library does not send again what creates something when the connection was cut, as nobody knows
        whether the server has got it. Here it is sent again, and what then exists is ours when it is the same.
        """
        key = self._key(path)
        with self._failures(path):
            for repeated in range(PUTS_AT_MOST):
                try:
                    obstore.put(self._bucket, key, content, mode="create")
                    return
                except AlreadyExistsError as error:
                    if repeated and self._holds(key, content):
                        return
                    raise ObjectExists(path) from error
                except BaseError as error:
                    trouble = bucket_error(self.name, path, error)
                    if trouble is not None and trouble.reason == "ObjectLocked":
                        # Only what is there can be held: some servers look at the lock before If-None-Match.
                        raise ObjectExists(path) from error
                    if not was_cut(error) or repeated == PUTS_AT_MOST - 1:
                        raise
                    time.sleep(PUT_AGAIN_SECONDS * repeated)

    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        part_bytes = max(PART_BYTES, -(-at_most // MOST_PARTS))
        source = Source(parts(chunks, part_bytes))
        ahead = list(islice(source, 2))
        if len(ahead) < 2:
            self.put(path, b"".join(ahead))
            return
        if self.head(path) is not None:
            raise ObjectExists(path)
        with self._failures(path, source):
            obstore.put(
                self._bucket,
                self._key(path),
                given_out(ahead, source),
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
                trouble = self._told(bucket_error(self.name, path, error))
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
                    if path <= after:
                        continue  # not every server knows where to begin
                    yield ObjectInfo(path, int(found["size"]), found["last_modified"])

    def folders(self, folder: str) -> set[str]:
        below = self._key(folder) if folder else self._prefix
        with self._failures(folder):
            found = obstore.list_with_delimiter(self._bucket, below or None)["common_prefixes"]
        return {path.rstrip("/").rsplit("/", 1)[-1] for path in found}

    def delete(self, path: str) -> None:
        with self._failures(path):
            try:
                obstore.delete(self._bucket, self._key(path))
            except FileNotFoundError:  # Azure and Google say so; it may be the bucket that does not exist
                self.head(path)

    def keeps_versions(self, path: str) -> bool:
        with self._failures(path):
            version = obstore.head(self._bucket, self._key(path)).get("version")
        return self._opened.tells_versions and version not in (None, "null")

    def _holds(self, key: str, content: bytes) -> bool:
        """Whether an object is there that holds exactly this."""
        return bytes(obstore.get(self._bucket, key).bytes()) == content

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
            raise (self._told(trouble) or object_missing(self, path)) from error
        self._accepted = True

    def _told(self, trouble: TaskError | None) -> TaskError | None:
        """Credentials that were good until now were replaced: the new ones will be here in a moment."""
        if trouble is None or trouble.reason != "StoreCredentialsRejected" or not self._accepted:
            return trouble
        return TaskError(
            trouble.reason,
            f"{trouble.message}; it did until a moment ago",
            remedy="It is tried again by itself. A key that was replaced must stand in the BackupStore's Secret, too.",
            retryable=True,
        )


def versions(files: Sequence[Path]) -> list[tuple[int, int] | None]:
    """What changes when a file is replaced; None for one that cannot be looked at."""
    found: list[tuple[int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns))
    return found


def parts(chunks: Iterable[bytes], part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """`chunks` joined to pieces of at least `part_bytes`, but for the last. None is kept once it is given out."""
    gathered: list[bytes] = []
    size = 0
    for chunk in chunks:
        gathered.append(chunk)
        size += len(chunk)
        if size >= part_bytes:
            gathered, size = [b"".join(gathered)], 0
            yield gathered.pop()
    if size:
        yield b"".join(gathered)


def given_out(ahead: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    """All of `ahead`, which is emptied, then the rest: a part that lies about costs its size in memory."""
    while ahead:
        yield ahead.pop(0)
    yield from rest
