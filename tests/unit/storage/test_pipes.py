"""The plumbing loses nothing, and ends when its reader does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.storage.pipes import ByteSink, ChunkReader, Digest, chunks_written_by, measured


@given(chunks=st.lists(st.binary(max_size=20), max_size=20), sizes=st.lists(st.integers(1, 30), min_size=1))
def test_a_reader_gives_exactly_what_was_asked_for_until_the_end(chunks: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(chunks)
    reader = ChunkReader(chunks)
    position = 0
    for size in sizes:
        assert reader.read(size) == whole[position : position + size]
        position = min(position + size, len(whole))
    assert reader.read() == whole[position:]
    assert reader.read(1) == b""


@given(chunks=st.lists(st.binary(max_size=50)))
def test_a_digest_has_seen_everything_that_passed(chunks: list[bytes]) -> None:
    digest = Digest()
    whole = b"".join(measured(chunks, digest))
    assert (digest.size, digest.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


def test_what_a_thread_writes_arrives_before_its_exception() -> None:
    def run(sink: ByteSink) -> None:
        sink.write(b"x" * (3 << 20))
        raise LookupError("broke")

    received: list[bytes] = []
    with pytest.raises(LookupError, match="broke"):
        received.extend(chunks_written_by(run))
    assert sum(len(chunk) for chunk in received) == 3 << 20


def test_a_thread_ends_when_nobody_reads_any_more() -> None:
    ended = threading.Event()

    def run(sink: ByteSink) -> None:
        try:
            while True:
                sink.write(bytes(1 << 20))
        finally:
            ended.set()

    chunks: Iterator[bytes] = chunks_written_by(run)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert ended.wait(10)
