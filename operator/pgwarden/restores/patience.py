"""Waits for an archive that is about to tell of the moment that is asked for.

An archiver writes down once a minute when the server's WAL was where; a restore to what was half a minute ago, made at
once by somebody who has just dropped a table, would be refused although its WAL is in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import Resolved, TargetPoint

RECENT = timedelta(minutes=10)
"""What an archiver had to say of earlier moments lies in the store, or never will."""
CLOCKS_APART = timedelta(minutes=1)
"""How far ahead of the agent's clock a time may lie that is of the past by the server's."""
PATIENCE_SECONDS = 150.0
POLL_SECONDS = 3.0


def patiently(
    find: Callable[[], Resolved],
    target: TargetPoint | None,
    context: AgentContext,
    *,
    patience: float = PATIENCE_SECONDS,
    poll: float = POLL_SECONDS,
    step: str = "Resolve",
) -> Resolved:
    """What `find` gives, in the end, where it refuses a time of the last minutes because the archive has not come there
    yet; `step` is the one that waits. Raises what `find` raises, and Stopped."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return find()
        except TaskError as error:
            if error.reason != "TargetBeyondArchive" or not recent(target, datetime.now(UTC)):
                raise
            if time.monotonic() >= deadline:
                raise TaskError(
                    error.reason,
                    f"{error.message}; it was waited for {patience:.0f} s, and the archive has not come further",
                    remedy=f"{error.remedy} Or restore all that there is with a new RestoreRequest (target.latest).",
                ) from error
            context.log(f"the archive may tell of that moment within a minute: {error.message}")
        context.progress(step, detail="waiting for the archive to come to the target")
        context.stop.wait(poll)
        context.check_stop()


def recent(target: TargetPoint | None, now: datetime) -> bool:
    """Whether a target is a time that an archive may be about to tell of."""
    return target is not None and target.time is not None and now - RECENT <= target.time <= now + CLOCKS_APART
