"""What complaints of PostgreSQL's tools mean: tables of patterns, of which the first that matches wins. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What a complaint means, and what to do about it."""

    pattern: re.Pattern[str]
    reason: str
    remedy: str
    retryable: bool = False


def meaning(pattern: str, reason: str, remedy: str, *, retryable: bool = False) -> Meaning:
    """One row of a table; capitals make no difference."""
    return Meaning(re.compile(pattern, re.IGNORECASE), reason, remedy, retryable)


def meaning_of(text: str, table: Iterable[Meaning]) -> Meaning | None:
    """The first row that matches what a tool said; None where none does."""
    return next((each for each in table if each.pattern.search(text)), None)
