"""Conditions after kstatus."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.conditions import (
    Condition,
    Judgment,
    Truth,
    as_reason,
    find,
    in_progress,
    is_true,
    judge,
    merge,
    ready,
    stalled,
)
from tests.support.objects import IN_FORCE, NOW, STUCK, WORKING, kstatus


def test_the_three_shapes_of_kstatus() -> None:
    assert kstatus(ready("Done")) == IN_FORCE
    assert kstatus(in_progress("Working")) == WORKING
    assert kstatus(stalled("Broken")) == STUCK


@given(st.text())
def test_any_text_becomes_a_reason_that_the_api_server_takes(text: str) -> None:
    made = merge([], [judge("Ready", False, text, text * 3)], generation=1, now=NOW)
    assert Condition.model_validate(made[0].to_json()) == made[0]


@pytest.mark.parametrize("reason", ["HostNotFound", "A", "SQLSTATE_42601"])
def test_a_reason_that_is_one_stays(reason: str) -> None:
    assert as_reason(reason) == reason


def test_the_time_of_a_transition_moves_with_the_status_only() -> None:
    first = merge([], ready("Done", "one"), generation=1, now=NOW)
    later = merge(first, ready("Done", "another message"), generation=2, now=NOW + timedelta(hours=1))
    assert {c.last_transition_time for c in later} == {NOW}
    assert {c.observed_generation for c in later} == {2}
    turned = merge(later, stalled("Broken"), generation=2, now=NOW + timedelta(hours=2))
    assert find(turned, "Ready").last_transition_time == NOW + timedelta(hours=2)  # type: ignore[union-attr]
    assert find(turned, "Reconciling").last_transition_time == NOW  # type: ignore[union-attr]


JUDGMENTS = st.lists(
    st.builds(
        Judgment,
        type=st.sampled_from(["Ready", "Stalled", "Reachable"]),
        status=st.sampled_from(Truth),
        reason=st.just("R"),
    ),
    max_size=6,
)


@given(JUDGMENTS, JUDGMENTS)
def test_conditions_are_a_map_in_a_stable_order(one: list[Judgment], other: list[Judgment]) -> None:
    first = merge([], one, generation=1, now=NOW)
    second = merge(first, other, generation=1, now=NOW)
    types = [condition.type for condition in second]
    assert len(types) == len(set(types))
    assert types[: len(first)] == [condition.type for condition in first]
    for judgment in reversed(other):
        last = next(each for each in reversed(other) if each.type == judgment.type)
        assert is_true(second, judgment.type) == (last.status == Truth.TRUE)
    assert merge(second, other, generation=1, now=NOW + timedelta(days=1)) == second
