"""merge_patch: what it makes, laid over `before` as RFC 7396 says, gives `after`; nothing differs, nothing is sent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.kube.patch import merge_patch


def apply(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


KEYS = st.sampled_from("abcd")
# A status holds no nulls: a merge patch could not say them.
VALUES = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text(max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_the_patch_turns_before_into_after(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert apply(before, merge_patch(before, after)) == after


@given(OBJECTS)
def test_at_rest_there_is_nothing_to_send(status: dict[str, Any]) -> None:
    assert merge_patch(status, status) == {}


def test_only_what_differs_is_sent() -> None:
    before = {"a": {"x": 1, "y": 2}, "gone": 1, "same": [1]}
    assert merge_patch(before, {"a": {"x": 1, "y": 3}, "same": [1]}) == {"a": {"y": 3}, "gone": None}
