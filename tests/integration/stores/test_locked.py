"""Stores that keep what is deleted, or delete nothing: backups go on, retention goes round it, both are explained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgwarden.catalogue.contract import What
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.store import open_store
from tests.integration.stores.test_probe import probe
from tests.support.archive import NEWEST_ONLY, Archived
from tests.support.backups import take_backup
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3Server, s3_server
from tests.support.s3_requests import VERSIONING, locked_bucket, s3_request, versions


@pytest.fixture(scope="module")
def versioned() -> Iterator[S3Server]:
    """A server that can keep versions."""
    with s3_server(versions=True) as server:
        yield server


def test_a_locked_object_cannot_be_deleted_and_the_reason_says_so(s3: S3Server) -> None:
    store = open_store(s3.location(locked_bucket(s3, "locked-object")))
    store.put("a/b", b"content")
    with pytest.raises(TaskError) as caught:
        store.delete("a/b")
    assert (caught.value.reason, caught.value.retryable) == ("ObjectLocked", False)
    assert "a/b" in caught.value.message
    assert "object lock" in caught.value.message
    assert store.read_small("a/b") == b"content"


def test_a_probe_calls_a_locked_bucket_writable_and_tells_what_it_keeps(s3: S3Server) -> None:
    bucket = locked_bucket(s3, "locked-probe")
    for _ in range(2):
        result, report = probe(s3.location(bucket))
        assert (result.reason, report.writable, report.kept_reason) == ("StoreWritable", True, "ObjectLocked")
        assert "object lock" in report.kept


def test_a_prune_of_a_locked_bucket_ends_well_with_everything_whole(postgres17: PostgresServer, s3: S3Server) -> None:
    archived = Archived(s3.location(locked_bucket(s3, "locked-archive")))
    first, second = (take_backup(postgres17.address(), archived.location)[1] for _ in range(2))
    before = archived.names()
    result, _ = archived.run(What.PRUNE, retention=NEWEST_ONLY)
    assert (result.outcome, result.reason) == ("Succeeded", "DeletionRefused"), result.message
    assert "object lock" in result.message
    assert archived.names() >= before
    assert archived.states() == {first.backup_id: "Restorable", second.backup_id: "Restorable"}
    found = archived.report(What.EXPIRE, backups=[first.backup_id], promised=False)
    assert found.expiry is not None
    assert [each.reason for each in found.expiry.refused] == ["DeletionRefused"]


def test_a_bucket_that_keeps_versions_is_told_and_a_deletion_only_hides(
    postgres17: PostgresServer, versioned: S3Server
) -> None:
    bucket = versioned.new_bucket()
    _, before = probe(versioned.location(bucket))
    assert not before.versions
    s3_request(versioned, "PUT", f"/{bucket}", {"versioning": ""}, VERSIONING)
    _, report = probe(versioned.location(bucket))
    assert (report.versions, report.kept) == (True, "")
    archived = Archived(versioned.location(bucket))
    first, second = (take_backup(postgres17.address(), archived.location)[1] for _ in range(2))
    assert archived.run(What.PRUNE, retention=NEWEST_ONLY)[0].reason == "Pruned"
    assert archived.states() == {second.backup_id: "Restorable"}
    kept = versions(versioned, bucket)
    assert f"{first.backup_id}/backup.json</Key>" in kept, "a person can have it back"
    assert "<DeleteMarker>" in kept


def test_with_lock_and_versions_retention_hides_what_the_lock_holds(
    postgres17: PostgresServer, versioned: S3Server
) -> None:
    archived = Archived(versioned.location(locked_bucket(versioned, "locked-versions")))
    first, second = (take_backup(postgres17.address(), archived.location)[1] for _ in range(2))
    assert archived.run(What.PRUNE, retention=NEWEST_ONLY)[0].reason == "Pruned"
    assert archived.states() == {second.backup_id: "Restorable"}
    assert f"{first.backup_id}/backup.json</Key>" in versions(versioned, "locked-versions")
