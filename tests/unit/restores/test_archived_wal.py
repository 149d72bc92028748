"""WAL out of a real archive, as a recovering server asks for it: a file that was asked for stays until it is taken."""

from __future__ import annotations

import time
from pathlib import Path

from pgwarden.api.wal import segment_name
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.restores.archived_wal import ArchivedWAL
from pgwarden.restores.wal_plan import WALPlan, Way, archived_segments
from pgwarden.restores.wal_queue import WALQueue
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import open_store
from pgwarden.storage.wal_listing import wal_pieces

SEGMENT = 1 << 20
ARCHIVE = "shop/operational/0001"
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
