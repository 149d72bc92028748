"""A bad network, a bad server, keys that are replaced: work succeeds by trying again or ends with the right reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ArchiveIdentity, StoreLocation
from pgwarden.jobs.task import Outcome
from pgwarden.storage.objects import verify_object
from pgwarden.storage.store import ObjectExists, open_store
from tests.support.backups import backup_task, run_backup, stored_record, take_backup
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3Server, s3_server
from tests.support.s3_faults import CUT, UNANSWERED, Proxy, Request, s3_faults
from tests.support.tcp_proxy import tcp_proxy

LARGE = [os.urandom(9 << 20)] * 4


@pytest.fixture
def few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 2})
    monkeypatch.setattr("pgwarden.storage.bucket.PUTS_AT_MOST", 3)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with s3_faults(s3) as running:
        yield running


def once_in(number: int, fault: float, method: str = "PUT") -> Callable[[Request], float | None]:
    """Every so manieth object's first request of a method goes wrong. Uploads run side by side: were requests counted,
    one that is sent again could go wrong as often as it is sent."""
    seen: set[str] = set()

    def decide(request: Request) -> float | None:
        if request.method != method or request.path in seen:
            return None
        seen.add(request.path)
        return fault if len(seen) % number == 0 else None

    return decide


def committed(store: StoreLocation) -> list[str]:
    return [info.path for info in open_store(store).list("") if info.path.endswith("/backup.json")]


@pytest.mark.parametrize("fault", [500, 503, 0.3, CUT, UNANSWERED], ids=["500", "503", "slow", "cut", "unanswered"])
def test_a_backup_over_a_bad_network_succeeds_by_trying_again(
    postgres17: PostgresServer, s3: S3Server, proxy: Proxy, fault: float
) -> None:
    direct = s3.location(s3.new_bucket())
    proxy.fault = once_in(3, fault)
    report, record = take_backup(postgres17.address(), proxy.location(direct), object_bytes=4 << 20)
    assert len({request.path for request in proxy.requests if request.method == "PUT"}) >= 3, "nothing went wrong"
    for stored in record.objects:
        verify_object(open_store(direct), f"{report.location}/{stored.path}", stored)


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [(500, "StoreUnreachable", True), (503, "StoreUnreachable", True), (CUT, "StoreUnreachable", True),
     (507, "StoreFull", False), (403, "StoreAccessDenied", False)],
    ids=["500", "503", "cut", "full", "denied"],
)  # fmt: skip
@pytest.mark.usefixtures("few_retries")
def test_a_store_that_stays_bad_ends_the_backup_with_its_reason_and_nothing_listed(
    postgres17: PostgresServer, s3: S3Server, proxy: Proxy, fault: int, reason: str, retryable: bool
) -> None:
    direct = s3.location(s3.new_bucket())
    proxy.fault = lambda request: fault if "attempt-" in request.path and request.method == "PUT" else None
    result = run_backup(backup_task(postgres17.address(), proxy.location(direct)))
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, reason, retryable), result.message
    assert result.remedy
    assert committed(direct) == []
    proxy.fault = lambda _request: None
    assert run_backup(backup_task(postgres17.address(), proxy.location(direct))).outcome == Outcome.SUCCEEDED
    assert len(committed(direct)) == 1


@pytest.mark.parametrize("fault", [CUT, UNANSWERED], ids=["cut", "unanswered"])
def test_an_object_is_created_once_although_nobody_heard_the_answer(s3: S3Server, proxy: Proxy, fault: int) -> None:
    direct = s3.location(s3.new_bucket())
    store = open_store(proxy.location(direct))
    first_put_of = {"a": fault, "b": fault}
    proxy.fault = lambda request: (
        first_put_of.pop(request.path.rsplit("/", 1)[-1], None) if request.method == "PUT" else None
    )
    store.put("a", b"content")
    assert store.read_small("a") == b"content"
    open_store(direct).put("b", b"of somebody else")
    with pytest.raises(ObjectExists):
        store.put("b", b"ours")
    assert store.read_small("b") == b"of somebody else"
    assert first_put_of == {}


@pytest.mark.usefixtures("few_retries")
def test_a_large_object_that_is_given_up_is_not_listed(s3: S3Server, proxy: Proxy) -> None:
    direct = s3.location(s3.new_bucket())
    proxy.fault = lambda request: 503 if "partNumber=3" in request.path else None
    with pytest.raises(TaskError) as caught:
        open_store(proxy.location(direct)).put_stream("large", LARGE)
    assert caught.value.reason == "StoreUnreachable"
    assert list(open_store(direct).list("")) == []


@pytest.mark.usefixtures("few_retries")
def test_a_body_that_is_cut_is_never_taken_for_an_object(s3: S3Server) -> None:
    """versitygw keeps what came of a body that is not signed with its hash, and calls that the object."""
    direct = s3.location(s3.new_bucket())
    with tcp_proxy(s3.port) as proxy:
        assert direct.s3
        endpoint = f"https://localhost:{proxy.port}"
        over_proxy = direct.model_copy(update={"s3": direct.s3.model_copy(update={"endpoint": endpoint})})
        # Slow enough for the server to have had most of it when the connection ends.
        proxy.bytes_per_second, proxy.cut_after = 8_000_000, 600_000
        for number in range(10):
            with pytest.raises(TaskError) as caught:
                open_store(over_proxy).put(f"cut-{number}", os.urandom(1_000_000))
            assert (caught.value.reason, caught.value.retryable) == ("StoreUnreachable", True)
    assert list(open_store(direct).list("")) == []


def test_keys_that_are_replaced_are_taken_up() -> None:
    with s3_server() as server:
        location = server.location()
        store = open_store(location)
        store.put("before", b"1")
        replace_keys(server, "the new secret key")
        with pytest.raises(TaskError) as caught:
            store.put("between", b"2")
        assert (caught.value.reason, caught.value.retryable) == ("StoreCredentialsRejected", True)
        assert "until a moment ago" in caught.value.message
        assert location.s3
        write_anew(Path(location.s3.secret_access_key_file), "the new secret key")
        store.put("after", b"3")
        assert sorted(info.path for info in store.list("")) == ["after", "before"]
        write_anew(Path(location.s3.secret_access_key_file), "a wrong one")
        with pytest.raises(TaskError) as wrong:
            store.put("never", b"4")
        assert (wrong.value.reason, wrong.value.retryable) == ("StoreCredentialsRejected", False)


def replace_keys(server: S3Server, secret: str) -> None:
    """The server takes another secret key from now on."""
    server.stop()
    server.start(secret_key=secret)


def write_anew(file: Path, content: str) -> None:
    """As kubelet does: another file takes the place."""
    new = file.with_suffix(".new")
    new.write_text(content)
    new.rename(file)


def test_two_clusters_share_a_store(postgres17: PostgresServer, s3: S3Server) -> None:
    store = s3.location(s3.new_bucket(), prefix="shared")
    other = ArchiveIdentity(namespace="shop", cluster="analytics", cluster_uid="other-uid")
    first, _ = take_backup(postgres17.address(), store)
    second, _ = take_backup(postgres17.address(), store, archive=other)
    assert first.location.startswith("shop/operational/")
    assert second.location.startswith("shop/analytics/")
    impostor = other.model_copy(update={"cluster_uid": "a third"})
    refused = run_backup(backup_task(postgres17.address(), store, archive=impostor))
    assert refused.reason == "ArchiveBelongsToAnother"
    for report in (first, second):
        assert stored_record(store, report.location).backup_id == report.backup_id


def test_an_object_needs_no_more_parts_than_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes 5 parts, as S3 takes 10,000: the parts of what may become large are larger from the first."""
    monkeypatch.setattr("pgwarden.storage.bucket.MOST_PARTS", 5)
    content = [os.urandom(1 << 20)] * 64
    with s3_server(most_parts=5) as server, s3_faults(server) as proxy:
        store = open_store(proxy.location(server.location()))
        store.put_stream("large", content, at_most=64 << 20)
        sent = [request.path for request in proxy.requests if "partNumber=" in request.path]
        assert len(sent) == 5
        assert b"".join(store.read("large")) == b"".join(content)
        # The server does enforce its limit; it closes the connection while the part is still on its way.
        with pytest.raises(TaskError):
            store.put_stream("larger-than-told", content, at_most=32 << 20)
        assert [info.path for info in store.list("")] == ["large"]


def test_a_backup_larger_than_one_objects_parts_is_cut_into_several(
    postgres17: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 3 parts of 8 MiB an object ends at 24 MiB, and the backup is larger than that."""
    monkeypatch.setattr("pgwarden.storage.bucket.MOST_PARTS", 3)
    postgres17.execute(
        "CREATE TABLE many_parts AS SELECT gen_random_uuid() a, gen_random_uuid() b FROM generate_series(1, 1000000)"
    )
    with s3_server(most_parts=3) as server:
        location = server.location()
        report, record = take_backup(postgres17.address(), location, object_bytes=16 << 20)
        assert report.stored_bytes > 24 << 20
        for stored in record.objects:
            verify_object(open_store(location), f"{report.location}/{stored.path}", stored)
    postgres17.execute("DROP TABLE many_parts")
