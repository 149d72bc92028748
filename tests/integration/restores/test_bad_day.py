"""A day on which everything breaks once: at its end every transaction is there, and every moment of it can be had."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import TargetPoint
from tests.integration.restores.test_stores import mounted
from tests.support.archiver import FOLDER, SMALL_SEGMENTS, ArchiverProcess, archiver_settings
from tests.support.postgres import PostgresServer, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.s3 import S3Server, s3_server
from tests.support.s3_faults import CUT, Proxy, s3_faults
from tests.support.stored_backup import store_backup

ROWS = 3000
"""Of half a KiB: some whole segments of 1 MiB and a part of one."""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@dataclass
class Day:
    """A server, its archiver, its store, and what was committed until when."""

    server: PostgresServer
    s3: S3Server
    proxy: Proxy
    settings: ArchiverSettings
    folder: Path
    archiver: ArchiverProcess
    marks: list[tuple[str, int]] = field(default_factory=list)
    """(position, rows committed before it)."""

    def write(self) -> None:
        """Commits some rows and remembers where."""
        self.server.execute(f"INSERT INTO rows SELECT n, repeat('x', 500) FROM generate_series(1, {ROWS}) n")
        rows = (self.marks[-1][1] if self.marks else 0) + ROWS
        self.marks.append((str(self.server.query("SELECT pg_current_wal_flush_lsn()")), rows))

    def trouble(self) -> None:
        """Waits until the archiver has noticed."""
        self.archiver.wait_for_state(ArchiverState.STORE_UNREACHABLE)

    def archiver_is_killed(self) -> None:
        self.write()
        self.archiver.kill()
        self.write()
        self.archiver = ArchiverProcess(self.settings, self.folder)

    def server_stops_at_once(self) -> None:
        self.write()
        self.server.stop("immediate")
        self.server.start()
        self.write()

    def store_answers_errors(self) -> None:
        self.proxy.fault = lambda _request: 503
        self.write()
        self.trouble()

    def store_cuts_connections(self) -> None:
        self.proxy.fault = lambda request: CUT if request.method == "PUT" else None
        self.write()
        self.trouble()

    def store_is_away(self) -> None:
        self.s3.stop()
        self.write()
        self.trouble()
        self.s3.start()

    def store_is_full(self) -> None:
        self.proxy.fault = lambda request: 507 if request.method == "PUT" else None
        self.write()
        told = self.archiver.wait_for(lambda report: report.reason == "StoreFull", "never told that it is full")
        assert told.remedy

    def over(self) -> None:
        """The trouble is over: everything arrives."""
        self.proxy.fault = lambda _request: None
        self.archiver.wait_until_it_holds(self.server)


@contextmanager
def begun(major: int, folder: Path) -> Iterator[Day]:
    """A day that begins with a full backup."""
    with (
        s3_server() as s3,
        s3_faults(s3) as proxy,
        postgres_server(major, initdb=SMALL_SEGMENTS) as server,
    ):
        server.execute("CREATE TABLE rows (number int, filler text)")
        store_backup(server, s3.location())
        settings = archiver_settings(proxy.location(s3.location()), server.address())
        day = Day(server, s3, proxy, settings, folder, ArchiverProcess(settings, folder))
        try:
            day.archiver.wait_until_it_holds(server)
            yield day
        finally:
            day.archiver.kill()


def restored(major: int, volume: Path, store: StoreLocation, target: TargetPoint) -> int:
    """How many rows a new instance has at that point."""
    pod = RestorePod(major, volume, store, "", archive=FOLDER, target=target)
    try:
        _, recovered, code = pod.run()
        assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
        with pod.instance() as instance:
            return int(str(instance.query("SELECT count(*) FROM rows")))
    finally:
        pod.destroy()


TROUBLES: list[Callable[[Day], None]] = [
    Day.archiver_is_killed,
    Day.server_stops_at_once,
    Day.store_answers_errors,
    Day.store_cuts_connections,
    Day.store_is_away,
    Day.store_is_full,
]


@pytest.mark.timeout(600)
def test_after_each_trouble_every_transaction_is_there_at_every_moment(major: int, folder: Path, volume: Path) -> None:
    ends: list[tuple[str, int]] = []
    with begun(major, folder) as day:
        for trouble in TROUBLES:
            trouble(day)
            day.over()
            ends.append(day.marks[-1])
        store = mounted(day.s3.location(), owned_folder(folder / "secrets"))
        for number, (position, rows) in enumerate(ends):
            own = owned_folder(volume / f"after-{number}")
            assert restored(major, own, store, TargetPoint(lsn=position)) == rows, TROUBLES[number].__name__
        assert restored(major, owned_folder(volume / "latest"), store, TargetPoint(latest=True)) == ends[-1][1]


@pytest.mark.timeout(300)
def test_after_a_failover_what_either_server_acknowledged_is_there(major: int, folder: Path, volume: Path) -> None:
    with begun(major, folder) as day:
        standby = day.server.create_standby({})
        try:
            day.archiver.configure(archiver_settings(day.settings.store, day.server.address(), standby.address()))
            day.write()
            day.over()
            before = day.marks[-1]
            standby.wait_for_replay_of(day.server)
            day.server.stop("immediate")
            standby.promote()
            day.server = standby
            day.write()
            day.over()
            day.archiver.kill()
        finally:
            standby.destroy()
        store = mounted(day.s3.location(), owned_folder(folder / "secrets"))
        assert restored(major, owned_folder(volume / "latest"), store, TargetPoint(latest=True)) == day.marks[-1][1]
        at_the_failover = TargetPoint(lsn=before[0])
        assert restored(major, owned_folder(volume / "before"), store, at_the_failover) == before[1]
