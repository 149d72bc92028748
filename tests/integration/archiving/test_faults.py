"""Whatever is killed, cut, refused or rolled back: nothing is lost, or what is lost is on record."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwarden.api.wal import parse_lsn, segment_start
from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.store import open_store
from tests.integration.archiving.test_archive import Start, write
from tests.support.archiver import (
    FOLDER,
    SECOND,
    SEGMENT_BYTES,
    ArchiverProcess,
    archived,
    archiver_settings,
    check_archive,
    runs,
)
from tests.support.load import WriteLoad
from tests.support.postgres import PostgresServer, wait_until
from tests.support.s3 import S3Server, s3_server
from tests.support.s3_faults import s3_faults
from tests.support.tcp_proxy import tcp_proxy


def begun(archive: Start, settings: ArchiverSettings, server: PostgresServer) -> ArchiverProcess:
    """An archiver that holds some MiB which the server has written."""
    archiver = archive(settings)
    write(server)
    archiver.wait_until_it_holds(server)
    return archiver


def position(server: PostgresServer) -> int:
    return parse_lsn(str(server.query("SELECT pg_current_wal_flush_lsn()")))


def test_a_successor_of_a_killed_archiver_goes_on_with_nothing(
    server: PostgresServer, store: StoreLocation, archive: Start
) -> None:
    settings = archiver_settings(store, server.address())
    load = WriteLoad(server, filler_bytes=20000, pause_seconds=0.002)
    load.prepare()
    with load:
        for _ in range(3):
            archiver = archive(settings)
            archiver.wait_for(lambda report: report.segments_archived >= 2, "no segments")
            # Some time later, another one each time: in the middle of what it does.
            time.sleep(random.uniform(0, 0.5))
            archiver.kill()
        last = archive(settings)
        last.wait_for(lambda report: report.segments_archived >= 2, "no segments")
    last.wait_until_it_holds(server)
    assert len(runs(store)) == 1
    assert runs(store)[0].end >= position(server)
    check_archive(store, server)


def test_the_second_of_two_archivers_waits_and_takes_over(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    first = archive(archiver_settings(claim, server.address()))
    first.wait_for_state(ArchiverState.STREAMING)
    second = archive(archiver_settings(claim, server.address()))
    waiting = second.wait_for_state(ArchiverState.SLOT_IN_USE)
    assert "Another archiver" in waiting.remedy
    write(server)
    first.wait_until_it_holds(server)
    first.kill()
    write(server)
    second.wait_until_it_holds(server)
    assert len(runs(claim)) == 1
    check_archive(claim, server)


def test_nothing_is_lost_while_the_store_is_away(server: PostgresServer, archive: Start) -> None:
    with s3_server() as s3:
        store = s3.location()
        archiver = begun(archive, archiver_settings(store, server.address()), server)
        s3.stop()
        write(server, 100000)
        away = archiver.wait_for_state(ArchiverState.STORE_UNREACHABLE)
        assert "cannot be reached" in away.message
        write(server, 100000)
        held = archiver.wait_for(lambda report: report.spool_bytes >= 3 << 20, "the spool did not fill")
        assert held.spool_bytes <= archiver_settings(store, server.address()).spool_bytes
        assert parse_lsn(str(server.query("SELECT restart_lsn FROM pg_replication_slots"))) <= parse_lsn(
            held.acknowledged_lsn
        )
        s3.start()
        archiver.wait_until_it_holds(server)
        archiver.wait_for_state(ArchiverState.STREAMING)
        assert len(runs(store)) == 1
        check_archive(store, server)


def test_a_server_that_shuts_down_is_not_held_up_by_a_store_that_is_away(
    server: PostgresServer, archive: Start
) -> None:
    with s3_server() as s3:
        archiver = archive(archiver_settings(s3.location(), server.address()))
        archiver.wait_until_it_holds(server)
        s3.stop()
        write(server)
        archiver.wait_for_state(ArchiverState.STORE_UNREACHABLE)
        assert server.process is not None
        server.stop("fast")
        s3.start()
        server.start()
        archiver.wait_until_it_holds(server)
        assert len(runs(s3.location())) == 1
        check_archive(s3.location(), server)


def test_a_slow_link_to_the_store_that_is_cut_again_and_again(
    server: PostgresServer, s3: S3Server, archive: Start
) -> None:
    with tcp_proxy(s3.port) as proxy:
        store = s3.location(s3.new_bucket())
        archiver = archive(archiver_settings(through(store, proxy.port), server.address()))
        archiver.wait_for_state(ArchiverState.STREAMING)
        proxy.bytes_per_second, proxy.cut_after = 2_000_000, 400_000
        write(server, 60000)
        for _ in range(5):
            proxy.cut()
            write(server, 100)
        proxy.bytes_per_second = proxy.cut_after = 0
        archiver.wait_until_it_holds(server)
        assert len(runs(store)) == 1
        check_archive(store, server)


def through(store: StoreLocation, port: int) -> StoreLocation:
    """The same store behind a proxy."""
    assert store.s3 is not None
    return store.model_copy(update={"s3": store.s3.model_copy(update={"endpoint": f"https://localhost:{port}"})})


@pytest.mark.parametrize("status", [500, 503])
def test_a_store_that_answers_errors_is_tried_until_it_does_not(
    server: PostgresServer, archive: Start, status: int
) -> None:
    with s3_server() as s3, s3_faults(s3) as proxy:
        store = s3.location()
        proxy.fault = lambda _request: status
        archiver = archive(archiver_settings(proxy.location(store), server.address()))
        told = archiver.wait_for_state(ArchiverState.STORE_UNREACHABLE, "StoreUnreachable")
        assert "overloaded or broken" in told.message
        proxy.fault = lambda _request: None
        write(server)
        archiver.wait_until_it_holds(server)
        proxy.fault = lambda _request: status
        write(server)
        archiver.wait_for_state(ArchiverState.STORE_UNREACHABLE)
        proxy.fault = lambda _request: None
        archiver.wait_until_it_holds(server)
        assert len(runs(store)) == 1
        check_archive(store, server)


@pytest.mark.parametrize("how", ["immediate", "fast", "kill"])
def test_a_server_that_goes_down_and_comes_back(
    server: PostgresServer, claim: StoreLocation, archive: Start, how: str
) -> None:
    archiver = archive(archiver_settings(claim, server.address()))
    load = WriteLoad(server, filler_bytes=20000, pause_seconds=0)
    load.prepare()
    archiver.wait_for_state(ArchiverState.STREAMING)
    with load:
        archiver.wait_for(lambda report: report.segments_archived >= 3, "no segments")
    if how == "kill":
        server.kill()
    else:
        server.stop(how)
    server.start()
    write(server)
    archiver.wait_until_it_holds(server)
    assert len(runs(claim)) == 1
    assert archiver.report() is not None
    check_archive(claim, server)


def test_a_cut_connection_to_the_server(server: PostgresServer, claim: StoreLocation, archive: Start) -> None:
    with tcp_proxy(server.port) as proxy:
        address = server.address().model_copy(update={"port": proxy.port})
        archiver = archive(archiver_settings(claim, address))
        archiver.wait_for_state(ArchiverState.STREAMING)
        for _ in range(3):
            write(server)
            wait_until(lambda: proxy.connections >= 2, "no connections")
            proxy.cut()
        archiver.wait_until_it_holds(server)
        assert len(runs(claim)) == 1
        check_archive(claim, server)


def test_a_promoted_standby_takes_over(
    server: PostgresServer, new_standby: Callable[..., PostgresServer], claim: StoreLocation, archive: Start
) -> None:
    standby = new_standby(server)
    archiver = begun(archive, archiver_settings(claim, server.address(), standby.address()), server)
    standby.wait_for_replay_of(server)
    server.stop("immediate")
    archiver.wait_for_state(ArchiverState.WAITING_FOR_PRIMARY)
    standby.promote()
    write(standby)
    report = archiver.wait_until_it_holds(standby)
    assert report.timeline == 2
    assert report.server.endswith(str(standby.port))
    history = (standby.data / "pg_wal" / "00000002.history").read_bytes()
    assert open_store(claim).read_small(layout.history_object(FOLDER, 2)) == history
    switch = parse_lsn(history.split()[1].decode())
    assert len(runs(claim, 1)) == 1
    assert runs(claim, 1)[0].end >= switch
    assert runs(claim, 2)[0].start == switch - switch % SEGMENT_BYTES
    check_archive(claim, server, 1)
    check_archive(claim, standby, 2)
    # The old primary comes back as if nothing had happened: its WAL must not be taken.
    archiver.end()
    server.start()
    write(server)
    again = archive(archiver_settings(claim, server.address()))
    told = again.wait_for_state(ArchiverState.CONFLICT, "TimelineBehind")
    assert "timeline 2" in told.message
    begun(archive, archiver_settings(claim, server.address(), standby.address()), standby)


def test_a_branch_before_the_end_of_what_was_archived_is_normal(
    server: PostgresServer, new_standby: Callable[..., PostgresServer], claim: StoreLocation, archive: Start
) -> None:
    standby = new_standby(server)
    archiver = archive(archiver_settings(claim, server.address(), standby.address()))
    write(server)
    standby.wait_for_replay_of(server)
    standby.stop("fast")
    write(server, 60000)
    archiver.wait_until_it_holds(server)
    server.stop("immediate")
    # Nobody is left to stream from.
    (standby.data / "postgresql.auto.conf").write_text("")
    standby.start()
    standby.promote()
    write(standby)
    assert archiver.wait_until_it_holds(standby).timeline == 2
    history = (standby.data / "pg_wal" / "00000002.history").read_bytes()
    assert runs(claim, 1)[0].end > parse_lsn(history.split()[1].decode())
    check_archive(claim, server, 1)
    check_archive(claim, standby, 2)


def test_a_timeline_whose_history_is_lost_is_not_gone_on_with_blindly(
    server: PostgresServer, new_standby: Callable[..., PostgresServer], claim: StoreLocation, archive: Start
) -> None:
    """Without it the WAL between the archive's end and the branch would be left out, and no gap be on record."""
    standby = new_standby(server)
    archiver = begun(archive, archiver_settings(claim, server.address()), server)
    archiver.end()
    write(server, 20000)
    standby.wait_for_replay_of(server)
    server.stop("immediate")
    standby.promote()
    write(standby)
    history = standby.data / "pg_wal" / "00000002.history"
    away = history.rename(standby.folder / "pg" / history.name)
    archiver = archive(archiver_settings(claim, standby.address()))
    told = archiver.wait_for_state(ArchiverState.WAITING_FOR_PRIMARY, "HistoryMissing")
    assert "00000002.history" in told.message
    assert archived(claim, 2) == []
    away.rename(history)
    archiver.wait_until_it_holds(standby)
    switch = parse_lsn(history.read_bytes().split()[1].decode())
    assert len(runs(claim, 1)) == 1
    assert runs(claim, 1)[0].end == switch
    check_archive(claim, server, 1)


def drop_slot(server: PostgresServer) -> None:
    wait_until(
        lambda: server.query("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, "the slot stays in use"
    )
    server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def test_a_dropped_slot_is_no_gap_while_the_wal_is_there(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    settings = archiver_settings(claim, server.address())
    archiver = begun(archive, settings, server)
    archiver.kill()
    drop_slot(server)
    write(server, 60000)
    server.execute("CHECKPOINT")
    successor = archive(settings)
    report = successor.wait_until_it_holds(server)
    assert report.gaps == []
    assert len(runs(claim)) == 1
    check_archive(claim, server)


@pytest.mark.parametrize("how", ["dropped", "given up by the server"])
def test_a_gap_is_named_exactly_and_archiving_goes_on(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, archive: Start, major: int, how: str
) -> None:
    limit = {"max_slot_wal_keep_size": "2MB"} if how != "dropped" else {}
    server = new_postgres(
        major,
        settings={"min_wal_size": "2MB", "max_wal_size": "2MB", "wal_keep_size": "0"} | limit,
        initdb=("--data-checksums", "--wal-segsize=1"),
    )
    settings = archiver_settings(claim, server.address())
    archiver = begun(archive, settings, server)
    archiver.kill()
    if how == "dropped":
        drop_slot(server)
    for _ in range(4):
        write(server, 60000)
        server.execute("CHECKPOINT")
    oldest = min(name.name for name in (server.data / "pg_wal").iterdir() if len(name.name) == 24)
    end = runs(claim)[0].end
    assert segment_start(oldest, SEGMENT_BYTES) > end
    successor = archive(settings)
    report = successor.wait_for(lambda report: bool(report.gaps), "the gap was not noticed")
    successor.wait_until_it_holds(server)
    (gap,) = report.gaps
    assert (gap.timeline, parse_lsn(gap.start)) == (1, end)
    assert parse_lsn(gap.end) == segment_start(oldest, SEGMENT_BYTES)
    held = runs(claim)
    assert [(each.start, each.end) for each in held][1:][0][0] == parse_lsn(gap.end)
    assert len(held) == 2
    assert layout.gap_object(FOLDER, 1, held[0].end, held[1].start) in {
        info.path for info in open_store(claim).list(layout.gaps_folder(FOLDER))
    }
    # Whoever comes next knows of it, and goes on at the end.
    successor.kill()
    write(server)
    third = archive(settings)
    third.wait_until_it_holds(server)
    later = third.report()
    assert later is not None
    assert later.gaps == report.gaps


def test_no_commit_waits_for_the_archiver(
    server: PostgresServer, new_standby: Callable[..., PostgresServer], claim: StoreLocation, archive: Start
) -> None:
    new_standby(server)
    archiver = archive(archiver_settings(claim, server.address()))
    archiver.wait_for_state(ArchiverState.STREAMING)
    server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    server.reload()
    told = archiver.wait_for_state(ArchiverState.SYNCHRONOUS_STANDBY)
    assert "synchronous_standby_names" in told.message + told.remedy
    mine = "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'pgwarden%'"
    wait_until(lambda: server.query(mine) == 0, "the archiver still streams")
    with server.connect() as connection:
        connection.execute("SET statement_timeout = '10s'")
        connection.execute("CREATE TABLE committed (i int)")
        connection.execute("INSERT INTO committed VALUES (1)")
    late = archive(archiver_settings(claim, server.address()))
    late.wait_for_state(ArchiverState.SYNCHRONOUS_STANDBY)
    server.execute("ALTER SYSTEM RESET synchronous_standby_names")
    server.reload()
    archiver.wait_until_it_holds(server)


def test_a_volume_rolled_back_to_yesterday_goes_on_in_another_archive_and_this_one_stays_as_it_is(
    server: PostgresServer, store: StoreLocation, archive: Start, tmp_path: Path
) -> None:
    settings = archiver_settings(store, server.address())
    archiver = begun(archive, settings, server)
    archiver.end()
    server.stop("fast")
    yesterday = tmp_path / "yesterday"
    copy_volume(server.data, yesterday)
    server.start()
    archiver = archive(settings)
    write(server, 60000)
    assert archiver.wait_until_it_holds(server).archive == "0001"
    archiver.end()
    held = contents(store)
    server.stop("fast")
    restore_volume(yesterday, server.data)
    server.start()
    archiver = archive(settings)
    report = archiver.wait_until_it_holds(server)
    assert (report.archive, report.state) == ("0002", ArchiverState.STREAMING)
    assert "has lost what it had written" in report.archive_reason
    assert report.archive_since is not None
    # It writes on, other bytes, beyond the end of the old archive.
    server.execute("CREATE TABLE other AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 100000) AS i")
    assert position(server) > runs(store)[0].end
    archiver.wait_until_it_holds(server)
    assert len(runs(store, folder=SECOND)) == 1
    check_archive(store, server, folder=SECOND)
    after = contents(store)
    assert {path: after[path] for path in held} == held
    assert all(path.startswith(f"{SECOND}/") for path in set(after) - set(held))
    # Who comes next knows where to go on.
    archiver.kill()
    write(server)
    assert archive(settings).wait_until_it_holds(server).archive == "0002"
    check_archive(store, server, folder=SECOND)


def test_other_wal_at_the_same_position_begins_another_archive_but_not_twice_in_an_hour(
    server: PostgresServer, claim: StoreLocation, archive: Start, tmp_path: Path
) -> None:
    settings = archiver_settings(claim, server.address())
    for expected in ("0002", None):
        archiver = begun(archive, settings, server)
        archiver.end()
        server.stop("fast")
        yesterday = tmp_path / f"yesterday-{expected}"
        copy_volume(server.data, yesterday)
        server.start()
        archiver = archive(settings)
        write(server, 20000)
        archiver.wait_until_it_holds(server)
        archiver.end()
        held = contents(claim)
        server.stop("fast")
        restore_volume(yesterday, server.data)
        server.start()
        # Nobody archives until it has come further than the archive.
        server.execute("CREATE TABLE other AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 60000) AS i")
        archiver = archive(settings)
        if expected:
            report = archiver.wait_until_it_holds(server)
            assert report.archive == expected
            assert "is not what the server" in report.archive_reason or "something else" in report.archive_reason
            server.execute("DROP TABLE other")
        else:
            # The conflict is told at once, and a moment later that another archive has to wait.
            archiver.wait_for_state(ArchiverState.CONFLICT, "ArchiveConflict")
            archiver.wait_for(lambda report: "less than an hour ago" in report.remedy, "never said to be too early")
            assert contents(claim) == held
            confirmed = parse_lsn(str(server.query("SELECT restart_lsn FROM pg_replication_slots")))
            assert confirmed <= runs(claim, folder=SECOND)[0].end
        archiver.end()


def test_another_system_of_the_same_cluster_begins_another_archive_once_the_operator_has_seen_it(
    server: PostgresServer,
    new_postgres: Callable[..., PostgresServer],
    claim: StoreLocation,
    archive: Start,
    major: int,
) -> None:
    archiver = begun(archive, archiver_settings(claim, server.address()), server)
    archiver.end()
    upgraded = new_postgres(major, initdb=("--wal-segsize=1",))
    known = {"expected_system_identifier": upgraded.system_identifier}
    archiver = archive(archiver_settings(claim, upgraded.address(), **known))
    write(upgraded)
    report = archiver.wait_until_it_holds(upgraded)
    assert (report.archive, report.system_identifier) == ("0002", upgraded.system_identifier)
    assert server.system_identifier in report.archive_reason
    check_archive(claim, upgraded, folder=SECOND)
    check_archive(claim, server)


def contents(location: StoreLocation) -> dict[str, bytes]:
    """Everything that lies in the store, by path."""
    store = open_store(location)
    return {info.path: b"".join(store.read(info.path)) for info in store.list("")}


def test_a_server_rolled_back_behind_a_whole_segment_writes_nothing_behind_it(
    server: PostgresServer, s3: S3Server, archive: Start, tmp_path: Path
) -> None:
    """What comes after the segment that is compared must not be in the archive: the next archiver would go on there."""
    store = s3.location(s3.new_bucket())
    settings = archiver_settings(store, server.address(), spool_bytes=16 << 20)
    archiver = begun(archive, settings, server)
    archiver.end()
    server.stop("fast")
    yesterday = tmp_path / "yesterday"
    copy_volume(server.data, yesterday)
    server.start()
    archiver = archive(settings)
    write(server, 30000)
    server.execute("SELECT pg_switch_wal()")
    archiver.wait_until_it_holds(server)
    archiver.end()
    opened = open_store(store)
    for piece in archived(store):
        if not piece.whole:
            opened.delete(piece.path)
    before = {info.path for info in opened.list("")}
    server.stop("fast")
    restore_volume(yesterday, server.data)
    server.start()
    server.execute("CREATE TABLE other AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 200000) AS i")
    assert position(server) > runs(store)[0].end + 4 * SEGMENT_BYTES
    report = archive(settings).wait_until_it_holds(server)
    assert report.archive == "0002"
    assert {info.path for info in opened.list(FOLDER)} == before


def copy_volume(data: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", data, copy], check=True)


def restore_volume(copy: Path, data: Path) -> None:
    shutil.rmtree(data)
    subprocess.run(["cp", "-a", copy, data], check=True)


def test_another_cluster_is_refused(
    server: PostgresServer,
    new_postgres: Callable[..., PostgresServer],
    claim: StoreLocation,
    archive: Start,
    major: int,
) -> None:
    archiver = begun(archive, archiver_settings(claim, server.address()), server)
    archiver.end()
    other = new_postgres(major, initdb=("--wal-segsize=1",))
    for changes in ({"expected_system_identifier": server.system_identifier}, {}):
        stranger = archive(archiver_settings(claim, other.address(), **changes))
        told = stranger.wait_for_state(ArchiverState.WRONG_SYSTEM, "SystemIdentifierMismatch")
        assert other.system_identifier in told.message
        stranger.kill()
    stranger = archive(
        archiver_settings(
            claim,
            server.address(),
            archive=archiver_settings(claim, server.address()).archive.model_copy(update={"cluster_uid": "another"}),
        )
    )
    stranger.wait_for_state(ArchiverState.WRONG_SYSTEM, "ArchiveBelongsToAnother")
