"""An incremental, the full it builds upon, a tablespace, and the WAL after them: together they bring a moment back."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import TargetPoint
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing, read_object, write_object
from pgwarden.storage.store import Store, open_store
from tests.support.backups import stored_record
from tests.support.postgres import PostgresServer, give_to_server_user, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.s3 import S3Server
from tests.support.stored_backup import store_backup
from tests.support.wal_archive import WALArchive

INCREMENTAL = "20261123T110000Z-incr-0123456789"
SETTINGS = {"summarize_wal": "on", "wal_keep_size": "1GB", "max_wal_size": "1GB"}
TRUSTED = {17: 170012, 18: 180007}
"""The wheels are older: what is tested is the restore, not whether their incrementals are to be trusted."""


@dataclass
class Stored:
    major: int
    store: StoreLocation
    archive: str
    full: str
    """Id of the full backup."""
    times: list[datetime]
    """After the first and the second row that were written after the incremental."""


def put(store: Store, location: str, path: str, content: bytes) -> dict[str, Any]:
    """Stores one object of a backup; what the record says of it."""
    written = write_object(store, layout.join(location, path), [content], Packing(level=1, threads=1))
    return {
        "path": path,
        "plainBytes": written.plain_bytes,
        "plainSha256": hashlib.sha256(content).hexdigest(),
        "storedBytes": written.stored_bytes,
        "storedSha256": written.stored_sha256,
    }


def store_incremental(server: PostgresServer, location: StoreLocation, full: str, folder: Path) -> None:
    """Takes an incremental with PostgreSQL's own tool and stores it as the engine does."""
    store, parent = open_store(location), stored_record(location, full)
    manifest = folder / "parent"
    content = read_object(store, layout.join(full, parent.manifest.path), parent.manifest)
    manifest.write_bytes(b"".join(content))
    give_to_server_user(manifest)
    options = [f"--pgdata={owned_folder(folder / 'incr')}", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"]
    server.tool("pg_basebackup", *options, f"--incremental={manifest}", environment=server.environment())
    place = layout.backup_folder(full.rsplit("/", 2)[0], INCREMENTAL)
    attempt = layout.attempt_folder(1, "00000000")
    archives = []
    for tar in sorted((folder / "incr").glob("*.tar")):
        piece = put(store, place, layout.archive_object(attempt, tar.stem, 0, encrypted=False), tar.read_bytes())
        oid = int(tar.stem) if tar.stem.isdigit() else None
        piece |= {"offset": 0, "startsMember": True}
        archives.append({"tablespaceOid": oid, "plainBytes": piece["plainBytes"], "objects": [piece]})
    told = (folder / "incr" / "backup_manifest").read_bytes()
    (wal,) = json.loads(told)["WAL-Ranges"]
    record = json.loads(parent.to_bytes()) | {
        "backupId": INCREMENTAL,
        "type": "incremental",
        "parentId": parent.backup_id,
        "chain": [parent.backup_id],
        "startLsn": wal["Start-LSN"],
        "stopLsn": wal["End-LSN"],
        "startTime": server_time(server),
        "stopTime": server_time(server),
        "archives": archives,
        "manifest": put(store, place, layout.manifest_object(attempt, encrypted=False), told),
        "manifestFiles": len(json.loads(told)["Files"]),
    }
    record["server"]["versionNum"] = TRUSTED[server.major]
    store.put(layout.record_file(place), BackupRecord.model_validate(record).to_bytes())


def server_time(server: PostgresServer) -> str:
    time = server.query("SELECT clock_timestamp()")
    assert isinstance(time, datetime)
    return time.isoformat()


@pytest.fixture(scope="module")
def stored(major: int, s3: S3Server) -> Iterator[Stored]:
    """In a bucket: a full, an incremental, and WAL of two rows more, all of it in unfinished segments' tails."""
    folder = new_folder()
    store = s3.location(s3.new_bucket())
    s3.open_to_others()
    with postgres_server(major, settings=SETTINGS) as server:
        server.create_tablespace("fast")
        server.execute("CREATE TABLE rows (number int) TABLESPACE fast", "INSERT INTO rows VALUES (1)")
        archive = WALArchive(server, store)
        full = store_backup(server, store)
        server.execute("INSERT INTO rows VALUES (2)")
        store_incremental(server, store, full, folder)
        times = []
        for number in (3, 4):
            archive.note_moment()
            with server.connect() as connection:
                connection.execute("INSERT INTO rows VALUES (%s)", (number,))
            times.append(archive.note_moment())
        yield Stored(major, store, archive.archive, full.rsplit("/", 1)[-1], times)
    shutil.rmtree(folder)


NewPod = Callable[..., RestorePod]


@pytest.fixture
def pod_for(stored: Stored, volume: Path) -> Iterator[NewPod]:
    with ExitStack() as pods:

        def make(**point: Any) -> RestorePod:
            target = TargetPoint(**point)
            pod = RestorePod(stored.major, volume, stored.store, "", archive=stored.archive, target=target)
            pods.callback(pod.destroy)
            return pod

        yield make


def rows_after(pod: RestorePod) -> list[int]:
    _, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
    with pod.instance() as instance, instance.connect() as copy:
        return [int(str(number)) for (number,) in copy.execute("SELECT number FROM rows ORDER BY 1").fetchall()]


def test_a_time_after_the_incremental(stored: Stored, pod_for: NewPod) -> None:
    pod = pod_for(time=stored.times[0])
    assert rows_after(pod) == [1, 2, 3]
    marker = json.loads(pod.paths.marker.read_text())
    assert marker["resolved"]["chain"] == [stored.full, INCREMENTAL]
    links = list((pod.paths.pgdata / "pg_tblspc").iterdir())
    assert [link.readlink() for link in links] == [pod.paths.tablespace(int(links[0].name))]


@pytest.mark.chaos
def test_a_pod_that_is_killed_while_it_combines_begins_again(pod_for: NewPod) -> None:
    first = pod_for(latest=True)
    agent = first.start_restore()
    first.wait_for_step(agent, "Combine")
    agent.kill()
    assert '"step":"MakeHarmless"' not in agent.log, "it was not killed before that was over"
    assert first.state == "Unpacking"
    assert not first.paths.pgdata.exists()
    assert rows_after(pod_for(latest=True)) == [1, 2, 3, 4]


def test_the_last_tail_brings_the_last_row_back(stored: Stored, pod_for: NewPod) -> None:
    assert any(".tail." in each.path for each in open_store(stored.store).list(stored.archive))
    assert rows_after(pod_for(latest=True)) == [1, 2, 3, 4]


def test_the_end_of_the_incremental(pod_for: NewPod) -> None:
    assert rows_after(pod_for(immediate=True)) == [1, 2]


def test_a_chain_without_its_full_is_passed_over(stored: Stored, pod_for: NewPod) -> None:
    store = open_store(stored.store)
    path = layout.record_file(layout.backup_folder(stored.archive, stored.full))
    content = store.read_small(path)
    store.delete(path)
    try:
        result = pod_for(latest=True).restore()
        assert (result.outcome, result.reason) == ("Failed", "NoRestorableBackup"), result
        assert stored.full in result.message
    finally:
        store.put(path, content)
