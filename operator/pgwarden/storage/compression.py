"""zstd (RFC 8878): one frame for each object, with the checksum of its content.

python-zstandard leaves checksums out unless asked and reports a cut frame as an ordinary end. So reading walks the
frame's blocks beside decompressing it, and raises `DamagedFrame` unless the frame ends exactly where the object does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

import zstandard

from pgwarden.storage.pipes import ChunkReader

PLAIN_CHUNK_BYTES = 1 << 20
READ_BYTES = 128 << 10
JOB_BYTES = 4 << 20
"""What one thread compresses at a time; zstd keeps two or more of them for each thread in memory."""
NO_OVERLAP = 1
"""Jobs do not begin with a look at the end of the one before: 0.1 s for each 2 GiB, which shrink just as well."""
MAGIC = 0xFD2FB528
MAX_WINDOW_BYTES = 128 << 20
"""Largest window a reader accepts (that of `zstd --long`): what an object may cost in memory."""

_RLE, _RESERVED = 1, 3
# Sizes of the optional fields by their codes, RFC 8878 sections 3.1.1.1.1.1 and 3.1.1.1.1.3.
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)


class DamagedFrame(Exception):
    """The bytes are not one whole zstd frame."""


def compress(chunks: Iterable[bytes], *, level: int, threads: int) -> Iterator[bytes]:
    """One zstd frame made of `chunks`; compresses in `threads` threads beside the caller's."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        threads=threads,
        job_size=JOB_BYTES,
        overlap_log=NO_OVERLAP,
        write_checksum=True,
        write_content_size=False,
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for chunk in chunks:
        if compressed := frame.compress(chunk):
            yield compressed
    yield frame.flush()


def compress_whole(data: bytes | memoryview, *, level: int) -> bytes:
    """One zstd frame made of what is in memory anyway: without the copy that joining the pieces would take."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, write_checksum=True, write_content_size=False)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain content of the frame in `chunks`, in pieces of at most PLAIN_CHUNK_BYTES.

    Raises DamagedFrame when the frame is damaged, cut, or followed by anything. Only then is the end reached: what
    came before it must not be trusted until the iterator has ended without an exception.
    """
    walker = FrameWalker()
    source = ChunkReader(_walked(chunks, walker))
    file = cast(IO[bytes], source)  # only read() is used of it
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(file, read_size=READ_BYTES, closefd=False) as reader:
            while plain := reader.read(PLAIN_CHUNK_BYTES):
                yield plain
    except zstandard.ZstdError as error:
        raise DamagedFrame(f"zstd: {error}") from error
    while source.read(READ_BYTES):
        pass  # what follows the frame is the walker's to refuse
    walker.finish()


def _walked(chunks: Iterable[bytes], walker: FrameWalker) -> Iterator[bytes]:
    for chunk in chunks:
        walker.walk(chunk)
        yield chunk


class FrameWalker:
    """Follows the blocks of a frame without decompressing them, to know whether the frame is whole."""

    def __init__(self) -> None:
        self._header = bytearray()
        """Bytes of the field that is being read."""
        self._wanted = 5
        self._state: Callable[[bytes], None] = self._start
        self._skip = 0
        self._done = False
        self._checksum_bytes = 0
        self._last_block = False

    def walk(self, chunk: bytes) -> None:
        """Takes the next bytes of the object. Raises DamagedFrame."""
        position = 0
        while position < len(chunk):
            if self._done:
                raise DamagedFrame("zstd: something follows the frame")
            if self._skip:
                step = min(self._skip, len(chunk) - position)
                self._skip -= step
            else:
                step = min(self._wanted - len(self._header), len(chunk) - position)
                self._header += chunk[position : position + step]
                if len(self._header) == self._wanted:
                    field, self._header = bytes(self._header), bytearray()
                    self._state(field)
            position += step
            self._done = self._wanted == 0 and self._skip == 0

    def finish(self) -> None:
        """Raises DamagedFrame unless the frame ended."""
        if not self._done:
            raise DamagedFrame("zstd: the frame is cut")

    def _start(self, field: bytes) -> None:
        """Magic number and frame header descriptor, RFC 8878 section 3.1.1.1."""
        if int.from_bytes(field[:4], "little") != MAGIC:
            raise DamagedFrame("zstd: not a frame")
        descriptor = field[4]
        single_segment = bool(descriptor & 0x20)
        self._checksum_bytes = 4 if descriptor & 0x04 else 0
        content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or int(single_segment)
        self._wanted = (0 if single_segment else 1) + _DICTIONARY_ID_BYTES[descriptor & 0x03] + content_size
        self._state = self._rest_of_header

    def _rest_of_header(self, _field: bytes) -> None:
        self._expect_block()

    def _expect_block(self) -> None:
        self._wanted = 3
        self._state = self._block

    def _block(self, field: bytes) -> None:
        """Block header, RFC 8878 section 3.1.1.2."""
        header = int.from_bytes(field, "little")
        kind, size = header >> 1 & 0x03, header >> 3
        if kind == _RESERVED:
            raise DamagedFrame("zstd: a block of reserved type")
        self._skip = 1 if kind == _RLE else size
        if header & 1:
            self._skip += self._checksum_bytes
            self._wanted = 0
        else:
            self._expect_block()
