"""A backup is deleted under a restore that no operator sees: another way leads to the target, or it is told."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgwarden.catalogue.contract import DAY, RetentionSettings, What
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import TargetPoint
from tests.support.archive import NEWEST_ONLY, Archived
from tests.support.postgres import PostgresServer, give_to_server_user, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup
from tests.support.wal_archive import WALArchive

WEEK = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=1)


@dataclass
class Lived:
    """Two fulls with all WAL between and after them."""

    major: int
    store: StoreLocation
    archive: str
    first: str
    second: str
    between: datetime
    after: datetime

    @property
    def archived(self) -> Archived:
        return Archived(self.store)


def id_of(location: str) -> str:
    return location.rsplit("/", 1)[-1]


def write(server: PostgresServer, archive: WALArchive, number: int) -> datetime:
    """A row; a moment after it."""
    server.execute("INSERT INTO rows VALUES (1)" if number == 1 else "INSERT INTO rows VALUES (2)")
    moment = archive.note_moment()
    server.execute("SELECT pg_switch_wal()", "INSERT INTO later VALUES (now())")
    archive.note_moment()
    return moment


@pytest.fixture
def lived(major: int) -> Iterator[Lived]:
    folder = new_folder()
    with postgres_server(major, settings={"wal_keep_size": "1GB"}) as server:
        server.execute("CREATE TABLE rows (number int)", "CREATE TABLE later (at timestamptz)")
        store = claim(owned_folder(folder / "store"))
        archive = WALArchive(server, store)
        first = store_backup(server, store, object_bytes=1 << 20)
        between = write(server, archive, 1)
        second = store_backup(server, store, object_bytes=1 << 20)
        after = write(server, archive, 2)
        yield Lived(major, store, archive.archive, first, second, between, after)
    shutil.rmtree(folder)


@pytest.fixture
def pod(lived: Lived, volume: Path) -> Iterator[RestorePod]:
    """A restore to the moment after the second row: it begins with the second full."""
    pod = RestorePod(lived.major, volume, lived.store, "", archive=lived.archive, target=TargetPoint(time=lived.after))
    yield pod
    pod.destroy()


def fetching_meanwhile(pod: RestorePod, lived: Lived, what: What, **task: object) -> None:
    """Has the archive's keeper work while the restore, which has chosen its base, is held; then lets it go on."""
    pod.parallel = 1
    restore = pod.start_restore()
    pod.wait_for_step(restore, "Prepare")
    restore.process.send_signal(signal.SIGSTOP)
    try:
        assert '"step":"Verify"' not in restore.log, "it has fetched everything already"
        result, _ = lived.archived.run(what, **task)
        assert result.outcome == "Succeeded", result.message
        give_to_server_user(Path(str(lived.store.claim.path if lived.store.claim else "")))
    finally:
        restore.process.send_signal(signal.SIGCONT)


def test_a_base_that_is_deleted_while_it_is_fetched_gives_way_to_another(lived: Lived, pod: RestorePod) -> None:
    task = {"backups": [id_of(lived.second)], "retention": WEEK, "promised": True}
    fetching_meanwhile(pod, lived, What.EXPIRE, **task)
    assert lived.archived.states() == {id_of(lived.first): "Restorable"}
    restored = pod.containers[0].result()
    assert restored.reason == "LaidOut", restored.message
    assert restored.report["backupId"] == id_of(lived.first)
    assert "resolving the target again" in pod.containers[0].log
    server = pod.start_server()
    recovered = pod.recover()
    assert (recovered.reason, server.wait()) == ("Recovered", 0), pod.server_log
    with pod.instance() as instance:
        assert instance.query("SELECT string_agg(number::text, ',' ORDER BY number) FROM rows") == "1,2"


def test_a_target_that_was_deleted_with_all_that_led_to_it_is_refused_by_name(lived: Lived, pod: RestorePod) -> None:
    """It lay outside of the window; what is named is what is there."""
    pod.target = TargetPoint(time=lived.between)
    fetching_meanwhile(pod, lived, What.PRUNE, retention=NEWEST_ONLY, now=datetime.now(UTC))
    assert lived.archived.states() == {id_of(lived.second): "Restorable"}
    refused = pod.containers[0].result()
    assert (refused.outcome, refused.reason) == ("Failed", "TargetBeforeFirstBackup")
    assert id_of(lived.second) in refused.message


def test_a_prune_within_the_grace_takes_nothing_from_a_restore_at_the_edge_of_the_window(
    lived: Lived, pod: RestorePod
) -> None:
    pod.target = TargetPoint(time=lived.between)
    graceful = NEWEST_ONLY.model_copy(update={"grace_seconds": DAY})
    fetching_meanwhile(pod, lived, What.PRUNE, retention=graceful, now=datetime.now(UTC))
    restored = pod.containers[0].result()
    assert restored.report["backupId"] == id_of(lived.first)
    server = pod.start_server()
    recovered = pod.recover()
    assert (recovered.reason, server.wait()) == ("Recovered", 0), pod.server_log
    with pod.instance() as instance:
        assert instance.query("SELECT string_agg(number::text, ',' ORDER BY number) FROM rows") == "1"
