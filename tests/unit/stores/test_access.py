"""How pods reach each sort of store: what is mounted, what must be there, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.stores.access import describe, location, mounts, volumes, wanted
from pgwarden.stores.resource import BackupStore
from tests.support.objects import body

GOOGLE = {"gcs": {"bucket": "backups", "credentials": {"name": "key", "key": "sa.json"}}, "prefix": "a"}
MICROSOFT = {"azure": {"account": "acme", "container": "backups", "credentials": {"name": "key", "key": "account"}}}
IDENTITY: dict[str, dict[str, Any]] = {
    "s3": {"s3": {"endpoint": "https://s3.example", "bucket": "backups"}},
    "gcs": {"gcs": {"bucket": "backups"}},
    "azure": {"azure": {"account": "acme", "container": "backups"}},
}


def store(spec: dict[str, Any]) -> BackupStore:
    return BackupStore.of(body("BackupStore", "store", spec))


@pytest.mark.parametrize(("spec", "told"), [(GOOGLE, "gs://backups/a"), (MICROSOFT, "azure://acme/backups")])
def test_credentials_are_one_file(spec: dict[str, Any], told: str) -> None:
    assert describe(store(spec)) == told
    where = location(store(spec))
    file = where.gcs.credentials_file if where.gcs else where.azure.account_key_file if where.azure else ""
    folder = mounts(store(spec))[0]["mountPath"]
    source = volumes(store(spec))[0]["projected"]["sources"][0]["secret"]
    assert file == f"{folder}/{source['items'][0]['path']}"
    assert [(each.name, each.keys) for each in wanted(store(spec))] == [(source["name"], (source["items"][0]["key"],))]


@pytest.mark.parametrize("kind", IDENTITY)
def test_without_credentials_the_pod_has_its_own_identity(kind: str) -> None:
    given = store(IDENTITY[kind])
    assert (volumes(given), mounts(given), wanted(given)) == ([], [], [])
    where = location(given)
    if where.s3 is not None:
        assert (where.s3.access_key_id_file, where.s3.secret_access_key_file) == ("", "")


def test_an_authority_is_mounted_without_credentials_too() -> None:
    spec = {"gcs": {"bucket": "backups", "endpoint": "https://gcs.local/", "ca": {"name": "ca"}}}
    where = location(store(spec))
    assert where.gcs is not None
    assert (where.gcs.endpoint, where.gcs.ca_file) == (
        "https://gcs.local",
        f"{mounts(store(spec))[0]['mountPath']}/ca.crt",
    )
    assert [each.purpose for each in wanted(store(spec))] == ["gcs.ca of BackupStore store"]


@pytest.mark.parametrize(("chosen", "header"), [("SSE-S3", "AES256"), ("SSE-KMS", "aws:kms")])
def test_encryption_by_the_server_is_asked_for(chosen: str, header: str) -> None:
    spec = {"s3": {**IDENTITY["s3"]["s3"], "serverSideEncryption": chosen, "kmsKeyID": "alias/backups"}}
    where = location(store(spec))
    assert where.s3 is not None
    assert (where.s3.server_side_encryption, where.s3.kms_key_id) == (header, "alias/backups")
