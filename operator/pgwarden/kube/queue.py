"""The queue of objects that want to be looked at: coalesced by key, one worker an object, backing off on failure."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Gauge, Histogram

from pgwarden.kube.key import Key

DEPTH = Gauge("pgwarden_operator_queue_depth", "Objects that wait to be looked at now.")
RECONCILES = Counter("pgwarden_operator_reconciles_total", "Looks at objects.", ["kind", "outcome"])
SECONDS = Histogram("pgwarden_operator_reconcile_duration_seconds", "How long a look took.", ["kind"])

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 300.0

log = structlog.get_logger()

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Looks at one object; returns seconds after which it wants to be looked at again, None for the next resync, infinity
for one that is gone."""


class Queue:
    """Keys that wait, keys that are worked on, and keys that wait for a time.

    A key that is added while it is worked on is worked on again afterwards. A look that raises is repeated after
    0.5 s, 1 s, 2 s ... up to five minutes, with jitter.
    """

    def __init__(self, resync_seconds: float) -> None:
        self.resync_seconds = resync_seconds
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._timer_changed = asyncio.Event()

    def add(self, key: Key) -> None:
        """The object wants to be looked at now."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)
            DEPTH.set(len(self._waiting))

    def add_after(self, key: Key, seconds: float) -> None:
        """The object wants to be looked at in `seconds`, or earlier when that was asked for already."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, next(self._order), key))
            self._timer_changed.set()

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    async def run(self, reconcile: Reconcile, workers: int) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_timers())
            for _ in range(workers):
                group.create_task(self._work(reconcile))

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._working.add(key)
            self._due.pop(key, None)
            DEPTH.set(len(self._waiting))
            try:
                await self._look(reconcile, key)
            finally:
                self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _look(self, reconcile: Reconcile, key: Key) -> None:
        try:
            with SECONDS.labels(key.kind).time():
                after = await reconcile(key)
        except Exception as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(count - 1, 20))
            RECONCILES.labels(key.kind, "error").inc()
            log.warning(
                "reconcile failed", object=str(key), error=str(error), retry_seconds=round(delay, 1), exc_info=True
            )
            self.add_after(key, delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        else:
            self._failures.pop(key, None)
            RECONCILES.labels(key.kind, "done").inc()
            if after != math.inf:
                resync = self.resync_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
                self.add_after(key, resync if after is None else min(after, resync))

    async def _run_timers(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._timers and self._timers[0][0] <= loop.time():
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            delay = self._timers[0][0] - loop.time() if self._timers else None
            self._timer_changed.clear()
            # Not wait_for: in Python 3.11 it may swallow a cancellation, and the operator would not end.
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._timer_changed.wait()
