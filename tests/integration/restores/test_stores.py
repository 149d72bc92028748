"""Backups come back from a bucket as from a claim, encrypted or not, and whatever the bucket does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from pgwarden.jobs.files import StoreLocation
from tests.support.postgres import PostgresServer, give_to_server_user, new_folder
from tests.support.restore_pod import RestorePod
from tests.support.s3 import S3Server
from tests.support.stored_backup import store_backup


@pytest.fixture
def secrets() -> Iterator[Path]:
    """A folder for what a pod has mounted from Secrets."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


def mounted(store: StoreLocation, secrets: Path, **changes: str) -> StoreLocation:
    """The same bucket with its files where the pod's user may read them."""
    assert store.s3 is not None
    assert store.s3.ca_file is not None
    files = {
        "access_key_id": Path(store.s3.access_key_id_file),
        "secret_access_key": Path(store.s3.secret_access_key_file),
        "ca.crt": Path(store.s3.ca_file),
    }
    for name, file in files.items():
        shutil.copy(file, secrets / name)
    for name, content in changes.items():
        (secrets / name).write_text(content)
    give_to_server_user(secrets)
    s3 = store.s3.model_copy(
        update={
            "access_key_id_file": str(secrets / "access_key_id"),
            "secret_access_key_file": str(secrets / "secret_access_key"),
            "ca_file": str(secrets / "ca.crt"),
        }
    )
    return store.model_copy(update={"s3": s3})


@pytest.fixture
def restored_from(volume: Path, request: pytest.FixtureRequest) -> Callable[..., RestorePod]:
    def make(server: PostgresServer, store: StoreLocation, location: str) -> RestorePod:
        pod = RestorePod(server.major, volume, store, location)
        request.addfinalizer(pod.destroy)
        return pod

    return make


MakePod = Callable[[PostgresServer, StoreLocation, str], RestorePod]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_backup_in_a_bucket_comes_back(
    major: int,
    new_postgres: Callable[..., PostgresServer],
    s3: S3Server,
    secrets: Path,
    restored_from: MakePod,
    encrypted: bool,
) -> None:
    original = new_postgres(major)
    original.create_tablespace("fast")
    original.execute(
        "CREATE TABLE kept (id int, what text) TABLESPACE fast",
        "INSERT INTO kept SELECT n, md5(n::text) FROM generate_series(1, 50000) AS n",
    )
    checksum = original.query("SELECT md5(string_agg(k::text, ',' ORDER BY id)) FROM kept AS k")
    identity = pyrage.x25519.Identity.generate()
    recipients = [str(identity.to_public())] if encrypted else []
    bucket = s3.location(s3.new_bucket(), prefix="team/a", recipients=recipients)
    location = store_backup(original, bucket, object_bytes=2 << 20)
    store = mounted(bucket, secrets, identity=str(identity))
    if encrypted:
        store = store.model_copy(update={"identity_file": str(secrets / "identity")})
    pod = restored_from(original, store, location)
    _, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), recovered.message
    with pod.instance() as instance:
        assert instance.query("SELECT md5(string_agg(k::text, ',' ORDER BY id)) FROM kept AS k") == checksum


def test_a_bucket_that_refuses_the_key_is_told_and_nothing_is_written(
    postgres17: PostgresServer, s3: S3Server, secrets: Path, restored_from: MakePod
) -> None:
    store = mounted(s3.location(s3.new_bucket()), secrets, secret_access_key="wrong")
    pod = restored_from(postgres17, store, "ns/operational/0001/backups/b1")
    result = pod.restore()
    assert result.reason == "StoreCredentialsRejected"
    assert not pod.paths.data.exists()


def test_a_bucket_that_is_not_there_is_told(
    postgres17: PostgresServer, s3: S3Server, secrets: Path, restored_from: MakePod
) -> None:
    store = mounted(s3.location("no-such-bucket"), secrets)
    pod = restored_from(postgres17, store, "ns/operational/0001/backups/b1")
    assert pod.restore().reason == "BucketNotFound"
