"""Numbers as people and Kubernetes write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pgwarden.api.model import Quantity
from pgwarden.api.quantities import LARGEST, MULTIPLIERS, human_bytes, human_seconds, parse_quantity, rounded


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1Ki"),
        (1536, "1.5Ki"),
        (10 << 30, "10Gi"),
        ((1 << 30) - 1, "1Gi"),
        (123_456_789, "118Mi"),
        (1 << 62, "4Ei"),
    ],
)
def test_bytes_for_people(count: int, shown: str) -> None:
    assert human_bytes(count) == shown


@given(st.integers(0, 1 << 62))
def test_bytes_for_people_fit_a_column(count: int) -> None:
    assert re.fullmatch(r"\d{1,4}(\.\d{1,2})?( B|[KMGTPE]i)", human_bytes(count))


@given(st.integers(0, 1 << 62))
def test_rounding_keeps_three_digits_is_stable_and_shows_the_same_text(count: int) -> None:
    assert abs(rounded(count) - count) <= count * 0.005 + 1
    assert rounded(rounded(count)) == rounded(count)
    assert human_bytes(rounded(count)) == human_bytes(count)


@given(st.integers(0, 9999), st.sampled_from(sorted(MULTIPLIERS)))
def test_quantities_are_read_as_kubernetes_means_them(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == min(int(number * MULTIPLIERS[suffix]), LARGEST)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5Gi", 3 << 29),
        ("500m", 0),
        ("2", 2),
        (7, 7),
        ("1k", 1000),
        ("1e9", 10**9),
        ("1.5E3", 1500),
        ("2e-1", 0),
        ("2E", 2 * 10**18),
        ("1Ei", 1 << 60),
        ("5000000n", 0),
        (".5Ki", 512),
        ("+3.Mi", 3 << 20),
        # As Kubernetes does, and without counting that far.
        ("9e999", 2**63 - 1),
    ],
)
def test_every_form_of_a_quantity_is_read(text: str | int, value: int) -> None:
    assert parse_quantity(text) == value
    TypeAdapter(Quantity).validate_python(text)


@pytest.mark.parametrize("text", ["", "Gi", "1 apple", "1KB", "1iG", "--1", "-1Gi", ".", "1e", "1e1e1", "1Zi", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(text)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.4, "59s"), (60, "1m"), (3725, "1h2m"), (90000, "1d1h"), (86400, "1d")]
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert human_seconds(seconds) == shown
