"""A policy that is looked at while time passes, its clock jumps, and the operator crashes now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

from pgwarden.policies.resource import BackupPolicy
from tests.support.objects import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ENDS = st.sampled_from(["succeeds", "fails", "goes on"])
Moment = tuple[timedelta, timedelta, str, bool]
"""How much time passes, how far the clock jumps then, how what runs ends, and whether the operator crashes before."""


@dataclass
class World(ABC):
    """The API server, an operator, and two clocks: the one it reads, and the one that is true."""

    policy: BackupPolicy
    true: datetime = NOW
    offset: timedelta = timedelta()

    @property
    def now(self) -> datetime:
        return self.true + self.offset

    @abstractmethod
    def look(self, *, crash: bool = False) -> None:
        """One look; a crash keeps the status from being written."""

    @abstractmethod
    def end(self, how: str) -> None:
        """What runs comes to an end, or not."""

    def live(self, moments: Iterable[Moment]) -> None:
        for step, jump, how, crash in moments:
            self.true += step
            self.offset += jump
            self.look(crash=crash)
            self.end(how)

    def live_hours(self, ends: Iterable[str], hour: int, jump: timedelta) -> None:
        """An hour for each of the `ends`; in one of them the clock jumps."""
        self.live((HOUR, jump if passed == hour else timedelta(), how, False) for passed, how in enumerate(ends))


def longest_wait(began: datetime, taken: Iterable[datetime], until: datetime) -> timedelta:
    """The longest time without one that was taken."""
    moments = [began, *sorted(moment for moment in taken if moment > began), until]
    return max(later - earlier for earlier, later in pairwise(moments))


def allowed_wait(before: Iterable[Moment]) -> timedelta:
    """Of something daily while the clock jumps once: one day, and one that the jump may put the next turn off by. A
    jump back shortly before may have put off that turn already, by another day at most."""
    days = 3 if any(jump < timedelta() for _, jump, _, _ in before) else 2
    return days * DAY + HOUR
