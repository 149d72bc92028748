"""What other rooms must leave alone while restores are under way."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.restores.access import read_by_restores
from pgwarden.restores.resource import RestoreRequest

ATTEMPT = {"number": 1, "job": "copy-1", "startTime": "2026-11-23T03:00:00Z"}


def request(*, suspend: bool = False, **status: Any) -> RestoreRequest:
    source = {"policyRef": {"name": "nightly"}, "target": {"latest": True}}
    spec = {
        "source": source,
        "target": {"newInstance": {"name": "copy", "storage": {"size": "1Gi"}}},
        "suspend": suspend,
    }
    metadata = {"name": "copy", "namespace": "shop", "uid": "u", "generation": 1}
    return RestoreRequest.model_validate({"metadata": metadata, "spec": spec, "status": status})


@pytest.mark.parametrize(
    ("one", "read"),
    [
        (request(attempts=[ATTEMPT]), None),
        (request(), None),
        (request(suspend=True), []),
        (request(suspend=True, attempts=[ATTEMPT]), None),
        (request(attempts=[ATTEMPT], backupID="b2"), ["b2"]),
    ],
    ids=["has not chosen yet", "is about to begin", "is suspended", "was suspended too late", "has chosen"],
)
def test_a_restore_that_has_not_chosen_its_backup_may_need_any(one: RestoreRequest, read: list[str] | None) -> None:
    assert read_by_restores([one], {}) == read
