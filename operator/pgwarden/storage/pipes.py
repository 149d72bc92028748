"""Small plumbing: byte counts and digests on the way, and files where a library wants files instead of iterators."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

QUEUE_DEPTH = 8


class ByteSink(Protocol):
    """Where a library writes to."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


@dataclass
class Count:
    """Size of what has passed."""

    size: int = 0

    def update(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)

    @property
    def sha256(self) -> str | None:
        """None: it was not computed."""
        return None


@dataclass
class Digest(Count):
    """SHA-256 and size of what has passed."""

    _hash: Any = field(default_factory=hashlib.sha256, repr=False)

    def update(self, chunk: bytes | memoryview) -> None:
        super().update(chunk)
        self._hash.update(chunk)

    @property
    def sha256(self) -> str:
        """In lower-case hex."""
        digest: str = self._hash.hexdigest()
        return digest


def measured(chunks: Iterable[bytes], digest: Count) -> Iterator[bytes]:
    """`chunks` as they are; `digest` has seen all of them when the last one is out."""
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


class ChunkReader:
    """An iterator of chunks as a file that can be read once, from beginning to end (`tarfile`, age and zstd want it).

    `read(n)` gives exactly n bytes, unless the end comes first.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        if 0 <= size <= len(self._rest):
            taken, self._rest = self._rest[:size], self._rest[size:]
            return bytes(taken)
        parts = [self._rest]
        have = len(self._rest)
        self._rest = memoryview(b"")
        for chunk in self._chunks:
            parts.append(memoryview(chunk))
            have += len(chunk)
            if 0 <= size <= have:
                last = parts.pop()
                keep = len(last) - (have - size)
                parts.append(last[:keep])
                self._rest = last[keep:]
                break
        return b"".join(parts)


class Source:
    """Chunks whose own exception is kept, for use with libraries that turn it into one of theirs."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            raise

    def raise_own_error(self) -> None:
        """Raises what the chunks raised, if they did."""
        if self._error is not None:
            raise self._error


class Abandoned(Exception):
    """Nobody reads what a thread writes any more."""


class _QueueWriter:
    """The writing end of `chunks_written_by`: small writes are gathered into chunks."""

    CHUNK_BYTES = 1 << 20

    def __init__(self, chunks: queue.Queue[bytes | None], abandoned: threading.Event) -> None:
        self._chunks = chunks
        self._abandoned = abandoned
        self._parts: list[bytes] = []
        self._gathered = 0

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        self._gathered += len(data)
        if self._gathered >= self.CHUNK_BYTES:
            self.hand_over()
        return len(data)

    def flush(self) -> None:
        """Nothing: whole chunks are handed over, the rest when the thread is done."""

    def hand_over(self) -> None:
        if self._parts:
            self.put(b"".join(self._parts))
        self._parts, self._gathered = [], 0

    def put(self, chunk: bytes | None) -> None:
        while True:
            if self._abandoned.is_set():
                raise Abandoned
            try:
                self._chunks.put(chunk, timeout=0.2)
            except queue.Full:
                continue
            return


def chunks_written_by(run: Callable[[ByteSink], None]) -> Generator[bytes]:
    """Runs `run(sink)` in a thread and yields what it writes, at most a few chunks ahead of the reader.

    An exception of `run` is raised here, after what was written before it. When the reader goes away, the thread ends
    at its next write.
    """
    chunks: queue.Queue[bytes | None] = queue.Queue(QUEUE_DEPTH)
    abandoned = threading.Event()
    writer = _QueueWriter(chunks, abandoned)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            run(writer)
            writer.hand_over()
        except BaseException as error:  # whatever it is, it belongs to the reader
            failures.append(error)
        try:
            writer.put(None)
        except Abandoned:
            return

    thread = threading.Thread(target=work, name="pipe", daemon=True)
    thread.start()
    try:
        while (chunk := chunks.get()) is not None:
            yield chunk
        if failures:
            raise failures[0]
    finally:
        abandoned.set()
        thread.join()
