"""Cuts a stream of bytes into objects of bounded size while it passes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Pieces:
    """The pieces of `chunks`, one after the other; each has to be read to its end before the next one is asked for."""

    def __init__(self, chunks: Iterable[bytes], piece_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._piece_bytes = piece_bytes
        self._rest = memoryview(b"")

    def __iter__(self) -> Iterator[Iterator[bytes]]:
        yield self._piece()
        while self._more():
            yield self._piece()

    def _piece(self) -> Iterator[bytes]:
        room = self._piece_bytes
        while room and self._more():
            taken, self._rest = self._rest[:room], self._rest[room:]
            room -= len(taken)
            yield bytes(taken)

    def _more(self) -> bool:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._rest = memoryview(chunk)
        return True
