"""A server with a bit of everything for each major, one backup of it in a claim, and pods that restore it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.jobs.files import StoreLocation
from tests.support.load import WriteLoad
from tests.support.postgres import (
    PostgresServer,
    give_to_server_user,
    new_folder,
    owned_folder,
    postgres_server,
    wait_until,
)
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup

NewPod = Callable[..., RestorePod]
Restore = Callable[..., RestorePod]


@dataclass
class StoredBackup:
    """A backup that was taken under load, and what was written."""

    major: int
    store: StoreLocation
    location: str
    load: WriteLoad
    tablespace: Path
    """Where the original's tablespace lies."""
    contents: str
    """A checksum over what did not change while the backup ran."""

    def object(self, name: str) -> Path:
        """One of the backup's objects, on disk."""
        (found,) = self.folder.glob(f"attempt-*/{name}")
        return found

    @property
    def folder(self) -> Path:
        """The backup's folder on disk."""
        assert self.store.claim is not None
        return Path(self.store.claim.path) / self.location


CONTENTS = """
    SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (
        SELECT 'events ' || md5(string_agg(e::text, ',' ORDER BY id)) AS part FROM events AS e
        UNION ALL SELECT 'on_fast ' || md5(string_agg(f::text, ',' ORDER BY id)) FROM on_fast AS f
        UNION ALL SELECT 'large ' || md5(lo_get(loid)) FROM (SELECT DISTINCT loid FROM pg_largeobject) AS l
    ) AS parts
"""


def fill(server: PostgresServer) -> Path:
    """Tables, a tablespace, an unlogged table, a large object, a second database; returns the tablespace's folder."""
    tablespace = server.create_tablespace("fast")
    server.execute(
        "CREATE TABLE events (id int PRIMARY KEY, what text NOT NULL)",
        "INSERT INTO events SELECT n, md5(n::text) FROM generate_series(1, 60000) AS n",
        "CREATE TABLE on_fast (id int PRIMARY KEY, what text) TABLESPACE fast",
        "INSERT INTO on_fast SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n",
        "CREATE UNLOGGED TABLE scratch_pad (id int)",
        "INSERT INTO scratch_pad SELECT generate_series(1, 100)",
        "SELECT lo_from_bytea(0, 'a large object')",
        "CREATE DATABASE second",
    )
    server.execute("CREATE TABLE here (id int)", "INSERT INTO here VALUES (42)", database="second")
    return tablespace


@contextmanager
def backup_under_load(major: int) -> Iterator[StoredBackup]:
    """A backup taken slowly while rows were written, so that it carries several WAL segments."""
    folder = new_folder()
    with postgres_server(major, settings={"max_wal_size": "1GB", "wal_keep_size": "1GB"}) as server:
        tablespace = fill(server)
        contents = str(server.query(CONTENTS))
        load = WriteLoad(server, filler_bytes=50_000, transactions_per_segment=15)
        load.prepare()
        store = claim(owned_folder(folder / "store"))
        with load:
            location = store_backup(server, store, max_rate_kib=12 << 10)
            written = len(load.committed)
            wait_until(lambda: len(load.committed) >= written + 20, "the load ended early")
        # From here on nothing but a restore could touch the original's files.
        server.stop()
        yield StoredBackup(major, store, location, load, tablespace, contents)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stored_backups() -> Iterator[Callable[[int], StoredBackup]]:
    """The backup of each major version, taken when it is first asked for."""
    known: dict[int, StoredBackup] = {}
    with ExitStack() as stack:

        def of(major: int) -> StoredBackup:
            if major not in known:
                known[major] = stack.enter_context(backup_under_load(major))
            return known[major]

        yield of


@pytest.fixture(scope="session")
def stored(major: int, stored_backups: Callable[[int], StoredBackup]) -> StoredBackup:
    """One backup for each major. A worker that gets file after file comes back to a version it had left."""
    return stored_backups(major)


@pytest.fixture
def volume() -> Iterator[Path]:
    """An empty data volume."""
    folder = new_folder()
    yield owned_folder(folder / "data")
    shutil.rmtree(folder)


@pytest.fixture
def own_store() -> Iterator[StoreLocation]:
    """An empty claim of the test's own."""
    folder = new_folder()
    yield claim(owned_folder(folder / "store"))
    shutil.rmtree(folder)


@pytest.fixture
def altered(stored: StoredBackup) -> Iterator[StoredBackup]:
    """A copy of the backup that the test may damage."""
    folder = new_folder()
    assert stored.store.claim is not None
    shutil.copytree(stored.store.claim.path, folder / "store")
    give_to_server_user(folder / "store")
    yield StoredBackup(
        stored.major, claim(folder / "store"), stored.location, stored.load, stored.tablespace, stored.contents
    )
    shutil.rmtree(folder)


@pytest.fixture
def new_pod(volume: Path) -> Iterator[NewPod]:
    """Makes pods on `volume` that restore a backup: `new_pod(stored, checks=[...])`."""
    with ExitStack() as pods:

        def make(stored: StoredBackup, **options: object) -> RestorePod:
            pod = RestorePod(stored.major, volume, stored.store, stored.location, **options)  # type: ignore[arg-type]
            pods.callback(pod.destroy)
            return pod

        yield make


@pytest.fixture
def restore(own_store: StoreLocation, volume: Path, request: pytest.FixtureRequest) -> Restore:
    """Backs a server up and runs a whole restore of it; `restore(server, checks=...)` gives the pod."""

    def run(server: PostgresServer, **options: object) -> RestorePod:
        location = store_backup(server, own_store)
        pod = RestorePod(server.major, volume, own_store, location, **options)  # type: ignore[arg-type]
        request.addfinalizer(pod.destroy)
        _, recovered, code = pod.run()
        assert (recovered.reason, code) == ("Recovered", 0), recovered.message
        return pod

    return run


def findings(pod: RestorePod) -> list[str]:
    told = pod.report["findings"]
    assert isinstance(told, list)
    return told
