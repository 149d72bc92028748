"""What ends in the middle of a restore: the bucket, the room on the volume, the WAL. Nothing is handed over too early,
and the next pod goes on once the trouble is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.in_place_contract import Action
from tests.support.filesystem import fill, memory_filesystem
from tests.support.postgres import RESTORE_TOKEN, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.s3 import S3Server
from tests.support.s3_faults import CUT, Proxy, Request, s3_faults
from tests.support.stored_backup import store_backup
from tests.support.wal_archive import WALArchive

from .conftest import CONTENTS, StoredBackup

Restore = Callable[..., RestorePod]
ALL_ROWS = 80_000
ROWS = "INSERT INTO rows SELECT n, repeat(md5(n::text), 30) FROM generate_series({}, {}) AS n"


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with s3_faults(s3) as running:
        yield running


@dataclass(frozen=True)
class Bucket:
    """A bucket that is reached by way of the proxy: a backup, and several segments of WAL after it."""

    major: int
    store: StoreLocation
    archive: str
    time: datetime
    """When all rows were there."""


@pytest.fixture(scope="module")
def bucket(major: int, s3: S3Server, proxy: Proxy) -> Bucket:
    store = s3.location(s3.new_bucket())
    s3.open_to_others()
    with postgres_server(major, settings={"max_wal_size": "1GB", "wal_keep_size": "1GB"}) as server:
        archive = WALArchive(server, store)
        server.execute("CREATE TABLE rows (n int, what text)", ROWS.format(1, 20_000))
        store_backup(server, store, object_bytes=1 << 20)
        archive.note_moment()
        server.execute(ROWS.format(20_001, ALL_ROWS))
        time = archive.note_moment()
        assert len(archive.segments()) >= 4
    return Bucket(major, proxy.location(store), archive.archive, time)


@pytest.fixture
def restore(bucket: Bucket, proxy: Proxy, volume: Path) -> Iterator[Restore]:
    """Makes pods that restore to a target, one object after the other; in the end the bucket is well again."""
    with ExitStack() as stack:
        stack.callback(heal, proxy)

        def make(target: TargetPoint) -> RestorePod:
            pod = RestorePod(bucket.major, volume, bucket.store, "", archive=bucket.archive, target=target, parallel=1)
            stack.callback(pod.destroy)
            return pod

        yield make


@pytest.fixture(params=["latest", "time"])
def target(request: pytest.FixtureRequest, bucket: Bucket) -> TargetPoint:
    """The end of the archive, either way."""
    return TargetPoint(latest=True) if request.param == "latest" else TargetPoint(time=bucket.time)


def heal(proxy: Proxy) -> None:
    proxy.fault = lambda _request: None


def dies_after(count: int, part: str, fault: int, *, requests: int = 1 << 30) -> Callable[[Request], int | None]:
    """The bucket's fault for all that is asked for, once `count` objects with that in their path were; it lasts for so
    many requests."""
    seen: set[str] = set()
    left = requests

    def decide(request: Request) -> int | None:
        nonlocal left
        if part in request.path:
            seen.add(request.path)
        if len(seen) <= count or not left:
            return None
        left -= 1
        return fault

    return decide


def all_rows_come_back(pod: RestorePod) -> None:
    _, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
    all_rows_are_there(pod)


def all_rows_are_there(pod: RestorePod) -> None:
    with pod.instance() as instance:
        assert instance.query("SELECT count(*) FROM rows") == ALL_ROWS


def nothing_was_begun(pod: RestorePod) -> None:
    """The copy still waits for its WAL: no timeline, no promotion, nothing handed over."""
    assert "archive recovery complete" not in pod.server_log
    assert (pod.paths.data / "recovery.signal").exists()
    assert not list((pod.paths.data / "pg_wal").glob("*.history"))
    assert not pod.paths.pgdata.exists()


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [(CUT, "StoreUnreachable", True), (503, "StoreUnreachable", True), (403, "StoreAccessDenied", False)],
    ids=["away", "503", "denied"],
)
def test_a_bucket_that_dies_while_a_backup_is_fetched_is_told(
    proxy: Proxy, restore: Restore, fault: int, reason: str, retryable: bool
) -> None:
    first = restore(TargetPoint(latest=True))
    proxy.fault = dies_after(3, "/base.tar", fault)
    result = first.restore()
    assert (result.outcome, result.reason, result.retryable) == ("Failed", reason, retryable), result
    assert first.state == "Unpacking"
    assert not first.paths.pgdata.exists()
    heal(proxy)
    all_rows_come_back(restore(TargetPoint(latest=True)))


def test_a_bucket_that_refuses_wal_in_the_middle_never_promotes(
    proxy: Proxy, restore: Restore, target: TargetPoint
) -> None:
    first = restore(target)
    assert first.restore().outcome == "Succeeded"
    proxy.fault = dies_after(1, "/wal/", 403)
    server = first.start_server()
    result = first.recover()
    assert (result.outcome, result.reason) == ("Failed", "WALMissing"), result
    assert server.wait() != 0
    nothing_was_begun(first)
    heal(proxy)
    all_rows_come_back(restore(target))


def test_a_bucket_that_is_away_for_a_while_in_recovery_is_waited_for(
    proxy: Proxy, restore: Restore, target: TargetPoint
) -> None:
    pod = restore(target)
    assert pod.restore().outcome == "Succeeded"
    proxy.fault = dies_after(1, "/wal/", CUT, requests=20)
    all_rows_come_back(pod)


@pytest.mark.parametrize("target", ["latest"], indirect=True)
def test_a_volume_that_runs_full_in_recovery_is_told_and_gone_on_with(bucket: Bucket, target: TargetPoint) -> None:
    with memory_filesystem("size=1g") as volume, ExitStack() as pods:

        def new_pod() -> RestorePod:
            pod = RestorePod(bucket.major, volume, bucket.store, "", archive=bucket.archive, target=target)
            pods.callback(pod.destroy)
            return pod

        first = new_pod()
        assert first.restore().outcome == "Succeeded"
        fill(volume, free=24 << 20)
        server = first.start_server()
        result = first.recover()
        assert (result.outcome, result.reason) == ("Failed", "RecoveryFailed"), result
        assert "No space left on device" in result.message
        assert server.wait() != 0
        nothing_was_begun(first)
        (volume / "ballast").unlink()
        all_rows_come_back(new_pod())


def test_old_data_are_put_back_on_a_volume_that_ran_full(stored: StoredBackup) -> None:
    with memory_filesystem("size=1g") as volume, ExitStack() as pods:

        def new_pod(number: int, replaces: str = "") -> RestorePod:
            uid = f"7c1d1a5e-0000-4000-8000-0000000000f{number}"
            where = (stored.major, volume, stored.store, stored.location)
            pod = RestorePod(*where, request_uid=uid, replaces=replaces)
            pods.callback(pod.destroy)
            return pod

        old = new_pod(1)
        old.run()
        with old.instance() as server:
            token = str(server.query(RESTORE_TOKEN))
        pod = new_pod(2, token)
        assert pod.restore().outcome == "Succeeded"
        fill(volume)
        container = pod.start_server()
        result = pod.recover()
        assert (result.outcome, result.reason) == ("Failed", "VolumeFull"), result
        container.wait()
        result = pod.act(Action.PUT_BACK)
        assert result.outcome == "Succeeded", result
        (volume / "ballast").unlink()
        with old.instance() as server:
            assert (server.query(CONTENTS), server.query(RESTORE_TOKEN)) == (stored.contents, token)
