"""What `pgwarden restore drill` asks for, and how it tells the steps."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from pgwarden.cli.restore import parse_time
from pgwarden.cli.restore_drill import DrillWish, StepTeller
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.resource import RestoreRequest
from tests.support.objects import drill_request

POLICY: dict[str, Any] = {
    "clusterRef": {"name": "operational"},
    "storeRef": {"name": "bucket"},
    "drill": {
        "schedule": "0 4 * * 0",
        "target": "RandomMoment",
        "keepLast": 3,
        "image": "postgres:17",
        "storage": {"size": "5Gi", "storageClassName": "fast"},
        "checks": [{"name": "rows", "database": "app", "query": "SELECT 1"}],
        "identity": {"name": "age", "key": "identity"},
    },
    "jobTemplate": {"priorityClassName": "low"},
}
AT = datetime(2026, 11, 23, 11, 42, tzinfo=UTC)


def test_a_policy_lends_how_it_makes_its_own() -> None:
    made = RestoreRequest.of(DrillWish("operational", None, None).manifest("shop", POLICY))
    drill = made.spec.target.drill
    assert drill is not None
    assert (drill.image, drill.storage.size, drill.storage.storage_class_name) == ("postgres:17", "5Gi", "fast")
    assert [each.name for each in made.spec.checks] == ["rows"]
    assert made.spec.identity is not None
    assert made.spec.job_template.priority_class_name == "low"
    assert made.spec.source.target is not None and made.spec.source.target.latest
    assert made.metadata.labels == {"pgwarden.dev/policy": "operational"}


def test_what_is_named_comes_before_the_policy() -> None:
    wish = DrillWish("operational", None, AT, size="9Gi", storage_class="")
    made = RestoreRequest.of(wish.manifest("shop", POLICY))
    assert made.spec.target.drill is not None
    storage = made.spec.target.drill.storage
    assert (storage.size, storage.storage_class_name) == ("9Gi", "")
    assert made.spec.source.target is not None
    assert made.spec.source.target.time == AT


@pytest.mark.parametrize("at", [None, AT])
def test_a_backup_alone_is_restored_to_its_end_or_to_a_moment_after_it(at: datetime | None) -> None:
    made = RestoreRequest.of(DrillWish(None, "nightly", at).manifest("shop", None))
    assert made.spec.source.backup_ref is not None and made.spec.source.backup_ref.name == "nightly"
    assert (made.spec.source.target and made.spec.source.target.time) == at
    assert made.metadata.labels == {}


@pytest.mark.parametrize(("policy", "backup"), [(None, None), ("a", "b")])
def test_it_takes_a_policy_or_a_backup(policy: str | None, backup: str | None) -> None:
    with pytest.raises(TaskError, match="a policy or a backup"):
        DrillWish(policy, backup, None).source()


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T11:42:00", "11:42"])
def test_a_moment_without_its_zone_is_refused(text: str) -> None:
    with pytest.raises(TaskError, match="no moment with a time zone"):
        parse_time(text)


def test_each_step_is_told_once_when_it_has_ended() -> None:
    fetch = {
        "name": "Fetch",
        "state": "Done",
        "startTime": "2026-11-23T11:00:00Z",
        "completionTime": "2026-11-23T11:01:05Z",
        "message": "1Gi",
    }
    first = drill_request(status={"steps": [fetch, {"name": "Verify", "state": "Running"}]})
    then = drill_request(status={"steps": [fetch, {"name": "Verify", "state": "Failed", "message": "a page"}]})
    output = io.StringIO()
    teller = StepTeller(output)
    for request in (first, first, then, then):
        teller.tell(request)
    assert output.getvalue().splitlines() == ["Fetch             1m5s  1Gi", "Verify                  FAILED"]
