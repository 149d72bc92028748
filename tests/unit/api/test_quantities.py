"""Numbers as people and Kubernetes write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.quantities import MULTIPLIERS, human_bytes, human_seconds, parse_quantity, rounded


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (1536, "1.50 KiB"), (1 << 30, "1.00 GiB"), (1 << 62, "4096 PiB")],
)
def test_bytes_for_people(count: int, shown: str) -> None:
    assert human_bytes(count) == shown


@given(st.integers(0, 1 << 62))
def test_bytes_for_people_fit_a_column(count: int) -> None:
    assert re.fullmatch(r"\d+(\.\d{1,2})? (B|[KMGTP]iB)", human_bytes(count))


@given(st.integers(0, 1 << 62))
def test_rounding_keeps_three_digits_and_is_stable(count: int) -> None:
    assert abs(rounded(count) - count) <= count * 0.005
    assert rounded(rounded(count)) == rounded(count)


@given(st.integers(0, 9999), st.sampled_from(sorted(MULTIPLIERS)))
def test_quantities_are_read_as_kubernetes_means_them(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == int(number * MULTIPLIERS[suffix])


@pytest.mark.parametrize(("text", "value"), [("1.5Gi", 3 << 29), ("500m", 0), ("2", 2), (7, 7), ("1k", 1000)])
def test_quantities_with_fractions_and_without_unit(text: str | int, value: int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1 apple", "1KB", "1iG", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|convert"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.4, "59s"), (60, "1m"), (3725, "1h2m"), (90000, "1d1h"), (86400, "1d")]
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert human_seconds(seconds) == shown
