"""What `pgwarden backup now` asks for, and how it tells a failure from a backup that was not needed."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.cli.backup_cluster import Wish, backup_object, counted, outcome
from pgwarden.jobs.errors import TaskError
from pgwarden.policies.handlers import is_of
from pgwarden.policies.resource import BackupPolicy
from tests.support.objects import NAMESPACE, body, condition, restorable_backup

POLICY: dict[str, Any] = {
    "clusterRef": {"name": "operational"},
    "storeRef": {"name": "bucket"},
    "schedules": {"full": {"schedule": "30 1 * * *"}},
    "jobTemplate": {"priorityClassName": "low"},
    "maxRateKiB": 64,
    "logical": {"globals": False},
}


def test_a_policy_lends_how_it_takes_its_own() -> None:
    full = Wish(None, None, "nightly", BackupType.FULL).spec(POLICY)
    kept = ("clusterRef", "storeRef", "jobTemplate", "maxRateKiB")
    assert full == {**{key: POLICY[key] for key in kept}, "type": "Full"}
    dump = Wish(None, None, "nightly", BackupType.LOGICAL).spec(POLICY)
    assert (dump["logical"], "maxRateKiB" in dump) == ({"globals": False}, False)


def test_what_is_named_comes_before_the_policy() -> None:
    spec = Wish(None, "elsewhere", "nightly", BackupType.FULL).spec(POLICY)
    assert (spec["clusterRef"], spec["storeRef"]) == ({"name": "operational"}, {"name": "elsewhere"})


@pytest.mark.parametrize(("store", "its_own"), [(None, True), ("bucket", True), ("elsewhere", False)])
def test_what_is_taken_into_the_archive_of_a_policy_is_one_of_its_own(store: str | None, its_own: bool) -> None:
    policy = BackupPolicy.of(body("BackupPolicy", "nightly", POLICY))
    spec = Wish(None, store, "nightly", BackupType.FULL).spec(POLICY)
    made = counted(backup_object("by-hand", NAMESPACE, spec), policy)
    assert is_of(policy, DatabaseBackup.of(made)) is its_own
    owners = [each["uid"] for each in made["metadata"].get("ownerReferences", [])]
    assert owners == ([policy.metadata.uid] if its_own else [])


@pytest.mark.parametrize(("cluster", "store"), [(None, None), ("operational", None), (None, "bucket")])
def test_without_a_cluster_and_a_store_nothing_is_asked_for(cluster: str | None, store: str | None) -> None:
    with pytest.raises(TaskError, match="it takes a cluster and a store"):
        Wish(cluster, store, None, BackupType.FULL).spec(None)


@pytest.mark.parametrize(
    ("ready", "restorable", "reason", "good"),
    [
        ("True", "True", "Completed", True),
        ("True", "False", "NothingNew", True),
        ("False", "False", "StoreFull", False),
        ("False", "False", "Damaged", False),
    ],
)
def test_a_backup_that_was_not_needed_is_no_failure(ready: str, restorable: str, reason: str, good: bool) -> None:
    conditions = [condition("Ready", ready, reason), condition("Restorable", restorable, reason)]
    assert outcome(restorable_backup(conditions=conditions))[:2] == (good, reason)
