"""A claim that holds a database is never taken for a store; a pod that somebody looks into it with is no database."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.stores.claims import has_template, is_shared, kept_by, possible_owners


def pod(
    name: str,
    claim: str,
    *,
    owner: str = "StatefulSet",
    ours: bool = False,
    phase: str = "Running",
    read_only: bool = False,
) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "pgwarden", "pgwarden.dev/store-claim": claim} if ours else {}
    owners = [{"kind": owner, "name": "owner", "controller": True}] if owner else []
    source = {"claimName": claim, "readOnly": read_only}
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
        "spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": source}]},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("pods", "name"),
    [
        ([], ""),
        ([pod("postgres-0", "backups")], "postgres-0"),
        ([pod("operational-1", "backups", owner="Cluster")], "operational-1"),
        ([pod("postgres-0", "data")], ""),
        ([pod("postgres-0", "backups", read_only=True)], ""),
        ([pod("somebody-looks", "backups", owner="")], ""),
        ([pod("copies-elsewhere", "backups", owner="Job")], ""),
        ([pod("job", "backups", owner="Job", ours=True)], ""),
        ([pod("archiver", "backups", owner="ReplicaSet", ours=True)], ""),
        ([pod("done", "backups", phase="Succeeded")], ""),
        ([pod("archiver", "backups", ours=True), pod("postgres-0", "backups")], "postgres-0"),
    ],
)
def test_what_is_kept_running_on_a_claim_is_told_from_what_looks_into_it(pods: list[dict[str, Any]], name: str) -> None:
    assert kept_by("backups", pods) == name


def test_claims_of_a_statefulset_are_known_by_their_names() -> None:
    assert possible_owners("data-operational-0") == [("data", "operational")]
    assert ("pg-data", "my-db") in possible_owners("pg-data-my-db-12")
    assert possible_owners("backups") == possible_owners("backups-2026") == []
    stateful_set = {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}
    assert has_template(stateful_set, "data")
    assert not has_template(stateful_set, "backups")
    assert not has_template({"spec": {}}, "data")


@pytest.mark.parametrize(
    ("annotations", "shared"),
    [(None, False), ({}, False), ({"pgwarden.dev/shared-with-store": "no"}, False),
     ({"pgwarden.dev/shared-with-store": "true"}, True)],
)  # fmt: skip
def test_the_owner_of_a_claim_may_allow_a_store_beside(annotations: dict[str, str] | None, shared: bool) -> None:
    assert is_shared({"metadata": {"annotations": annotations}}) is shared
