"""A probe says whether a store can be written to, why not, and leaves nothing behind."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Outcome, Result, Task
from pgwarden.storage.store import open_store
from pgwarden.stores.contract import ProbeStoreReport, ProbeStoreTask
from tests.support.filesystem import remount, small_filesystem
from tests.support.postgres import free_port
from tests.support.s3 import S3Server, s3_server


def probe(store: StoreLocation) -> tuple[Result, ProbeStoreReport]:
    task = Task(
        operation=Operation.PROBE_STORE,
        nonce="0123456789abcdef",
        object=ObjectRef(kind="BackupStore", namespace="shop", name="store", uid="1"),
        payload=ProbeStoreTask(store=store).model_dump(mode="json", by_alias=True),
    )
    result = perform(task, AgentContext(task, output=io.StringIO()))
    assert result.remedy or result.outcome == Outcome.SUCCEEDED
    return result, ProbeStoreReport.model_validate(result.report)


def test_a_bucket_that_works(s3: S3Server) -> None:
    bucket = s3.new_bucket()
    result, report = probe(s3.location(bucket, prefix="team/a"))
    assert (result.outcome, result.reason) == (Outcome.SUCCEEDED, "StoreWritable")
    assert (report.reachable, report.writable, report.total_bytes) == (True, True, None)
    assert s3.objects(bucket) == {}


def test_a_claim_that_works_tells_its_size() -> None:
    with small_filesystem(32) as mount:
        store = StoreLocation(claim=ClaimLocation(path=str(mount)), prefix="team/a")
        result, report = probe(store)
        assert (result.outcome, report.writable) == (Outcome.SUCCEEDED, True)
        assert report.free_bytes is not None and report.total_bytes is not None
        assert 16 << 20 < report.free_bytes <= report.total_bytes <= 32 << 20
        assert list(open_store(store).list("")) == []


def test_a_full_claim_and_a_read_only_one() -> None:
    with small_filesystem(8) as mount:
        (mount / "ballast").write_bytes(b"")
        with (mount / "ballast").open("wb", buffering=0) as ballast:
            while _written(ballast, bytes(4096)):
                pass
        store = StoreLocation(claim=ClaimLocation(path=str(mount)))
        result, report = probe(store)
        assert (result.reason, report.reachable, report.writable) == ("StoreFull", True, False)
        assert report.free_bytes is not None and report.free_bytes < 4096
        remount(mount, "ro")
        result, report = probe(store)
        assert (result.reason, report.reachable, report.writable) == ("StoreReadOnly", True, False)


def _written(file: io.FileIO, content: bytes) -> bool:
    try:
        return file.write(content) > 0
    except OSError:
        return False


def test_a_claim_that_is_not_mounted(tmp_path: Path) -> None:
    result, report = probe(StoreLocation(claim=ClaimLocation(path=str(tmp_path / "absent"))))
    assert (result.reason, report.reachable, report.writable) == ("ClaimMissing", False, False)


@pytest.mark.parametrize(
    ("bucket", "wrong", "reason"),
    [
        ("no-such-bucket", {}, "BucketNotFound"),
        ("backups", {"secret_key": "not the secret"}, "StoreCredentialsRejected"),
        ("backups", {"access_key": "nobody"}, "StoreCredentialsRejected"),
    ],
)
def test_a_bucket_that_cannot_be_used(s3: S3Server, bucket: str, wrong: dict[str, str], reason: str) -> None:
    result, report = probe(s3.location(bucket, **wrong))  # type: ignore[arg-type]
    assert (result.reason, report.reachable, report.writable) == (reason, False, False)


def test_a_server_that_does_not_answer(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    location = s3.location()
    assert location.s3
    away = location.s3.model_copy(update={"endpoint": f"https://localhost:{free_port()}"})
    result, report = probe(location.model_copy(update={"s3": away}))
    assert (result.reason, result.retryable, report.reachable) == ("StoreUnreachable", True, False)


def test_a_read_only_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    with s3_server() as server:
        server.stop()
        server.start(read_only=True)
        result, report = probe(server.location())
        assert (result.reason, report.reachable, report.writable) == ("StoreAccessDenied", True, False)


def test_a_recipient_that_is_none_is_found_before_a_backup_needs_it(tmp_path: Path) -> None:
    store = StoreLocation(claim=ClaimLocation(path=str(tmp_path)), recipients=["age1nonsense"])
    result, _ = probe(store)
    assert result.reason == "InvalidRecipient"
