"""The queue: one look at a time, none lost, failures repeated less and less often, looks at a wanted time."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.kube.key import Key
from pgwarden.kube.queue import LONGEST_DELAY_SECONDS, Queue
from tests.support import clock

RESYNC = 600.0
A, B = Key("DatabaseBackup", "shop", "a"), Key("DatabaseBackup", "shop", "b")


def now() -> float:
    """The clock's time, without the little that passes in any case."""
    return round(asyncio.get_running_loop().time(), 2)


@dataclass
class Looks:
    """Counts looks, and sees to it that no object is looked at twice at the same time."""

    answer: Callable[[Key, int], float | Exception | None] = lambda key, count: None
    seconds: float = 0.0
    times: dict[Key, list[float]] = field(default_factory=dict)
    open: set[Key] = field(default_factory=set)

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.open, "looked at twice at the same time"
        self.open.add(key)
        self.times.setdefault(key, []).append(now())
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
        finally:
            self.open.discard(key)
        answer = self.answer(key, len(self.times[key]))
        if isinstance(answer, Exception):
            raise answer
        return answer


def work(looks: Looks, script: Callable[[Queue], Awaitable[None]], *, workers: int = 3) -> None:
    """Runs a queue while the script goes on, on a clock that jumps."""

    async def run() -> None:
        queue = Queue(RESYNC)
        running = asyncio.create_task(queue.run(looks, workers))
        await script(queue)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    clock.run(run())


def test_wake_ups_before_a_look_are_one_look() -> None:
    looks = Looks()

    async def script(queue: Queue) -> None:
        for _ in range(50):
            queue.add(A)
        await asyncio.sleep(1)

    work(looks, script)
    assert len(looks.times[A]) == 1


def test_wake_ups_during_a_look_are_one_more_look() -> None:
    looks = Looks(seconds=10)

    async def script(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(5)
        for _ in range(50):
            queue.add(A)
        await asyncio.sleep(30)

    work(looks, script)
    assert looks.times[A] == [0, 10]


def test_objects_do_not_wait_for_each_other() -> None:
    looks = Looks(seconds=10)

    async def script(queue: Queue) -> None:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(1)

    work(looks, script)
    assert looks.times == {A: [0], B: [0]}


def test_a_look_comes_at_the_wanted_time() -> None:
    looks = Looks(answer=lambda key, count: 42.0 if count == 1 else None)

    async def script(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(60)

    work(looks, script)
    assert looks.times[A] == [0, 42]


def test_an_earlier_wanted_time_wins_and_a_later_one_changes_nothing() -> None:
    looks = Looks()

    async def script(queue: Queue) -> None:
        queue.add_after(A, 50)
        queue.add_after(A, 20)
        queue.add_after(A, 90)
        await asyncio.sleep(100)

    work(looks, script)
    assert looks.times[A] == [20]


def test_everything_is_looked_at_again_at_the_resync_even_when_it_wanted_to_be_later() -> None:
    for answer in (None, 7 * 24 * 3600.0):
        looks = Looks(answer=lambda key, count, answer=answer: answer)  # type: ignore[misc]

        async def script(queue: Queue) -> None:
            queue.add(A)
            await asyncio.sleep(1.2 * RESYNC)

        work(looks, script)
        first, second = looks.times[A]
        assert 0.9 * RESYNC <= second - first <= 1.1 * RESYNC


def test_an_object_that_is_gone_is_never_looked_at_again() -> None:
    looks = Looks(answer=lambda key, count: math.inf)

    async def script(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(100 * RESYNC)
        assert not queue._due
        assert not queue._timers

    work(looks, script)
    assert looks.times[A] == [0]


def test_failures_are_repeated_less_and_less_often_up_to_five_minutes() -> None:
    looks = Looks(answer=lambda key, count: ValueError("broken"))

    async def script(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(2 * 3600)

    work(looks, script)
    times = looks.times[A]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 0.4 <= pauses[0] <= 0.6
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:9]))
    assert max(pauses) <= 1.2 * LONGEST_DELAY_SECONDS
    assert len(times) < 45


def test_a_success_forgets_the_failures_before_it() -> None:
    looks = Looks(answer=lambda key, count: None if count == 6 else ValueError("broken"))

    async def script(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(60)
        queue.add(A)
        await asyncio.sleep(1)

    work(looks, script)
    assert looks.times[A][7] - looks.times[A][6] <= 0.61


def test_a_failing_object_does_not_hold_up_the_others() -> None:
    looks = Looks(answer=lambda key, count: ValueError("broken") if key == A else None)

    async def script(queue: Queue) -> None:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(1)

    work(looks, script, workers=1)
    assert looks.times[B] == [0]


EVENTS = st.lists(
    st.tuples(st.sampled_from([A, B, Key("DatabaseBackup", "shop", "c")]), st.floats(0, 5), st.booleans()), max_size=40
)


@given(EVENTS, st.floats(0, 3), st.integers(1, 4), st.integers(2, 5))
def test_no_wake_up_is_lost_whatever_comes_in_between(
    events: list[tuple[Key, float, bool]], seconds: float, workers: int, failing: int
) -> None:
    looks = Looks(
        answer=lambda key, count: ValueError("broken") if count % failing == 0 else None, seconds=round(seconds, 3)
    )
    last: dict[Key, float] = {}

    async def script(queue: Queue) -> None:
        for key, pause, later in events:
            if later:
                queue.add_after(key, pause)
                last[key] = max(last.get(key, 0), now())
            else:
                queue.add(key)
                last[key] = now()
            await asyncio.sleep(pause)
        await asyncio.sleep(0.8 * RESYNC)

    work(looks, script, workers=workers)
    for key, time in last.items():
        assert any(look >= time for look in looks.times[key]), "a wake-up was lost"


@pytest.mark.parametrize("turns", range(6))
async def test_it_ends_when_told_also_at_the_moment_a_time_is_set(turns: int) -> None:
    queue = Queue(RESYNC)
    running = asyncio.create_task(queue.run(Looks(), 1))
    queue.add_after(A, 100.0)
    for _ in range(5):
        await asyncio.sleep(0)
    queue.add_after(B, 50.0)
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    assert done == {running}
