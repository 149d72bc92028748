"""What the archiver stored comes back: to the last row it acknowledged, and to any position before."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgwarden.archiving.contract import ArchiverSettings
from pgwarden.restores.contract import TargetPoint
from tests.support.archiver import FOLDER, SMALL_SEGMENTS, ArchiverProcess, archiver_settings
from tests.support.postgres import give_to_server_user, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup

ROWS = 20_000


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


def test_what_was_acknowledged_comes_back_after_the_archiver_was_killed(major: int, folder: Path, volume: Path) -> None:
    """Segments of 1 MiB, so that many whole ones and the tails of the last one are passed."""
    store = claim(owned_folder(folder / "store"))
    with postgres_server(major, initdb=SMALL_SEGMENTS) as server:
        server.execute("CREATE TABLE rows (number int, filler text)")
        store_backup(server, store)
        archiver = ArchiverProcess(archiver_settings(store, server.address()), folder)
        try:
            server.execute(f"INSERT INTO rows SELECT n, repeat('x', 500) FROM generate_series(1, {ROWS}) n")
            middle = str(server.query("SELECT pg_current_wal_flush_lsn()"))
            server.execute("INSERT INTO rows VALUES (0, 'the last one')")
            archiver.wait_until_it_holds(server)
        finally:
            archiver.kill()
        give_to_server_user(folder / "store")
    for target, rows in ((TargetPoint(latest=True), ROWS + 1), (TargetPoint(lsn=middle), ROWS)):
        own = owned_folder(volume / f"rows-{rows}")
        pod = RestorePod(major, own, store, "", archive=FOLDER, target=target)
        try:
            _, recovered, code = pod.run()
            assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
            with pod.instance() as instance:
                assert instance.query("SELECT count(*) FROM rows") == rows
        finally:
            pod.destroy()


def test_both_histories_come_back_after_a_volume_was_rolled_back(major: int, folder: Path, volume: Path) -> None:
    """What the server lost lies in the archive before, what it has come to since in the next one."""
    store = claim(owned_folder(folder / "store"))
    yesterday = folder / "yesterday"
    with postgres_server(major, initdb=SMALL_SEGMENTS) as server:
        server.execute("CREATE TABLE rows (number int, filler text)")
        store_backup(server, store)
        settings = archiver_settings(store, server.address())
        with archiving(settings, folder) as archiver:
            server.execute("INSERT INTO rows VALUES (1, 'before')")
            archiver.wait_until_it_holds(server)
        server.stop("fast")
        subprocess.run(["cp", "-a", server.data, yesterday], check=True)
        server.start()
        with archiving(settings, folder) as archiver:
            server.execute(f"INSERT INTO rows SELECT 2, repeat('x', 500) FROM generate_series(1, {ROWS}) n")
            lost = str(server.query("SELECT pg_current_wal_flush_lsn()"))
            archiver.wait_until_it_holds(server)
        server.stop("fast")
        shutil.rmtree(server.data)
        subprocess.run(["cp", "-a", yesterday, server.data], check=True)
        server.start()
        with archiving(settings, folder) as archiver:
            archiver.wait_for(lambda report: report.archive == "0002", "no other archive")
            store_backup(server, store)
            server.execute("INSERT INTO rows VALUES (3, 'since')")
            archiver.wait_until_it_holds(server)
        give_to_server_user(folder / "store")
    for target, numbers in ((TargetPoint(latest=True), "1,3"), (TargetPoint(lsn=lost), "1,2")):
        own = owned_folder(volume / numbers)
        pod = RestorePod(major, own, store, "", archive=FOLDER, target=target)
        try:
            _, recovered, code = pod.run()
            assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
            with pod.instance() as instance:
                assert instance.query("SELECT string_agg(DISTINCT number::text, ',') FROM rows") == numbers
        finally:
            pod.destroy()


@contextmanager
def archiving(settings: ArchiverSettings, folder: Path) -> Iterator[ArchiverProcess]:
    """An archiver that ends in order."""
    archiver = ArchiverProcess(settings, folder)
    try:
        yield archiver
        archiver.end()
    finally:
        archiver.kill()
