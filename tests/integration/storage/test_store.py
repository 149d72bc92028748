"""Claims and buckets keep the same promises, and tell the same way why they cannot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage.store import ObjectExists, ObjectInfo, Store, open_store
from tests.support.emulators import AzureServer, GCSServer, azure_server, gcs_server
from tests.support.filesystem import remount, small_filesystem
from tests.support.postgres import free_port
from tests.support.s3 import S3Server, s3_server


@pytest.fixture(scope="module")
def gcs() -> Iterator[GCSServer]:
    with gcs_server() as server:
        yield server


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    with azure_server() as server:
        yield server


@pytest.fixture(params=["claim", "bucket", "gcs", "azure"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    if request.param == "claim":
        return StoreLocation(claim=ClaimLocation(path=str(tmp_path)), prefix="team/a")
    if request.param == "gcs":
        google: GCSServer = request.getfixturevalue("gcs")
        return google.location(google.new_bucket(), prefix="team/a")
    if request.param == "azure":
        microsoft: AzureServer = request.getfixturevalue("azure")
        return microsoft.location(microsoft.new_container(), prefix="team/a")
    server: S3Server = request.getfixturevalue("s3")
    return server.location(server.new_bucket(), prefix="team/a")


@pytest.fixture
def store(location: StoreLocation) -> Store:
    return open_store(location)


def reason(error: pytest.ExceptionInfo[TaskError]) -> str:
    assert error.value.remedy
    return error.value.reason


def test_what_is_put_is_read_listed_and_deleted(store: Store) -> None:
    store.put("a/b/one", b"1")
    store.put("a/two", b"22")
    assert b"".join(store.read("a/b/one")) == b"1"
    assert store.read_small("a/two") == b"22"
    assert store.head("a/two") == ObjectInfo("a/two", 2)
    assert sorted(info.path for info in store.list("a")) == ["a/b/one", "a/two"]
    assert [info.path for info in store.list("a/b")] == ["a/b/one"]
    store.delete("a/two")
    assert store.head("a/two") is None
    assert sorted(info.path for info in store.list("")) == ["a/b/one"]
    store.delete("a/two")


def test_an_object_is_never_overwritten(store: Store) -> None:
    store.put("a/small", b"first")
    with pytest.raises(ObjectExists):
        store.put("a/small", b"second")
    large = os.urandom(10 << 20)
    store.put_stream("a/large", [large, large])
    with pytest.raises(ObjectExists):
        store.put_stream("a/large", [b"x" * (10 << 20)] * 2)
    assert store.read_small("a/small") == b"first"
    assert b"".join(store.read("a/large")) == large * 2


@pytest.mark.parametrize("size", [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 45_000_000])
def test_a_stream_of_any_size_arrives_whole(store: Store, size: int) -> None:
    content = os.urandom(size)
    store.put_stream("stream", (content[start : start + 777_777] for start in range(0, size, 777_777)))
    assert b"".join(store.read("stream")) == content
    assert store.read_range("stream", size // 2, 100) == content[size // 2 : size // 2 + 100]
    assert store.read_range("stream", size, 100) == b""


def test_a_stream_that_breaks_leaves_nothing_and_its_exception_arrives(store: Store) -> None:
    def source() -> Iterator[bytes]:
        yield os.urandom(20 << 20)
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        store.put_stream("a/stream", source())
    assert list(store.list("")) == []


def test_missing_objects_are_named(store: Store) -> None:
    reads: list[Callable[[], bytes]] = [
        lambda: b"".join(store.read("a/gone")),
        lambda: store.read_range("a/gone", 0, 1),
    ]
    for read in reads:
        with pytest.raises(TaskError) as caught:
            read()
        assert reason(caught) == "ObjectMissing"
        assert "a/gone" in caught.value.message


def test_a_listing_begins_after_a_name_and_tells_when_objects_were_written(store: Store) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=2)
    for name in ("w/1/a", "w/1/b", "w/1/c", "w/2/a"):
        store.put(name, b"x")
    assert [info.path for info in store.list("w/1", after="w/1/a")] == ["w/1/b", "w/1/c"]
    modified = [info.modified for info in store.list("w")]
    assert len(modified) == 4
    assert all(time is not None and begin < time < datetime.now(UTC) + timedelta(seconds=2) for time in modified)


def test_folders_are_named_without_a_look_into_them(store: Store) -> None:
    for name in ("w/1/a", "w/1/deep/b", "w/2/a", "w/file"):
        store.put(name, b"x")
    assert store.folders("w") == {"1", "2"}
    assert store.folders("") == {"w"}
    assert store.folders("nothing") == set()


def test_listing_what_does_not_exist_is_empty(store: Store) -> None:
    assert list(store.list("nothing/here")) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".hidden"])
def test_paths_that_lead_out_of_the_store_are_refused(store: Store, path: str) -> None:
    uses: list[Callable[[str], object]] = [
        store.delete,
        store.head,
        lambda path: store.put(path, b""),
        lambda path: list(store.list(path)),
    ]
    for use in uses:
        with pytest.raises(TaskError) as caught:
            use(path)
        assert reason(caught) == "UnsafePath"


def test_a_prefix_is_a_folder_and_not_a_beginning_of_names(location: StoreLocation) -> None:
    open_store(location.model_copy(update={"prefix": "team/ab"})).put("theirs", b"")
    assert list(open_store(location).list("")) == []


# Claims


def test_a_claim_acknowledges_only_what_was_synced(tmp_path: Path) -> None:
    """The order of system calls is what a power cut would test: data, name, folder, and then only the answer."""
    program = (
        "from pgwarden.jobs.files import *; from pgwarden.storage.store import open_store; import sys, os\n"
        f"store = open_store(StoreLocation(claim=ClaimLocation(path={str(tmp_path)!r})))\n"
        "store.put('folder/object', b'content'); os.write(1, b'acknowledged')"
    )
    trace = tmp_path.parent / "trace"
    calls = "trace=openat,fsync,link,linkat,unlink,unlinkat,write,mkdir"
    command: list[str | Path] = ["strace", "-f", "-y", "-e", calls, "-o", trace, sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": "operator"})
    pattern = r"(mkdir|write|fsync|link|unlink)(?:at)?\((?:\d+<|\")([^>\"]+)[>\"]"
    found = [(m[1], m[2].removeprefix(str(tmp_path))) for m in re.finditer(pattern, trace.read_text())]
    steps = [
        (call, re.sub(r"\.[0-9a-f]{8}$", ".partial", path))
        for call, path in found
        if path in ("", "/folder") or path.startswith("/folder/") or call == "write"
    ]
    start = steps.index(("mkdir", "/folder"))
    end = max(index for index, (call, _) in enumerate(steps) if call == "write")
    assert steps[start:end] == [
        ("mkdir", "/folder"),
        ("fsync", ""),
        ("write", "/folder/.object.partial"),
        ("fsync", "/folder/.object.partial"),
        ("link", "/folder/.object.partial"),
        ("unlink", "/folder/.object.partial"),
        ("fsync", "/folder"),
    ]


def test_that_an_object_exists_is_told_only_when_its_name_is_safe(tmp_path: Path) -> None:
    """Whoever made it may have been killed between the name and the folder's sync; a WAL archiver acknowledges it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "object").write_bytes(b"content")
    program = (
        "from pgwarden.jobs.files import *; from pgwarden.storage.store import open_store, ObjectExists; import os\n"
        f"store = open_store(StoreLocation(claim=ClaimLocation(path={str(tmp_path)!r})))\n"
        "try: store.put('folder/object', b'content')\n"
        "except ObjectExists: os.write(1, b'exists')"
    )
    trace = tmp_path.parent / "trace-exists"
    command: list[str | Path] = ["strace", "-f", "-y", "-e", "trace=fsync,write", "-o", trace, sys.executable, "-c"]
    done = subprocess.run(
        [*command, program], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": "operator"}
    )
    assert done.stdout == b"exists"
    assert f"fsync({tmp_path}/folder)" in re.sub(r"\d+<([^>]+)>", r"\1", trace.read_text())


def test_what_a_killed_writer_left_in_a_claim_is_not_listed(tmp_path: Path) -> None:
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    store.put("a/whole", b"")
    (tmp_path / "a" / ".half.0a1b2c3d").write_bytes(b"half")
    (tmp_path / "lost+found").mkdir()
    assert [info.path for info in store.list("")] == ["a/whole"]


def test_links_planted_in_a_claim_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    claim = tmp_path / "claim"
    claim.mkdir()
    (claim / "folder").symlink_to(outside)
    (claim / "file").symlink_to(outside / "secret")
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(claim))))
    for path in ("folder/secret", "file"):
        with pytest.raises(TaskError) as caught:
            store.read_small(path)
        assert reason(caught) == "UnsafePath"
    assert list(store.list("")) == []


def test_a_claim_that_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path / "absent"))))
    assert reason(caught) == "ClaimMissing"


def test_a_full_claim_and_then_a_read_only_one() -> None:
    with small_filesystem(16) as mount:
        store = open_store(StoreLocation(claim=ClaimLocation(path=str(mount))))
        store.put("before", b"content")
        with pytest.raises(TaskError) as full:
            store.put_stream("large", (os.urandom(1 << 20) for _ in range(32)))
        assert reason(full) == "StoreFull"
        assert [info.path for info in store.list("")] == ["before"]
        assert [path.name for path in mount.iterdir() if path.name != "lost+found"] == ["before"]
        remount(mount, "ro")
        with pytest.raises(TaskError) as read_only:
            store.put("after", b"content")
        assert reason(read_only) == "StoreReadOnly"
        assert store.read_small("before") == b"content"


def test_a_store_is_a_bucket_or_a_claim() -> None:
    with pytest.raises(TaskError) as caught:
        open_store(StoreLocation())
    assert reason(caught) == "StoreMisconfigured"


# Buckets


def test_wrong_bucket(s3: S3Server) -> None:
    with pytest.raises(TaskError) as caught:
        open_store(s3.location("no-such-bucket")).put("a", b"")
    assert reason(caught) == "BucketNotFound"


@pytest.mark.parametrize("wrong", [{"access_key": "nobody"}, {"secret_key": "not the secret"}])
def test_wrong_key(s3: S3Server, wrong: dict[str, str]) -> None:
    store = open_store(s3.location(**wrong))  # type: ignore[arg-type]
    for use in (lambda: store.put("a", b""), lambda: store.head("a"), lambda: list(store.list(""))):
        with pytest.raises(TaskError) as caught:
            use()
        assert reason(caught) == "StoreCredentialsRejected"
        assert "not the secret" not in caught.value.message


def test_missing_credentials_file(s3: S3Server) -> None:
    location = s3.location()
    assert location.s3
    Path(location.s3.secret_access_key_file).unlink()
    with pytest.raises(TaskError) as caught:
        open_store(location)
    assert reason(caught) == "CredentialsMissing"


def test_certificate_of_an_unknown_authority_and_no_certificate(s3: S3Server, tmp_path: Path) -> None:
    location = s3.location()
    assert location.s3
    unknown = location.model_copy(update={"s3": location.s3.model_copy(update={"ca_file": None})})
    with pytest.raises(TaskError) as caught:
        open_store(unknown).put("a", b"")
    assert reason(caught) == "CertificateNotTrusted"
    (tmp_path / "ca.crt").write_text("no certificate")
    broken = location.model_copy(update={"s3": location.s3.model_copy(update={"ca_file": str(tmp_path / "ca.crt")})})
    with pytest.raises(TaskError) as caught:
        open_store(broken)
    assert reason(caught) == "CertificateNotTrusted"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://no-such-host.invalid", "StoreUnreachable"),
        ("https://localhost:{closed}", "StoreUnreachable"),
        ("http://localhost:{tls}", "StoreUnreachable"),
        ("localhost", "StoreMisconfigured"),
    ],
)
def test_wrong_endpoint(s3: S3Server, endpoint: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    location = s3.location()
    assert location.s3
    wrong = endpoint.format(closed=free_port(), tls=s3.port)
    with pytest.raises(TaskError) as caught:
        open_store(location.model_copy(update={"s3": location.s3.model_copy(update={"endpoint": wrong})})).put("a", b"")
    assert reason(caught) == expected


def test_a_full_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """This server answers now and then that it is broken while its last blocks go; who tries again is told."""
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    with small_filesystem(24) as mount, s3_server(mount) as server:
        store = open_store(server.location())
        for content in ([os.urandom(7 << 20)] * 9, [os.urandom(1 << 20)] * 48):
            assert reason_in_the_end(lambda: store.put_stream("large", content)) == "StoreFull"  # noqa: B023


def reason_in_the_end(write: Callable[[], object], *, attempts: int = 8) -> str:
    """Why a write fails, as a task that is begun again while the error says that this may help is told at last."""
    for _ in range(attempts):
        with pytest.raises(TaskError) as caught:
            write()
        if not caught.value.retryable:
            break
    return reason(caught)


def test_a_server_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    with s3_server() as server:
        store = open_store(server.location())
        store.put("a", b"content")
        server.stop()
        with pytest.raises(TaskError) as caught:
            store.read_small("a")
        assert reason(caught) == "StoreUnreachable"
        assert caught.value.retryable
        server.start(read_only=True)
        with pytest.raises(TaskError) as caught:
            store.put("b", b"content")
        assert reason(caught) == "StoreAccessDenied"
        assert store.read_small("a") == b"content"
