"""WAL out of a real archive, as a recovering server asks for it: a file that was asked for stays until it is taken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pgwarden.api.wal import segment_name
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.restores import archived_wal
from pgwarden.restores.archived_wal import ArchivedWAL
from pgwarden.restores.wal_plan import WALPlan, Way, archived_segments
from pgwarden.restores.wal_queue import WALQueue
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import Store, open_store
from pgwarden.storage.wal_listing import wal_pieces

SEGMENT = 1 << 20
ARCHIVE = "shop/operational/0001"
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(SEGMENT // 4))
NAMES = [segment_name(1, number, SEGMENT) for number in range(3, 9)]


def replay(queue: WALQueue) -> None:
    """Asks for every segment, one after the other, as restore-wal.sh does; each must be there once it is answered."""
    for name in NAMES:
        request = queue.folder / "requests" / name
        if not (queue.present / name).exists():
            request.touch()
        give_up = time.monotonic() + 10
        while request.exists():
            queue.answer_requests()
            assert time.monotonic() < give_up
        assert (queue.present / name).stat().st_size == SEGMENT
        (queue.folder / "last").write_text(f"{name}\n")


def test_a_server_that_begins_again_is_handed_all_of_it_once_more(tmp_path: Path) -> None:
    """Nothing was committed after the target: the second server asks again for what the first one has taken."""
    (tmp_path / "store").mkdir()
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path / "store"))))
    for name in NAMES:
        write_object(store, layout.segment_object(ARCHIVE, name, encrypted=False), [bytes(SEGMENT)], Packing())
    pieces = wal_pieces(store.list(layout.timeline_folder(ARCHIVE, 1)), SEGMENT)
    plan = WALPlan((Way(1, 3 * SEGMENT, None),), 9 * SEGMENT, SEGMENT, archived=archived_segments(pieces, SEGMENT))
    queue = WALQueue(tmp_path / "wal", tmp_path, plan)
    queue.open()
    queue.source = source = ArchivedWAL(store, ARCHIVE, [], plan, queue.coming, queue.present)
    try:
        replay(queue)
        replay(queue)
    finally:
        source.close()


def tails(store: Store, *ends: int) -> None:
    """The beginning of the first segment, in pieces that end there; each byte tells its position."""
    start = 0
    for end in ends:
        path = layout.tail_object(ARCHIVE, NAMES[0], start, end, encrypted=False)
        if store.head(path) is None:
            write_object(store, path, [CONTENT[start:end]], Packing())
        start = end


@pytest.mark.parametrize("grown", ["tails", "whole"])
def test_a_segment_that_grew_since_is_handed_out_as_far_as_it_was_planned(
    tmp_path: Path, grown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archiver joins the tails that were listed while recovery comes to them."""
    monkeypatch.setattr(archived_wal, "RETRY_SECONDS", 0.05)
    for folder in ("store", "coming", "ready"):
        (tmp_path / folder).mkdir()
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path / "store"))))
    tails(store, 1000, 5000)
    pieces = list(wal_pieces(store.list(layout.timeline_folder(ARCHIVE, 1)), SEGMENT))
    until = 3 * SEGMENT + 5000
    plan = WALPlan((Way(1, 3 * SEGMENT, None),), until, SEGMENT, archived=archived_segments(pieces, SEGMENT))
    for piece in pieces:
        store.delete(piece.path)
    source = ArchivedWAL(store, ARCHIVE, [], plan, tmp_path / "coming", tmp_path / "ready")
    try:
        assert not source.fetched(NAMES[0]), "it is not there yet, and is asked for again"
        tails(store, 800)
        if grown == "tails":
            tails(store, 800, 9000)
        else:
            write_object(store, layout.segment_object(ARCHIVE, NAMES[0], encrypted=False), [CONTENT], Packing())
        give_up = time.monotonic() + 10
        while not source.fetched(NAMES[0]):
            assert time.monotonic() < give_up
    finally:
        source.close()
    assert (tmp_path / "ready" / NAMES[0]).read_bytes() == CONTENT[:5000] + bytes(SEGMENT - 5000)


def test_a_segment_that_does_not_come_as_far_as_planned_is_never_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archived_wal, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(archived_wal, "PATIENCE_SECONDS", 0.5)
    for folder in ("store", "coming", "ready"):
        (tmp_path / folder).mkdir()
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path / "store"))))
    tails(store, 1000, 5000)
    pieces = list(wal_pieces(store.list(layout.timeline_folder(ARCHIVE, 1)), SEGMENT))
    plan = WALPlan(
        (Way(1, 3 * SEGMENT, None),), 3 * SEGMENT + 5000, SEGMENT, archived=archived_segments(pieces, SEGMENT)
    )
    store.delete(next(piece.path for piece in pieces if piece.end == 3 * SEGMENT + 5000))
    source = ArchivedWAL(store, ARCHIVE, [], plan, tmp_path / "coming", tmp_path / "ready")
    try:
        give_up = time.monotonic() + 10
        with pytest.raises(TaskError) as raised:
            while not source.fetched(NAMES[0]):
                assert time.monotonic() < give_up
        assert raised.value.reason == "ObjectMissing"
    finally:
        source.close()
    assert not (tmp_path / "ready" / NAMES[0]).exists()
