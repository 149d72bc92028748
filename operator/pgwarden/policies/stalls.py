"""For how long a run has not moved: what the operator has seen itself, and what its predecessor has written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from pgwarden.policies.runs import Run

WATCHED_SECONDS = 180.0
"""Nobody is called stuck whom this process has not watched so long: what was written down goes by clocks that jump."""


class StallWatch:
    """Tells by a clock that never jumps. Of a run that it has not seen before it believes what stands in its status."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._seen: dict[tuple[str, str], tuple[int, str, float]] = {}

    def unmoved(self, namespace: str, runs: Sequence[Run], now: datetime, stuck_after: float) -> dict[str, float]:
        """Name -> seconds since its progress last moved. `now` is the wall's clock, which dates what was written down;

        runs that are open are the only ones told of. So an operator that is restarted every few minutes finds out too.
        """
        found = {}
        for run in runs:
            key = (namespace, run.name)
            if run.finished:
                self._seen.pop(key, None)
                continue
            before = self._seen.get(key)
            if before is None:
                earlier = min(written_ago(run, now), max(0.0, stuck_after - WATCHED_SECONDS))
                before = self._seen[key] = (run.progress, run.reason, self.clock() - earlier)
            elif before[:2] != (run.progress, run.reason):
                before = self._seen[key] = (run.progress, run.reason, self.clock())
            found[run.name] = self.clock() - before[2]
        return found


def written_ago(run: Run, now: datetime) -> float:
    """Seconds since a run moved as its status tells; none where it tells nothing, or a moment to come."""
    return max(0.0, (now - run.moved).total_seconds()) if run.moved is not None else 0.0
