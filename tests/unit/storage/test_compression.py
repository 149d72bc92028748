"""What is decompressed is what was compressed, or an exception."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.storage.compression import PLAIN_CHUNK_BYTES, DamagedFrame, compress, decompress

contents = st.one_of(
    st.binary(max_size=5000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=50), st.integers(1, 5000)),
    st.integers(0, 400_000).map(bytes),
)


def packed(content: bytes, threads: int = 2) -> bytes:
    return b"".join(compress([content], level=3, threads=threads))


def unpacked(stored: bytes) -> bytes:
    return b"".join(decompress([stored]))


@settings(max_examples=40, deadline=None)
@given(content=contents, cut=st.integers(1, 3000))
def test_round_trip_with_any_chunks(content: bytes, cut: int) -> None:
    plain = [content[start : start + cut] for start in range(0, len(content), cut)]
    stored = b"".join(compress(plain, level=3, threads=2))
    pieces = [stored[start : start + cut] for start in range(0, len(stored), cut)]
    assert b"".join(decompress(pieces)) == content


@settings(max_examples=60, deadline=None)
@given(content=contents, data=st.data())
def test_a_cut_anywhere_raises(content: bytes, data: st.DataObject) -> None:
    stored = packed(content)
    end = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(DamagedFrame):
        unpacked(stored[:end])


@settings(max_examples=60, deadline=None)
@given(content=contents, data=st.data())
def test_an_altered_byte_never_yields_other_content(content: bytes, data: st.DataObject) -> None:
    stored = bytearray(packed(content))
    position = data.draw(st.integers(0, len(stored) - 1))
    stored[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DamagedFrame):
        assert unpacked(bytes(stored)) == content


def test_altered_content_raises_by_the_frames_checksum() -> None:
    stored = bytearray(packed(os.urandom(300_000)))
    stored[150_000] ^= 1
    with pytest.raises(DamagedFrame, match=r"(?i)checksum"):
        unpacked(bytes(stored))


@pytest.mark.parametrize("more", [b"x", bytes(100), packed(b"another frame")])
def test_anything_after_the_frame_raises(more: bytes) -> None:
    with pytest.raises(DamagedFrame, match="follows"):
        unpacked(packed(b"content") + more)


def test_frames_of_other_writers_are_read() -> None:
    content = os.urandom(1000) * 300
    for arguments in (["-1"], ["-19", "--no-check"], ["--long=27"], ["-T2"]):
        done = subprocess.run(["zstd", "-q", *arguments, "-c"], input=content, capture_output=True, check=True)
        assert unpacked(done.stdout) == content
    whole = zstandard.ZstdCompressor(write_content_size=True).compress(content)
    assert unpacked(whole) == content


def test_a_frame_that_shrank_a_thousandfold_comes_in_small_pieces() -> None:
    stored = b"".join(compress([bytes(64 << 20)], level=3, threads=1))
    sizes = [len(piece) for piece in decompress([stored])]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= PLAIN_CHUNK_BYTES


def test_the_zstd_program_reads_and_checks_what_is_written() -> None:
    content = os.urandom(100_000) * 5
    stored = packed(content)
    done = subprocess.run(["zstd", "-dc"], input=stored, capture_output=True, check=True)
    assert done.stdout == content
    assert zstandard.get_frame_parameters(io.BytesIO(stored).read(18)).has_checksum
