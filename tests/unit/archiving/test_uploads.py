"""Whatever breaks in an upload, it is tried again, and nothing that comes later is acknowledged before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.archiving.uploads import Uploads
from pgwarden.archiving.writer import ArchiveWriter, Piece
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage.store import Store
from tests.support.postgres import wait_until

SEGMENT_BYTES = 1 << 20


class Panic(BaseException):
    """As the bucket's client raises it: no Exception."""


@dataclass(frozen=True)
class PanicsOnce(ArchiveWriter):
    """A writer whose client panics at its first piece."""

    panics: tuple[list[str], ...] = ([],)

    def put_same(self, store: Store, path: str, content: bytes) -> bool:
        if not self.panics[0]:
            self.panics[0].append(path)
            raise Panic
        return super().put_same(store, path, content)


def segment(number: int) -> Piece:
    start = number * SEGMENT_BYTES
    name = f"0000000100000000{number:08X}"
    return Piece(1, name, start, start, start + SEGMENT_BYTES, memoryview(bytes(SEGMENT_BYTES)), whole=True)


def test_a_panic_of_the_client_ends_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.archiving.uploads.FIRST_PAUSE", 0.01)
    uploads = Uploads(StoreLocation(claim=ClaimLocation(path=str(tmp_path))), PanicsOnce("shop/a", level=1), threads=1)
    for number in (3, 4):
        uploads.submit(segment(number))
    done: list[int] = []

    def acknowledged() -> bool:
        done.extend(piece.start for piece in uploads.acknowledged())
        return uploads.idle

    wait_until(acknowledged, "the pieces were never stored", 10)
    uploads.stop()
    assert done == [3 * SEGMENT_BYTES, 4 * SEGMENT_BYTES]
