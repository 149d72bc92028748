"""Whatever the chunks and the size: the pieces are bounded and are the stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.logical.pieces import Pieces


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_pieces_are_the_stream_in_bounded_size(chunks: list[bytes], size: int) -> None:
    pieces = [b"".join(piece) for piece in Pieces(chunks, size)]
    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) == size for piece in pieces[:-1])
    assert len(pieces[-1]) <= size
    assert len(pieces) == 1 or pieces[-1]
