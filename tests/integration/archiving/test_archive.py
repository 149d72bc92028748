"""Every byte of WAL lies in the store, whole and in tails, and the server is told of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgwarden.api.wal import parse_lsn
from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.catalogue.named import list_named
from pgwarden.catalogue.reading import read_archive
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.catalogue_key import new_catalogue_key, read_catalogue_key
from pgwarden.storage.store import open_store
from tests.support.archiver import (
    FOLDER,
    SEGMENT_BYTES,
    ArchiverProcess,
    archived,
    archiver_settings,
    check_archive,
    runs,
)
from tests.support.postgres import PostgresServer, wait_until

Start = Callable[[ArchiverSettings], ArchiverProcess]


def write(server: PostgresServer, rows: int = 20000) -> None:
    """Some MiB of WAL."""
    server.execute(
        "CREATE TABLE IF NOT EXISTS t (i int, x text)",
        f"INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, {rows}) AS i",
    )


def test_every_byte_of_wal_lies_in_the_store(server: PostgresServer, store: StoreLocation, archive: Start) -> None:
    archiver = archive(archiver_settings(store, server.address()))
    archiver.wait_for_state(ArchiverState.STREAMING)
    write(server, 60000)
    report = archiver.wait_until_it_holds(server)
    assert report.segments_archived >= 4
    write(server, 10)
    report = archiver.wait_until_it_holds(server)
    pieces = archived(store)
    assert any(piece.whole for piece in pieces)
    assert any(not piece.whole for piece in pieces)
    assert check_archive(store, server) == len(pieces)
    assert len(runs(store)) == 1
    assert runs(store)[0].end >= parse_lsn(report.acknowledged_lsn)
    assert report.gaps == []
    assert archiver.end() == 0


def test_tails_go_when_their_segment_is_whole(server: PostgresServer, store: StoreLocation, archive: Start) -> None:
    archiver = archive(archiver_settings(store, server.address()))
    for _ in range(3):
        write(server, 100)
        archiver.wait_until_it_holds(server)
    assert sum(not piece.whole for piece in archived(store)) >= 2
    server.execute("SELECT pg_switch_wal()")
    archiver.wait_until_it_holds(server)

    def only_of_the_open_segment() -> bool:
        pieces = archived(store)
        whole = {piece.segment for piece in pieces if piece.whole}
        return bool(whole) and not any(piece.segment in whole for piece in pieces if not piece.whole)

    wait_until(only_of_the_open_segment, "tails of a whole segment were left")


def test_restore_points_are_told_with_their_place(server: PostgresServer, store: StoreLocation, archive: Start) -> None:
    """The last of them lies across the boundary of two pages, and is told with a tail: its segment is not whole."""
    archiver = archive(archiver_settings(store, server.address()))
    archiver.wait_for_state(ArchiverState.STREAMING)
    ends: list[int] = []
    with server.connect() as connection:
        connection.execute("SELECT pg_switch_wal()")
        while not any(crosses_pages(end) for end in ends):
            assert len(ends) < 5000
            made = connection.execute("SELECT pg_create_restore_point(%s)::text", (f"point {len(ends)}/ä",)).fetchone()
            assert made is not None
            ends.append(parse_lsn(str(made[0])))
    # A restore point alone is written when the server gets round to it; a commit has its WAL written at once.
    server.execute("CREATE TABLE committed ()")
    archiver.wait_until_it_holds(server)
    found = {point.name: point for point in list_named(open_store(store), FOLDER)}
    assert found.keys() == {f"point {number}/ä" for number in range(len(ends))}
    for number, end in enumerate(ends):
        place = found[f"point {number}/ä"]
        assert (place.timeline, end - place.position) == (1, 104 + (24 if crosses_pages(end) else 0))


def crosses_pages(end: int) -> bool:
    """Whether a record of 104 bytes that ends there lies on two pages of WAL."""
    return 24 < end % 8192 < 104 + 24


def test_a_restore_point_that_lies_across_two_segments_is_told(
    server: PostgresServer, store: StoreLocation, archive: Start
) -> None:
    archiver = archive(archiver_settings(store, server.address()))
    archiver.wait_for_state(ArchiverState.STREAMING)
    ends: list[int] = []
    with server.connect() as connection:
        while not any(crosses_segments(end) for end in ends):
            assert len(ends) < 500
            position = parse_lsn(str(server.query("SELECT pg_current_wal_insert_lsn()")))
            left = SEGMENT_BYTES - position % SEGMENT_BYTES
            if left > 4096:
                text = "x" * (left - 4096)
                connection.execute("SELECT pg_logical_emit_message(false, 'filling', %s)", (text,))
            made = connection.execute("SELECT pg_create_restore_point(%s)::text", (f"{len(ends)}",)).fetchone()
            assert made is not None
            ends.append(parse_lsn(str(made[0])))
    server.execute("CREATE TABLE committed ()")
    archiver.wait_until_it_holds(server)
    found = {int(point.name): point.position for point in list_named(open_store(store), FOLDER)}
    assert sorted(found) == list(range(len(ends)))
    (crossing,) = (number for number, end in enumerate(ends) if crosses_segments(end))
    assert ends[crossing] - found[crossing] == 104 + 40


def crosses_segments(end: int) -> bool:
    """Likewise on two segments."""
    return 40 < end % SEGMENT_BYTES < 104 + 40


def test_an_idle_database_has_moments_and_makes_no_objects_of_wal(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    archiver = archive(archiver_settings(claim, server.address()))
    server.execute("SELECT pg_switch_wal()", "CHECKPOINT")
    archiver.wait_until_it_holds(server)
    before = len(archived(claim))
    first = archiver.wait_for(lambda report: report.recovery_point_time is not None, "no recovery point")
    assert first.recovery_point_time is not None
    later = archiver.wait_for(
        lambda report: bool(
            report.recovery_point_time
            and first.recovery_point_time
            and (report.recovery_point_time - first.recovery_point_time).total_seconds() > 3
        ),
        "the recovery point of an idle database stood still",
    )
    assert later.lag_seconds is not None
    assert later.lag_seconds < 5
    assert archiver.end() == 0
    assert len(archived(claim)) <= before + 2
    objects = list(open_store(claim).list(layout.moments_folder(FOLDER)))
    assert objects
    moments = [
        moment
        for each in sorted(objects, key=lambda each: each.path)
        for moment in json.loads(open_store(claim).read_small(each.path))["moments"]
    ]
    end = runs(claim)[-1].end
    assert all(parse_lsn(moment["lsn"]) <= end for moment in moments)
    assert all(moment["timeline"] == 1 and int(moment["nextXid"]) > 2 for moment in moments)
    assert [moment["time"] for moment in moments] == sorted(moment["time"] for moment in moments)


def test_the_server_is_told_of_nothing_that_is_not_stored(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    archiver = archive(archiver_settings(claim, server.address()))
    write(server)
    archiver.wait_until_it_holds(server)
    for _ in range(20):
        write(server, 500)
        confirmed = parse_lsn(str(server.query("SELECT restart_lsn FROM pg_replication_slots")))
        assert confirmed <= runs(claim)[-1].end
    archiver.wait_until_it_holds(server)
    target = runs(claim)[-1].end
    wait_until(
        lambda: parse_lsn(str(server.query("SELECT restart_lsn FROM pg_replication_slots"))) >= target - SEGMENT_BYTES,
        "the slot did not move on",
    )


def test_it_ends_in_time_with_everything_stored(server: PostgresServer, claim: StoreLocation, archive: Start) -> None:
    archiver = archive(archiver_settings(claim, server.address(), tail_seconds=600.0))
    archiver.wait_for_state(ArchiverState.STREAMING)
    write(server, 3000)
    target = parse_lsn(str(server.query("SELECT pg_current_wal_flush_lsn()")))
    archiver.wait_for(lambda report: parse_lsn(report.received_lsn or "0/0") >= target, "not received")
    assert archiver.end() == 0
    assert runs(claim)[-1].end >= target
    check_archive(claim, server)


def test_with_the_stores_key_moments_are_proven_and_planted_ones_passed_over(
    server: PostgresServer, claim: StoreLocation, archive: Start, tmp_path: Path
) -> None:
    (tmp_path / "key").mkdir()
    for name, content in new_catalogue_key().items():
        (tmp_path / "key" / name).write_text(content)
    keyed = claim.model_copy(update={"catalogue_key": str(tmp_path / "key")})
    key = read_catalogue_key(tmp_path / "key").hmac
    archiver = archive(archiver_settings(keyed, server.address()))
    write(server)
    archiver.wait_until_it_holds(server)
    archiver.end()
    store, now = open_store(claim), datetime.now(UTC)
    genuine = read_archive(store, FOLDER, now, key=key)
    assert genuine.catalogue.moments
    assert all(each.proven for each in (*genuine.catalogue.moments, *(each.last for each in genuine.index)))
    assert genuine.catalogue.wal_system == server.system_identifier
    planted = layout.moments_object(FOLDER, now + timedelta(days=1), 1, 100)
    store.put(planted, store.read_small(genuine.index[-1].path))
    found = read_archive(store, FOLDER, now, key=key)
    assert found.catalogue.moments == genuine.catalogue.moments
    assert [(each.path, each.reason) for each in found.catalogue.troubles] == [(planted, "MomentNotAuthentic")]
