"""Names of fields, and what models do with what they do not know."""

from __future__ import annotations

import pytest

from pgwarden.api.names import to_api_name
from pgwarden.backups.resource import DatabaseBackup
from tests.support.objects import body


@pytest.mark.parametrize(
    ("name", "api"),
    [
        ("start_lsn", "startLSN"),
        ("backup_id", "backupID"),
        ("tls", "tls"),
        ("max_rate_kib", "maxRateKiB"),
        ("fs_group", "fsGroup"),
    ],
)
def test_field_names_follow_the_api_conventions(name: str, api: str) -> None:
    assert to_api_name(name) == api


def test_a_later_versions_fields_are_ignored_and_ours_are_read() -> None:
    spec = {"clusterRef": {"name": "a", "kind": "New"}, "storeRef": {"name": "b"}, "chain": "Previous"}
    made = DatabaseBackup.of(body("DatabaseBackup", "x", spec, {"verified": True, "backupID": "y"}))
    assert (made.spec.cluster_ref.name, made.status.backup_id) == ("a", "y")
    assert "chain" not in made.spec.to_json()


def test_a_quantity_may_be_a_number_as_in_a_pods_spec() -> None:
    spec = {
        "clusterRef": {"name": "a"},
        "storeRef": {"name": "b"},
        "jobTemplate": {"resources": {"requests": {"cpu": 1, "memory": "64Mi"}}},
    }
    resources = DatabaseBackup.of(body("DatabaseBackup", "x", spec)).spec.job_template.resources
    assert resources is not None
    assert resources.to_json()["requests"] == {"cpu": "1", "memory": "64Mi"}
