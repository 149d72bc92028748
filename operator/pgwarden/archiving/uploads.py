"""Uploads in the background: several at a time, tried until they succeed, acknowledged in the order of the WAL."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from pgwarden.archiving.packing import Packer, Parcel
from pgwarden.archiving.writer import ArchiveWriter, Piece
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.store import ObjectExists, Store, open_store

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
CONFLICT = "ArchiveConflict"

log = structlog.get_logger()


@dataclass
class _Upload:
    """One piece of work; WAL has a parcel, small objects have none."""

    run: Callable[[Store], int]
    """Returns the stored bytes."""
    parcel: Parcel | None = None
    done: bool = False
    tries_left: int | None = None
    """None: until it succeeds."""


@dataclass
class UploadCounts:
    """What was stored since the start of the process."""

    segments: int = 0
    stored_bytes: int = 0


@dataclass
class Uploads:
    """A few threads that upload; they end with the process and are never waited for longer than told."""

    location: StoreLocation
    writer: ArchiveWriter
    threads: int
    counts: UploadCounts = field(default_factory=UploadCounts)
    trouble: TaskError | None = None
    """Why the store takes nothing at this moment."""
    conflict: TaskError | None = None

    def __post_init__(self) -> None:
        self._queue: queue.SimpleQueue[_Upload] = queue.SimpleQueue()
        self._wal: deque[_Upload] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._store: Store | None = None
        self._unfinished = 0
        self._pending = 0
        self._packer = Packer(self.writer)
        for number in range(self.threads):
            threading.Thread(target=self._work, name=f"upload-{number}", daemon=True).start()

    def submit(self, piece: Piece) -> None:
        """Uploads WAL. Pieces are submitted in order."""
        parcel = Parcel(piece, self._packer)
        upload = _Upload(lambda store: self.writer.write(store, parcel.packed()), parcel)
        with self._changed:
            self._wal.append(upload)
            self._pending += piece.end - piece.start
        self._begin(upload)

    def put(self, path: str, content: bytes) -> None:
        """Creates a small object; one that is there stays as it is."""

        def run(store: Store) -> int:
            with suppress(ObjectExists):
                store.put(path, content)
            return 0

        self._begin(_Upload(run))

    def delete(self, paths: list[str]) -> None:
        """Deletes objects that are not needed any more; when the store refuses, they stay."""

        def run(store: Store) -> int:
            for path in paths:
                store.delete(path)
            return 0

        if paths:
            self._begin(_Upload(run, tries_left=3))

    def acknowledged(self) -> list[Piece]:
        """Pieces that are stored, and all that were submitted before them, since this was last asked.

        Raises TaskError with reason ArchiveConflict.
        """
        pieces = []
        with self._changed:
            if self.conflict is not None:
                raise self.conflict
            while self._wal and self._wal[0].done:
                parcel = self._wal.popleft().parcel
                if parcel is not None:
                    self._pending -= parcel.piece.end - parcel.piece.start
                    pieces.append(parcel.piece)
        return pieces

    @property
    def pending_bytes(self) -> int:
        """WAL that is submitted and not acknowledged. It takes less memory than that: most of it is packed already."""
        return self._pending

    @property
    def idle(self) -> bool:
        """Whether all WAL that was submitted has been told by `acknowledged`."""
        with self._changed:
            return not self._wal

    @property
    def at_rest(self) -> bool:
        """Whether nothing is being done or waits, small objects included."""
        with self._changed:
            return not self._wal and self._unfinished == 0

    def wait(self, seconds: float) -> None:
        """Until something has changed, at most so long."""
        with self._changed:
            if self.conflict is None and not (self._wal and self._wal[0].done):
                self._changed.wait(seconds)

    def stop(self) -> None:
        """No work is begun or tried again from now on."""
        self._stopped.set()

    def _begin(self, upload: _Upload) -> None:
        with self._changed:
            self._unfinished += 1
        self._queue.put(upload)

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                upload = self._queue.get(timeout=1)
            except queue.Empty:
                continue
            try:
                self._try(upload)
            finally:
                with self._changed:
                    self._unfinished -= 1
                    self._changed.notify_all()

    def _try(self, upload: _Upload) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                stored = upload.run(self._opened())
            except TaskError as error:
                if error.reason == CONFLICT:
                    self.refuse(error)
                    return
                if self._give_up(upload, error):
                    return
            except BaseException as error:  # also a panic of the client's: WAL must not wait for ever for a dead thread
                log.exception("an upload broke; it is tried again")
                if self._give_up(
                    upload, TaskError("UploadFailed", f"an upload broke: {type(error).__name__}: {error}")
                ):
                    return
            else:
                self._succeeded(upload, stored)
                return
            self._stopped.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)

    def _opened(self) -> Store:
        """The store; after a failure it is opened again, which reads its credentials again."""
        store = self._store
        if store is None:
            store = self._store = open_store(self.location)
        return store

    def _succeeded(self, upload: _Upload, stored: int) -> None:
        with self._changed:
            upload.done = True
            if upload.parcel is not None:
                upload.parcel.stored()
                self.counts.segments += upload.parcel.piece.whole
            self.trouble = None
            self.counts.stored_bytes += stored
            self._changed.notify_all()

    def refuse(self, error: TaskError) -> None:
        """Ends all work: the archive holds something else than the server."""
        with self._changed:
            self.conflict = error
            self._changed.notify_all()
        self._stopped.set()

    def _give_up(self, upload: _Upload, error: TaskError) -> bool:
        """Notes the trouble; whether the work is not worth another try."""
        self._store = None
        if upload.tries_left is not None:
            upload.tries_left -= 1
            if upload.tries_left == 0:
                log.warning("objects that are not needed any more could not be deleted", why=error.message)
                return True
            return False
        if self.trouble is None:
            log.warning("an upload failed; it is tried again", reason=error.reason, why=error.message)
        with self._changed:
            self.trouble = error
            self._changed.notify_all()
        return False
