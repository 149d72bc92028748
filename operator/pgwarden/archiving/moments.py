"""Moments: when the WAL was where, by the server's clock. So any time can be resolved, also on an idle database."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgwarden.api.wal import format_lsn
from pgwarden.archiving.primary import Look
from pgwarden.storage import layout
from pgwarden.storage.authenticity import name_proof, sign

SAMPLE_SECONDS = 10.0
WRITE_SECONDS = 60.0
MOST_WAITING = 2000
"""Moments that wait for the store; beyond it every other one is forgotten."""


@dataclass(frozen=True)
class Moment:
    """All that was committed at `time` lies before `position`."""

    time: datetime
    """By the server's clock."""
    timeline: int
    position: int
    next_xid: str
    seen: float
    """By our own monotonic clock."""


class Moments:
    """Collects moments, and gives them out when the archive holds all WAL up to them. `now` is a monotonic clock's."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        """The store's catalogue key, with which the index is authenticated; None where there is none."""
        self._waiting: deque[Moment] = deque()
        self._to_write: list[Moment] = []
        self._last_kept = float("-inf")
        self._last_written = float("-inf")
        self.newest: Moment | None = None
        """The newest moment all of whose WAL is in the store: the recovery point."""

    def add(self, look: Look, now: float) -> None:
        """Takes note of a look at the server."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = deque(list(self._waiting)[::2])
        self._waiting.append(Moment(look.time.astimezone(UTC), look.timeline, look.lsn, look.next_xid, now))

    def stored(self, timeline: int, position: int) -> None:
        """The archive holds all WAL of the timeline up to `position`."""
        while self._waiting and (self._waiting[0].timeline, self._waiting[0].position) <= (timeline, position):
            moment = self._waiting.popleft()
            if moment.timeline != timeline:
                continue  # the primary changed before its WAL could be stored
            self.newest = moment
            if moment.seen - self._last_kept >= SAMPLE_SECONDS and len(self._to_write) < MOST_WAITING:
                self._last_kept = moment.seen
                self._to_write.append(moment)

    def due(self, archive: str, now: float, *, closing: bool = False) -> tuple[str, bytes] | None:
        """Path and content of the next piece of the index, about once a minute."""
        if not self._to_write or (now - self._last_written < WRITE_SECONDS and not closing):
            return None
        written, self._to_write = self._to_write, []
        self._last_written = now
        last = written[-1]
        named = (archive, last.time, last.timeline, last.position)
        proof = "" if self.key is None else name_proof(layout.moments_name(*named), self.key)
        return layout.moments_object(*named, proof), encoded(written, self.key)


def encoded(moments: list[Moment], key: bytes | None = None) -> bytes:
    """The content of one object of the index, sorted by time; authenticated where there is a key."""
    listed = [
        {
            "time": moment.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "timeline": moment.timeline,
            "lsn": format_lsn(moment.position),
            "nextXid": moment.next_xid,
        }
        for moment in sorted(moments, key=lambda moment: moment.time)
    ]
    document: dict[str, Any] = {"schemaVersion": 1, "moments": listed}
    if key is not None:
        document["authentication"] = sign(document, key)
    return json.dumps(document).encode() + b"\n"
