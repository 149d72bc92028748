"""Makes of pieces of WAL what is stored, and lets go of each form that they had before."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TypeVar

from pgwarden.archiving.writer import ArchiveWriter, Compressed, Packed, Piece

COMPRESSED_AT_ONCE = 2
"""Each keeps a processor busy, and is in memory twice meanwhile."""
NOTHING = memoryview(b"")

Form = Piece | Compressed | Packed
FormOfPiece = TypeVar("FormOfPiece", Compressed, Packed)


class Packer:
    """Packs pieces for one archive, so few at a time that their copies do not add up."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self.writer = writer
        self.compressing = threading.Semaphore(COMPRESSED_AT_ONCE)
        self.encrypting = threading.Lock()
        """One by one: it holds the interpreter's lock, and a piece is in memory three times."""


class Parcel:
    """One piece on its way: each form of it lets go of the one before."""

    def __init__(self, piece: Piece, packer: Packer) -> None:
        self.piece = piece
        """Without its bytes, as soon as they are compressed."""
        self._packer = packer
        self._form: Form | None = piece

    def packed(self) -> Packed:
        """What is to be stored; made once, from where it failed before."""
        form, packer = self._form, self._packer
        if isinstance(form, Piece):
            with packer.compressing:
                form = self._becomes(packer.writer.compress(form), replace(form, data=NOTHING))
        if isinstance(form, Compressed):
            with packer.encrypting:
                packed = packer.writer.pack(self.piece, form)
                form = self._becomes(packed, replace(self.piece, path=packed.path))
        assert form is not None  # noqa: S101 - nobody packs what is stored
        return form

    def stored(self) -> None:
        """Lets go of everything."""
        self._form = None

    def _becomes(self, form: FormOfPiece, piece: Piece) -> FormOfPiece:
        self._form, self.piece = form, piece
        return form
