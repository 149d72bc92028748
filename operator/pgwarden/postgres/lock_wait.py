"""Watches, over a second connection, how long a running script waits for locks, and for whom.

pg_locks.waitstart (PostgreSQL 14 on) is when a wait began, so looking a few times a second is enough to know its
length. The second connection is opened only for a script that runs long enough to be worth it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, LiteralString

import psycopg

from pgwarden.jobs.errors import TaskError

PATIENCE_SECONDS = 0.3
INTERVAL_SECONDS = 0.1

# Qualified throughout: this connection is used as it comes, without a pinned search_path.
WAITING: LiteralString = """
    SELECT pg_catalog.date_part('epoch', lock.waitstart),
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) lock.waitstart),
           ARRAY(
               SELECT pg_catalog.format('%s (user %s, %s)', activity.pid, activity.usename, activity.application_name)
               FROM pg_catalog.pg_stat_activity AS activity
               WHERE activity.pid OPERATOR(pg_catalog.=) ANY (pg_catalog.pg_blocking_pids(lock.pid))
               LIMIT 3
           )
    FROM pg_catalog.pg_locks AS lock
    WHERE lock.pid OPERATOR(pg_catalog.=) $1 AND NOT lock.granted AND lock.waitstart IS NOT NULL
"""


class LockWatch:
    """What one script waits for. `look` is called again and again while it runs; `close` ends the connection."""

    def __init__(self, connect: Callable[[], psycopg.Connection[tuple[Any, ...]]], backend_pid: int) -> None:
        self._connect = connect
        self._backend_pid = backend_pid
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._blind = False
        self.restart()

    def restart(self) -> None:
        """Begins to watch the next script."""
        self._next_look = time.monotonic() + PATIENCE_SECONDS
        self._waits: dict[float, float] = {}
        self.blockers: list[str] = []
        """Who was in the way when last looked at: process id, user, application."""

    @property
    def wait_ms(self) -> float:
        """How long the script has waited for locks, as far as it was seen."""
        return round(sum(self._waits.values()) * 1000, 1)

    def look(self) -> None:
        """Looks when it is time to. A second connection that is refused is done without: it is not worth a failure."""
        if self._blind or time.monotonic() < self._next_look:
            return
        try:
            if self._connection is None:
                self._connection = self._connect()
            rows = psycopg.RawCursor(self._connection).execute(WAITING, (self._backend_pid,)).fetchall()
        except (psycopg.Error, TaskError):
            self._blind = True
            return
        for started, waited, blockers in rows:
            self._waits[started] = max(waited, self._waits.get(started, 0.0))
            self.blockers = blockers or self.blockers
        self._next_look = time.monotonic() + INTERVAL_SECONDS

    def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
