"""The way of a backup's bytes into the store: batched, and compressed while the next ones are read.

The caller's thread reads from the server and hands over batches; another thread compresses, encrypts and uploads them.
When it falls behind, a short queue fills up and the caller waits: memory stays flat. One object is packed at a time,
but the next one begins while the last parts of the one before are on their way and the store puts that one together.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pgwarden.storage.layout import join
from pgwarden.storage.objects import Packing, Written, write_object
from pgwarden.storage.store import Store

BATCH_BYTES = 1 << 20
"""Small files are handed over together."""
QUEUED_BATCHES = 8
OBJECTS_AT_ONCE = 2
WAIT_SECONDS = 0.5


class UploadAbandoned(Exception):
    """Raised inside an upload to end it without an object; never seen by callers."""


class ObjectUpload:
    """One object on its way."""

    def __init__(
        self, path: str, idle: Callable[[], None], abandoned: threading.Event, before: threading.Event | None
    ) -> None:
        self.path = path
        self.pulled = threading.Event()
        """Set when the uploading thread has pulled all batches, or has given up."""
        self.future: Future[Written]
        self.size = 0
        self._idle = idle
        self._abandoned = abandoned
        self._before = before
        self._batch: list[bytes | memoryview] = []
        self._batched = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUED_BATCHES)

    def write(self, data: bytes | memoryview) -> None:
        """Takes the next plain bytes. Raises what the upload raised, and what `idle` raises while waiting."""
        self._batch.append(data)
        self._batched += len(data)
        self.size += len(data)
        if self._batched >= BATCH_BYTES:
            self._hand_over()

    def close(self) -> None:
        """No more bytes will come; the result is in `future`, some time later."""
        if self._batch:
            self._hand_over()
        self._put(None)

    def batches(self) -> Iterator[bytes]:
        """What the uploading thread pulls, after all of the object before. Raises UploadAbandoned."""
        while self._before is not None and not self._before.wait(WAIT_SECONDS):
            if self._abandoned.is_set():
                raise UploadAbandoned
        while True:
            try:
                batch = self._queue.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                if self._abandoned.is_set():
                    raise UploadAbandoned from None
                continue
            if self._abandoned.is_set():
                raise UploadAbandoned
            if batch is None:
                self.pulled.set()
                return
            yield batch

    def _hand_over(self) -> None:
        self._put(b"".join(self._batch))  # one piece of bytes by itself is not copied
        self._batch, self._batched = [], 0

    def _put(self, batch: bytes | None) -> None:
        while True:
            if self.future.done():
                self.future.result()
            try:
                self._queue.put(batch, timeout=WAIT_SECONDS)
            except queue.Full:
                self._idle()
                continue
            return


class Uploads:
    """All objects of one attempt. Leaving the block by an exception abandons what is on its way."""

    def __init__(self, store: Store, location: str, packing: Packing, idle: Callable[[], None]) -> None:
        self._store = store
        self._location = location
        self._packing = packing
        self._idle = idle
        self._abandoned = threading.Event()
        self._pool = ThreadPoolExecutor(OBJECTS_AT_ONCE, "upload")
        self._begun: list[ObjectUpload] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandoned.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, path: str, *, at_most: int, hash_plain: bool, packing: Packing | None = None) -> ObjectUpload:
        """Begins the object `path` (inside the backup's folder) of `at_most` plain bytes, packed as all are or its own
        way.

        Raises what an earlier upload raised: nothing more is sent once one of them has failed.
        """
        for earlier in self._begun:
            if earlier.future.done():
                earlier.future.result()
        before = self._begun[-1].pulled if self._begun else None
        upload = ObjectUpload(path, self._idle, self._abandoned, before)
        target = join(self._location, path)
        upload.future = self._pool.submit(
            write_object,
            self._store,
            target,
            upload.batches(),
            packing or self._packing,
            plain_at_most=at_most,
            hash_plain=hash_plain,
        )
        upload.future.add_done_callback(lambda _: upload.pulled.set())
        self._begun.append(upload)
        return upload
