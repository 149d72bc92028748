"""What lies in the store already is kept when it is the same WAL and whole, and refused when it is other WAL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pgwarden.archiving.restore_points import PAGE
from pgwarden.archiving.writer import ArchiveWriter, Packed, Piece, digest
from pgwarden.catalogue.named import list_named
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store, open_store
from tests.unit.archiving.test_restore_points import pages, record

ARCHIVE = "shop/operational"
SEGMENT = "000000010000000000000003"
SEGMENT_BYTES = 1 << 20
START = 3 * SEGMENT_BYTES
DATA = hashlib.shake_256(b"WAL").digest(SEGMENT_BYTES)
WRITER = ArchiveWriter(ARCHIVE, level=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))


def piece(data: bytes = DATA, *, whole: bool = True) -> Piece:
    return Piece(1, SEGMENT, START, START, START + len(data), memoryview(data), whole)


def write(store: Store, piece: Piece, writer: ArchiveWriter = WRITER) -> int:
    return writer.write(store, writer.pack(piece, writer.compress(piece)))


def packed(piece: Piece) -> Packed:
    return WRITER.pack(piece, WRITER.compress(piece))


def stored(store: Store, path: str) -> bytes:
    return b"".join(read_object(store, path))


def cut(store: Store, path: str) -> None:
    """What a server keeps that takes the first part of a body for the whole."""
    content = b"".join(store.read(path))
    store.delete(path)
    store.put(path, content[: len(content) // 2])


@pytest.mark.parametrize("whole", [True, False], ids=["segment", "tail"])
def test_a_piece_is_written_once(store: Store, whole: bool) -> None:
    assert write(store, piece(whole=whole)) > SEGMENT_BYTES
    assert write(store, piece(whole=whole)) == 0


@pytest.mark.parametrize("whole", [True, False], ids=["segment", "tail"])
def test_a_piece_that_was_cut_on_its_way_is_made_whole(store: Store, whole: bool) -> None:
    path = layout.segment_object(ARCHIVE, SEGMENT, encrypted=False) if whole else packed(piece(whole=False)).path
    write(store, piece(whole=whole))
    cut(store, path)
    assert write(store, piece(whole=whole)) > SEGMENT_BYTES
    assert stored(store, path) == DATA


@pytest.mark.parametrize("whole", [True, False], ids=["segment", "tail"])
@pytest.mark.parametrize(("before", "now"), [(1, 19), (19, 1)])
def test_a_piece_that_was_packed_another_way_stays_as_it_is(store: Store, whole: bool, before: int, now: int) -> None:
    """It may be acknowledged, and the server's copy gone: nothing is deleted without need."""
    text = piece(b"WAL that shrinks " * (SEGMENT_BYTES // 17), whole=whole)
    write(store, text, ArchiveWriter(ARCHIVE, level=before))
    sizes = {info.path: info.size for info in store.list(ARCHIVE)}
    assert write(store, text, ArchiveWriter(ARCHIVE, level=now)) == 0
    assert {info.path: info.size for info in store.list(ARCHIVE)} == sizes


def test_other_wal_is_never_written_over(store: Store) -> None:
    write(store, piece())
    with pytest.raises(TaskError) as caught:
        write(store, piece(DATA[::-1]))
    assert caught.value.reason == "ArchiveConflict"
    assert stored(store, layout.segment_object(ARCHIVE, SEGMENT, encrypted=False)) == DATA


@pytest.mark.parametrize(("found", "conflicts"), [(DATA, False), (DATA[::-1], True)], ids=["same", "other"])
def test_a_segment_without_its_checksum_is_read_to_compare(store: Store, found: bytes, conflicts: bool) -> None:
    write(store, piece(found))
    store.delete(layout.checksum_object(ARCHIVE, SEGMENT))
    if conflicts:
        with pytest.raises(TaskError, match="was there without a checksum"):
            write(store, piece())
    else:
        assert write(store, piece()) == 0


def test_the_name_of_a_tail_tells_what_is_in_it(store: Store) -> None:
    write(store, piece(DATA[:100], whole=False))
    write(store, piece(DATA[100:200], whole=False))
    names = [info.path for info in store.list(ARCHIVE)]
    assert len(names) == 2
    assert all(any(digest(memoryview(data)) in name for name in names) for data in (DATA[:100], DATA[100:200]))


@pytest.mark.parametrize("whole", [True, False], ids=["segment", "tail"])
def test_restore_points_are_told_once_and_only_those_of_the_stores_key_are_believed(store: Store, whole: bool) -> None:
    wal = bytes(pages({800: record(b"before the release")}, PAGE * 2))
    for _ in range(2):
        write(store, piece(wal, whole=whole), ArchiveWriter(ARCHIVE, level=1, key=b"the store's"))
    found = list_named(store, ARCHIVE, b"the store's")
    assert [(each.name, each.timeline, each.position) for each in found] == [("before the release", 1, START + 800)]
    assert list_named(store, ARCHIVE) == found
    assert list_named(store, ARCHIVE, b"another") == ()
    planted = layout.point_object(ARCHIVE, found[0].time, 1, START + 8, b"planted")
    store.put(planted, b"{}")
    assert list_named(store, ARCHIVE, b"the store's") == found
