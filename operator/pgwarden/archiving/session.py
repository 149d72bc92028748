"""One stream of WAL from one server, until it ends: receive, upload, acknowledge, and tell the server how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.archiving.lookout import Lookout
from pgwarden.archiving.moments import Moments
from pgwarden.archiving.receiver import Receiver
from pgwarden.archiving.status import Status
from pgwarden.archiving.uploads import Uploads
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.wal_stream import Keepalive, TimelineEnd, WALData, WALStream

RECEIVE_SECONDS = 0.1
LOOK_AROUND_SECONDS = 0.05
"""WAL may come in thousands of messages a second: between them nothing else is looked at for so long."""
CONFIRM_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""The server answers each confirmation; when it says nothing for so long, it is gone."""
SHUTDOWN_SECONDS = 5.0
"""A server that shuts down waits until we confirm all it sent: longer than this we do not hold it up."""

LAST_WORDS_SECONDS = 3.0


@dataclass
class Work:
    """What the sessions of an archiver share."""

    settings: ArchiverSettings
    archive: str
    uploads: Uploads
    moments: Moments
    status: Status
    stop: threading.Event
    live: Callable[[], None]
    """Called as long as work goes on."""


class Session:
    """Streams from the start of a segment. The archive holds everything up to `held` already.

    What the archive may hold as a whole from `unproven` on is compared with what the server sends before anything else
    is received: were more of it stored beside what turns out to be another history, the next session would go on there.
    Once the archive holds everything up to `goal`, where the server was at first, it is told to hold the timeline; None
    for one that the server has left.
    """

    def __init__(
        self,
        work: Work,
        stream: WALStream,
        lookout: Lookout,
        receiver: Receiver,
        timeline: int,
        *,
        held: int,
        unproven: int,
        goal: int | None = None,
    ) -> None:
        self._work = work
        self._stream = stream
        self._lookout = lookout
        self._receiver = receiver
        self._timeline = timeline
        self._begin = receiver.received
        self._held = held
        self._goal = goal
        self.acknowledged = unproven
        """The archive holds everything up to here."""
        self._confirmed_at = 0.0
        self._confirmed = 0
        self._heard = time.monotonic()
        self._tail_due = time.monotonic() + work.settings.tail_seconds
        self._patience: float | None = None
        self._streaming = False

    @property
    def received_anything(self) -> bool:
        return self._receiver.received > self._begin

    def run(self) -> None:
        """Until the timeline ends or the archiver is told to stop. Raises TaskError when the stream breaks."""
        self._confirm()
        look_around = time.monotonic()
        while not self._work.stop.is_set():
            if time.monotonic() >= look_around:
                self._check_lookout()
                self.collect()
                self._keep_in_touch()
                self._submit_tail_in_time()
                look_around = time.monotonic() + LOOK_AROUND_SECONDS
            if self._full() or self._comparing():
                self._heard = time.monotonic()  # it is us who do not listen
                self._work.uploads.wait(RECEIVE_SECONDS)
                look_around = time.monotonic()
                continue
            message = self._stream.receive(RECEIVE_SECONDS)
            if isinstance(message, TimelineEnd):
                return
            if message is not None:
                self._take(message)

    def finish(self, closing_seconds: float) -> None:
        """Submits what was received and waits until the archive holds it; so long only, once told to stop.

        The connection may be broken already. Raises TaskError with reason ArchiveConflict.
        """
        self._streaming = False
        if not self._comparing():
            self._receiver.submit_tail()
        deadline = None
        while not self._work.uploads.idle:
            if self._work.stop.is_set():
                deadline = deadline or time.monotonic() + closing_seconds
                if time.monotonic() > deadline:
                    break
            self.collect()
            self._work.uploads.wait(RECEIVE_SECONDS)
        self.collect()

    def close(self, *, connected: bool) -> None:
        """The last words: the index of moments into the store, and how far the archive is to the server."""
        index = self._work.moments.due(self._work.archive, time.monotonic(), closing=True)
        if index is not None:
            self._work.uploads.put(*index)
        if connected:
            self._confirm()
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while not self._work.uploads.at_rest and time.monotonic() < deadline:
            self._work.uploads.wait(RECEIVE_SECONDS)

    def collect(self) -> None:
        """Takes note of what the store has acknowledged. Raises TaskError with reason ArchiveConflict."""
        work, moments = self._work, self._work.moments
        work.live()
        pieces = work.uploads.acknowledged()
        for piece in pieces:
            if piece.timeline == self._timeline:  # another one's is of a session that broke off
                self.acknowledged = max(self.acknowledged, piece.end)
            if piece.whole:
                work.uploads.delete(self._receiver.tails_of(piece.segment))
            else:
                self._receiver.stored_tail(piece)
        if self._goal is not None and self._safe() >= self._goal:
            work.status.holds(self._timeline)
            self._goal = None
        now = time.monotonic()
        for look in self._lookout.looks():
            moments.add(look, now)
            work.status.looked(look)
        moments.stored(self._timeline, min(self.acknowledged, self._receiver.received))
        if (index := moments.due(work.archive, now)) is not None:
            work.uploads.put(*index)
        work.status.recovery_point(moments.newest)
        work.status.positions(received=self._receiver.received, acknowledged=self.acknowledged, flushed=self._confirmed)
        work.status.uploaded(work.uploads, archived=bool(pieces))
        trouble = work.uploads.trouble
        if trouble is not None:
            work.status.enter(ArchiverState.STORE_UNREACHABLE, trouble)
        elif self._streaming:
            work.status.enter(ArchiverState.STREAMING)

    def _take(self, message: WALData | Keepalive) -> None:
        self._heard = time.monotonic()
        self._streaming = True
        if isinstance(message, WALData):
            self._receiver.take(message.start, message.data)
        elif message.reply_requested:
            # Before it shuts down, the server waits for us to have everything: it must not wait for the next tail.
            self._receiver.submit_tail()
            self._confirm()

    def _full(self) -> bool:
        uploads = self._work.uploads
        pending = uploads.pending_bytes
        return pending > 0 and pending + self._receiver.open_bytes > self._work.settings.spool_bytes

    def _comparing(self) -> bool:
        """Whether all that the archive held was received and it is not known yet that it is the same."""
        return self.acknowledged < self._held <= self._receiver.received

    def _submit_tail_in_time(self) -> None:
        """One tail at a time: while the store is slow, the next one grows."""
        now = time.monotonic()
        if self._receiver.waiting_bytes <= 0:
            self._tail_due = now + self._work.settings.tail_seconds
        elif now >= self._tail_due and self._work.uploads.idle:
            self._receiver.submit_tail()
            self._tail_due = now + self._work.settings.tail_seconds

    def _keep_in_touch(self) -> None:
        now = time.monotonic()
        if self._safe() > self._confirmed or now - self._confirmed_at >= CONFIRM_SECONDS:
            self._confirm()
        if now - self._heard > SILENCE_SECONDS:
            raise TaskError(
                "ServerSilent",
                f"the server has said nothing for {SILENCE_SECONDS:.0f} s",
                remedy="It is tried again by itself. Look at the server and at the network to it.",
                retryable=True,
            )

    def _check_lookout(self) -> None:
        """Raises TaskError: at once when commits wait for us, else after time enough for what is under way."""
        problem = self._lookout.problem
        if problem is None:
            return
        if self._patience is None:
            self._patience = time.monotonic() + SHUTDOWN_SECONDS
        if problem.reason == "SynchronousStandby" or time.monotonic() > self._patience:
            raise problem

    def _safe(self) -> int:
        """Never more than this session has received and compared itself."""
        return min(self.acknowledged, self._receiver.received)

    def _confirm(self) -> None:
        self._confirmed = self._safe()
        self._confirmed_at = time.monotonic()
        self._stream.confirm(self._receiver.received, self._confirmed, ask=True)
