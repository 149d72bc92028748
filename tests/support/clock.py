"""An event loop whose clock jumps to the next timer instead of waiting for it: hours pass at once, in order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class JumpingSelector(selectors.SelectSelector):
    """Never waits; tells its loop how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is going to happen any more: a wake-up was lost")
        # A little passes in any case, as on a real clock: a timer within its resolution would spin for ever.
        self.passed += max(1e-8, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 0."""

    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.passed


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """`asyncio.run` with a clock that jumps. RuntimeError when all wait for what never comes."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)
