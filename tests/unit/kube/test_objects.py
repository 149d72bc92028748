"""Objects that this version cannot read: told in words, without what stands in them."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.api.conditions import Condition
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.kube.events import conditions_of
from pgwarden.kube.objects import UnreadableObject, find, read
from tests.support.context import operator_context
from tests.support.objects import body, condition

SPEC: dict[str, Any] = {"clusterRef": {"name": "operational"}, "storeRef": {"name": "claims"}}


def test_a_field_of_a_later_version_is_named_and_its_value_is_not() -> None:
    later = body("DatabaseBackup", "nightly", {**SPEC, "type": "Incremental from the future"})
    with pytest.raises(UnreadableObject) as refused:
        read(DatabaseBackup, later)
    assert "DatabaseBackup shop/nightly" in str(refused.value)
    assert "spec.type" in str(refused.value)
    assert "future" not in str(refused.value)


def test_fields_that_are_unknown_are_passed_over() -> None:
    assert (
        read(DatabaseBackup, body("DatabaseBackup", "nightly", {**SPEC, "new": 1}, {"newer": []})).spec.type == "Full"
    )


def test_a_long_list_of_errors_is_cut() -> None:
    spec: dict[str, Any] = {"cancel": [], "maxRateKiB": "z", "suspend": [], "type": 1, "jobTemplate": 3}
    with pytest.raises(UnreadableObject) as refused:
        read(DatabaseBackup, body("DatabaseBackup", "n", spec))
    assert "more" in str(refused.value)


async def test_what_is_not_there_is_none() -> None:
    assert find(operator_context(), DatabaseBackup, "shop", "nightly") is None


def test_conditions_of_a_later_version_are_passed_over() -> None:
    odd = {"conditions": [condition("Ready", "True"), condition("New", "Perhaps"), {"type": "Half"}]}
    found = conditions_of(body("DatabaseBackup", "nightly", SPEC, odd))
    assert found == [Condition.model_validate(condition("Ready", "True"))]
