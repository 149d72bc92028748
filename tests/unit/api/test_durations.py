"""Durations in specs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgwarden.api.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("1h30m", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("2w1d", timedelta(days=15)),
        ("0s", timedelta()),
    ],
)
def test_units_add_up(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "1m1h", "-1h", "1.5h", "30 d", "1y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
