"""Durations as people write them: 30d, 1h30m, 90s. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import StringConstraints

SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN = r"^([0-9]{1,6}w)?([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"

Duration = Annotated[str, StringConstraints(min_length=2, max_length=32, pattern=PATTERN)]


def parse_duration(text: str) -> timedelta:
    """`1h30m` as a timedelta. Raises ValueError."""
    if not text or re.fullmatch(PATTERN, text) is None:
        raise ValueError(f"{text!r} is not a duration such as 30d, 1h30m or 90s")
    return timedelta(
        seconds=sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([wdhms])", text))
    )
