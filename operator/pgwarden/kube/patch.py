"""JSON merge patches (RFC 7396) between two statuses: only what differs, and nothing when nothing does."""

from __future__ import annotations

from typing import Any


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The patch that turns `before` into `after`: lists whole, removed keys as null, empty when they are equal."""
    patch: dict[str, Any] = {}
    for key in before.keys() - after.keys():
        patch[key] = None
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = merge_patch(old, value)
            if inner:
                patch[key] = inner
        elif value != old or key not in before:
            patch[key] = value
    return patch


Path = tuple[str, ...]
"""Where something stands: names of fields, `[]` for any item of a list."""


def pruned(sent: Any, kept: Any, at: Path = ()) -> set[Path]:
    """Paths of the fields that were sent and did not come back: the schema in the cluster does not know them.

    A list that came back with another length is not compared: somebody changed it meanwhile.
    """
    found: set[Path] = set()
    if isinstance(sent, dict) and isinstance(kept, dict):
        for name, value in sent.items():
            found |= pruned(value, kept[name], (*at, name)) if name in kept else {(*at, name)}
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for one, other in zip(sent, kept, strict=True):
            found |= pruned(one, other, (*at, "[]"))
    return found


def without(value: Any, paths: set[Path], at: Path = ()) -> Any:
    """`value` without what stands at those paths."""
    if isinstance(value, dict):
        return {name: without(each, paths, (*at, name)) for name, each in value.items() if (*at, name) not in paths}
    if isinstance(value, list):
        return [without(each, paths, (*at, "[]")) for each in value]
    return value
