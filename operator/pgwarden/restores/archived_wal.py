"""WAL out of the archive: listed, and fetched ahead of the recovering server into the folder it takes it from."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgwarden.api.wal import HISTORY_NAME, segment_name
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import Resolved
from pgwarden.restores.wal_plan import ArchivedSegment, WALPlan, Way, join_pieces
from pgwarden.storage.layout import WAL_FOLDER, history_object, join, timeline_folder
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store, object_damaged
from pgwarden.storage.wal_listing import WALPiece, wal_pieces

PARALLEL = 8
AHEAD_BYTES = 256 << 20
"""How much is kept ready in the scratch volume: recovery of the quickest kind takes this long to replay."""
PATIENCE_SECONDS = 300.0
"""How long a store that does not answer is asked again."""
RETRY_SECONDS = 2.0
NOT_THERE = "ObjectMissing"


def list_wal(store: Store, resolved: Resolved, way: Sequence[Way], segment_bytes: int) -> list[WALPiece]:
    """The WAL that is archived along the way, from its beginning on."""
    found: list[WALPiece] = []
    for each in way:
        folder = timeline_folder(resolved.archive, each.timeline)
        first = segment_name(each.timeline, each.start // segment_bytes, segment_bytes)
        found += wal_pieces(store.list(folder, after=join(folder, first)), segment_bytes)
    return found


def read_histories(store: Store, archive: str) -> dict[str, bytes]:
    """Every history file of the archive, by name: a promoting recovery that misses one gives a number out twice."""
    found = {}
    for folder in sorted(store.folders(join(archive, WAL_FOLDER))):
        name = f"{folder}.history"
        if not HISTORY_NAME.fullmatch(name):
            continue
        try:
            found[name] = store.read_small(history_object(archive, int(folder, 16)))
        except TaskError as error:
            if error.reason != NOT_THERE:
                raise
    return found


class ArchivedWAL:
    """Fetches segments, `PARALLEL` at a time, into `ready`; a file appears there in one step and whole."""

    def __init__(
        self, store: Store, archive: str, identities: Sequence[Any], plan: WALPlan, folder: Path, ready: Path
    ) -> None:
        self._store = store
        self._archive = archive
        self._identities = identities
        self._plan = plan
        self._folder = folder
        self._ready = ready
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="wal")
        self._running: dict[str, Future[None]] = {}
        self._given_up = threading.Event()
        self._expected = [name for name in plan.expected() if plan.answer(name).value == "fetch"]
        self._number = {name: number for number, name in enumerate(self._expected)}
        self.segments = 0
        """How many were fetched."""

    def close(self) -> None:
        """Ends what is under way."""
        self._given_up.set()
        self._pool.shutdown(cancel_futures=True)

    def keep_ahead(self, position: str) -> None:
        """Begins to fetch what recovery will ask for after the segment `position`, and forgets what lies behind it."""
        here = self._number.get(position, -1)
        window = max(2, AHEAD_BYTES // self._plan.segment_bytes)
        for name in self._expected[here + 1 : here + 1 + window]:
            self._begin(name)
        for name in self._expected[: max(0, here - 1)]:
            self._forget(name)

    def fetched(self, name: str) -> bool:
        """Whether the segment is ready now; begins to fetch it when it is not. Raises what made it fail."""
        if (self._ready / name).exists():
            return True
        self._begin(name)
        running = self._running[name]
        if not running.done():
            return False
        running.result()
        if not (self._ready / name).exists():  # it was forgotten after it had been fetched
            del self._running[name]
            self._begin(name)
            return False
        return True

    def _begin(self, name: str) -> None:
        if name not in self._running:
            self._running[name] = self._pool.submit(self._fetch, name)

    def _forget(self, name: str) -> None:
        running = self._running.get(name)
        if running is not None and running.done():
            (self._ready / name).unlink(missing_ok=True)
            del self._running[name]

    def _fetch(self, name: str) -> None:
        """One segment, with patience for a store that does not answer and for pieces that the archiver joined since."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        segment = self._plan.archived[name]
        while True:
            try:
                return self._write(name, segment)
            except TaskError as error:
                replaced = error.reason == NOT_THERE and not segment.whole
                if not (error.retryable or replaced) or time.monotonic() > deadline:
                    raise
            if self._given_up.wait(RETRY_SECONDS):
                return None
            segment = self._listed_again(name) or segment

    def _listed_again(self, name: str) -> ArchivedSegment | None:
        """The segment out of what is there now, as far as it was planned; None where that does not come as far. It may
        have grown since: what the server wrote after the target was resolved is none of this recovery's."""
        planned = self._plan.archived[name]
        folder = timeline_folder(self._archive, int(name[:8], 16))
        listing = self._store.list(folder, after=join(folder, name))
        pieces = [piece for piece in wal_pieces(listing, self._plan.segment_bytes) if piece.segment == name]
        joined = join_pieces(pieces, planned.start)
        return replace(joined, end=planned.end) if joined is not None and joined.end >= planned.end else None

    def _write(self, name: str, segment: ArchivedSegment) -> None:
        """Puts the segment together and renames it in; an unfinished one is padded with zeros, as PostgreSQL refuses a
        file of another size. Raises what reading raises, and TaskError with reason ObjectDamaged."""
        part = self._folder / name
        with part.open("wb") as file:
            position = segment.start
            for piece in segment.pieces:
                skip = position - piece.start
                size = 0
                for chunk in read_object(self._store, piece.path, None, self._identities):
                    if self._given_up.is_set():
                        return
                    size += len(chunk)
                    if size > piece.end - piece.start:
                        break
                    file.write(chunk[min(skip, len(chunk)) :])
                    skip -= min(skip, len(chunk))
                if size != piece.end - piece.start:
                    raise object_damaged(
                        self._store, piece.path, f"it unpacks to {size} bytes instead of {piece.end - piece.start}"
                    )
                position = piece.end
            file.truncate(segment.end - segment.start)
            file.truncate(self._plan.segment_bytes)
        part.rename(self._ready / name)
        self.segments += 1


def put_histories(histories: dict[str, bytes], coming: Path, ready: Path) -> None:
    """Puts history files where the server finds them."""
    for name, content in histories.items():
        part = coming / name
        part.write_bytes(content)
        part.replace(ready / name)
