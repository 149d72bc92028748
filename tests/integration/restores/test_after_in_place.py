"""A cluster whose data were replaced goes on: its archiver, its archive, and restores of what was restored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pgwarden.archiving.plan import spans
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.in_place_contract import Action
from pgwarden.storage import layout
from pgwarden.storage.store import open_store
from tests.support.archiver import FOLDER, SEGMENT_BYTES, SMALL_SEGMENTS, ArchiverProcess, archiver_settings, runs
from tests.support.postgres import RESTORE_TOKEN, PostgresServer, give_to_server_user, new_folder, owned_folder
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup

from .test_in_place import recovered, succeeded

ROWS = "SELECT string_agg(number::text, ',' ORDER BY number) FROM rows"
SLOTS = """
    SELECT slot_name, plugin, database, two_phase FROM pg_replication_slots
    WHERE slot_name NOT LIKE 'pgwarden%' ORDER BY slot_name
"""
POSITION = "SELECT pg_current_wal_flush_lsn()"


@dataclass
class Lived:
    """A server on a volume that is restored in place again and again, and the archiver that never stops."""

    server: PostgresServer
    store: StoreLocation
    volume: Path
    archiver: ArchiverProcess
    restores: int = field(default=0)

    def write(self, number: int) -> str:
        """A row, and the position behind it, which the archive holds when this returns."""
        with self.server.connect() as connection:
            connection.execute("INSERT INTO rows VALUES (%s)", (number,))
        self.archiver.wait_until_it_holds(self.server)
        return str(self.server.query(POSITION))

    def restore_in_place(self, target: TargetPoint) -> RestorePod:
        """Replaces the server's data, and starts it again."""
        self.restores += 1
        token = str(self.server.query(RESTORE_TOKEN))
        self.server.stop()
        # What the archiver wrote belongs to root here; in a pod of its own fsGroup lets others read it.
        give_to_server_user(Path(self.store.claim.path))  # type: ignore[union-attr]
        pod = RestorePod(
            self.server.major,
            self.volume,
            self.store,
            "",
            archive=FOLDER,
            target=target,
            request_uid=f"7c1d1a5e-0000-4000-8000-0000000000c{self.restores}",
            replaces=token,
        )
        try:
            recovered(pod)
            succeeded(pod.act(Action.HAND_OVER))
        finally:
            pod.destroy()
        self.server.start()
        return pod

    def restored_elsewhere(self, target: TargetPoint) -> str:
        """The rows in a new instance of that moment."""
        self.restores += 1
        give_to_server_user(Path(self.store.claim.path))  # type: ignore[union-attr]
        own = owned_folder(self.volume.parent / f"copy-{self.restores}")
        pod = RestorePod(self.server.major, own, self.store, "", archive=FOLDER, target=target)
        try:
            recovered(pod)
            with pod.instance() as instance:
                return str(instance.query(ROWS))
        finally:
            pod.destroy()

    def points(self) -> dict[str, Any]:
        """What `pgwarden restore points` tells."""
        assert self.store.claim is not None
        command = [sys.executable, "-m", "pgwarden", "restore", "points", "--store", self.store.claim.path, "--json"]
        environment = {**os.environ, "PYTHONPATH": "operator"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def lived(major: int, new_postgres: Callable[..., PostgresServer]) -> Iterator[Lived]:
    """A backup with one row, and an archiver at work."""
    folder = new_folder()
    store = claim(owned_folder(folder / "store"))
    volume = owned_folder(folder / "data")
    server = new_postgres(major, initdb=SMALL_SEGMENTS, settings={"wal_level": "logical"})
    server.stop()
    server.data.rename(volume / "pgdata")
    server.data.symlink_to(volume / "pgdata")
    server.start()
    server.execute("CREATE TABLE rows (number int)", "INSERT INTO rows VALUES (1)")
    archiver = ArchiverProcess(archiver_settings(store, server.address()), folder)
    try:
        store_backup(server, store)
        archiver.wait_until_it_holds(server)
        yield Lived(server, store, volume, archiver)
    finally:
        archiver.kill()
        server.stop()
        shutil.rmtree(folder)


def test_replication_slots_that_are_gone_are_named_with_the_statements_that_make_them_anew(lived: Lived) -> None:
    early = lived.write(2)
    lived.server.execute(
        "CREATE DATABASE later",
        "SELECT pg_create_physical_replication_slot('standby')",
        "SELECT pg_create_logical_replication_slot('to_warehouse', 'pgoutput', twophase => true)",
    )
    lived.server.execute("SELECT pg_create_logical_replication_slot('of_later', 'pgoutput')", database="later")
    lived.write(3)
    told = lived.restore_in_place(TargetPoint(lsn=early)).report["findings"]
    statements = [finding.partition(": ")[2] for finding in told[:3]]
    assert told[:3] == [
        "logical replication slot of_later is gone (in a database that the restored data do not have, plugin"
        f" pgoutput): {statements[0]}",
        f"logical replication slot to_warehouse is gone (database postgres, plugin pgoutput): {statements[1]}",
        f"physical replication slot standby is gone: {statements[2]}",
    ]
    assert not any("pgwarden_" in finding for finding in told), "the archiver makes its own anew"
    with lived.server.connect() as connection:
        for statement in statements[1:]:
            connection.execute(statement.encode())
        made = connection.execute(SLOTS).fetchall()
    assert made == [("standby", None, None, False), ("to_warehouse", "pgoutput", "postgres", True)]


def holds(lived: Lived, timeline: int) -> None:
    """The archiver tells that the archive holds the timeline, and it does: its history and its WAL from the branch."""
    report = lived.archiver.wait_for(lambda report: report.archived_timeline >= timeline, "it was never archived")
    assert (report.archived_timeline, report.timeline, report.gaps) == (timeline, timeline, [])
    history = open_store(lived.store).read_small(layout.history_object(FOLDER, timeline))
    branch = spans(history, timeline)[-2].end
    assert branch is not None
    (run,) = runs(lived.store, timeline)
    assert run.start == branch - branch % SEGMENT_BYTES
    assert run.end >= branch


def test_archive_and_restores_go_on_after_one_restore_in_place_and_after_another_to_before_it(lived: Lived) -> None:
    early = lived.write(2)
    later = lived.write(3)
    lived.write(4)
    lived.restore_in_place(TargetPoint(lsn=later))
    holds(lived, 2)
    assert lived.server.query(ROWS) == "1,2,3"
    on_second = lived.write(5)
    lived.restore_in_place(TargetPoint(lsn=early))
    holds(lived, 3)
    assert lived.server.query(ROWS) == "1,2"
    lived.write(6)
    told = {line["timeline"]: line for line in lived.points()["timelines"]}
    assert sorted(told) == [1, 2, 3]
    # A restore of what was restored, before a backup of it was taken and afterwards; and of what it replaced.
    assert lived.restored_elsewhere(TargetPoint(latest=True)) == "1,2,6"
    assert lived.restored_elsewhere(TargetPoint(lsn=on_second, timeline=2)) == "1,2,3,5"
    store_backup(lived.server, lived.store)
    lived.write(7)
    assert lived.restored_elsewhere(TargetPoint(latest=True)) == "1,2,6,7"
    assert lived.restored_elsewhere(TargetPoint(latest=True, timeline=1)) == "1,2,3,4"
