"""How a shell waits for what the operator does about an object, and says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pgwarden.api.conditions import Condition, Truth, find
from pgwarden.jobs.errors import TaskError

POLL_SECONDS = 2.0
Found = TypeVar("Found")


async def waited_for(
    look: Callable[[], Awaitable[Found | None]], seconds: float, late: str, remedy: str, *, poll: float = POLL_SECONDS
) -> Found:
    """What `look` finds, as soon as it finds something. Raises TaskError with reason StillRunning, which says `late`
    and `remedy`, after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if (found := await look()) is not None:
                    return found
                await asyncio.sleep(poll)
    except TimeoutError as error:
        raise TaskError("StillRunning", late, remedy=remedy) from error


def answer(conditions: Sequence[Condition], type_: str, *, generation: int = 0) -> Condition | None:
    """What the operator says of a wish that came with that generation of an object; None while it is at work."""
    said = find(conditions, type_)
    fresh = said is not None and said.observed_generation >= generation
    return said if said is not None and fresh and said.status != Truth.UNKNOWN else None
