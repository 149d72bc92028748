"""The slot: on the replicas too, and what may happen to it is told in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgwarden.api.wal import parse_lsn
from pgwarden.archiving.contract import ArchiverState, slot_name
from pgwarden.jobs.files import StoreLocation
from tests.integration.archiving.test_archive import Start, write
from tests.support.archiver import SMALL_SEGMENTS, archiver_settings, runs
from tests.support.postgres import PostgresServer, free_port, wait_until

KEEPS_NOTHING = {"min_wal_size": "2MB", "max_wal_size": "2MB", "wal_keep_size": "0"}
SLOT = slot_name("policy-uid")


def restart_lsn(server: PostgresServer) -> int:
    """Where the slot on a server keeps WAL from; 0 where there is none."""
    found = server.query(f"SELECT max(restart_lsn) FROM pg_replication_slots WHERE slot_name = '{SLOT}'")
    return parse_lsn(str(found)) if found is not None else 0


def test_a_promoted_replica_still_has_all_wal_that_the_archive_misses(
    new_postgres: Callable[..., PostgresServer],
    new_standby: Callable[..., PostgresServer],
    claim: StoreLocation,
    archive: Start,
    major: int,
) -> None:
    server = new_postgres(major, settings=KEEPS_NOTHING, initdb=SMALL_SEGMENTS)
    standby = new_standby(server)
    settings = archiver_settings(claim, server.address(), standby.address())
    archiver = archive(settings)
    archiver.wait_for(lambda report: bool(report.replica_slots), "the slot is not kept on the replica")
    write(server)
    held = parse_lsn(archiver.wait_until_it_holds(server).acknowledged_lsn)
    standby.wait_for_replay_of(server)
    wait_until(lambda: restart_lsn(standby) >= held, "the slot on the replica does not move with the archive")
    archiver.kill()
    end = runs(claim)[0].end
    for _ in range(4):
        write(server, 20000)
        server.execute("CHECKPOINT")
        standby.wait_for_replay_of(server)
        standby.execute("CHECKPOINT")
    server.stop("immediate")
    standby.promote()
    for _ in range(2):
        write(standby, 20000)
        standby.execute("CHECKPOINT")
    assert restart_lsn(standby) <= end
    report = archive(settings).wait_until_it_holds(standby)
    assert (report.timeline, report.gaps) == (2, [])
    assert len(runs(claim, 1)) == len(runs(claim, 2)) == 1


def test_a_replica_that_does_not_answer_is_told_and_holds_up_nothing(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    away = server.address().model_copy(update={"port": free_port()})
    archiver = archive(archiver_settings(claim, server.address(), away))
    report = archiver.wait_for(
        lambda report: any(str(away.port) in each for each in report.warnings), "the replica is not missed"
    )
    assert report.replica_slots == []
    write(server)
    assert archiver.wait_until_it_holds(server).state == ArchiverState.STREAMING


def test_another_primary_among_the_replicas_gets_no_slot(
    server: PostgresServer,
    new_postgres: Callable[..., PostgresServer],
    claim: StoreLocation,
    archive: Start,
    major: int,
) -> None:
    other = new_postgres(major)
    archiver = archive(archiver_settings(claim, server.address(), other.address()))
    told = archiver.wait_for(
        lambda report: any("of another cluster" in each for each in report.warnings), "the stranger is not told"
    )
    assert told.replica_slots == []
    assert restart_lsn(other) == 0


@pytest.mark.parametrize("sign", ["a session of its", "the configuration that it includes"])
def test_patroni_is_told_by_its_signs_with_the_line_to_add(
    server: PostgresServer, claim: StoreLocation, archive: Start, sign: str
) -> None:
    session = server.connect()
    if sign == "a session of its":
        session.execute("SET application_name = 'Patroni heartbeat'")
    else:
        (server.data / "postgresql.base.conf").write_text("work_mem = 5MB\n")
        with (server.data / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude 'postgresql.base.conf'\n")
        server.reload()
        wait_until(lambda: server.query("SHOW work_mem") == "5MB", "the configuration is not read")
    archiver = archive(archiver_settings(claim, server.address()))
    report = archiver.wait_for_state(ArchiverState.STREAMING)
    (told,) = [each for each in report.warnings if "Patroni" in each]
    assert f"ignore_slots: [{{name: {SLOT}, type: physical}}]" in told
    session.close()


def test_without_patroni_only_the_unlimited_slot_is_a_warning(
    server: PostgresServer, claim: StoreLocation, archive: Start
) -> None:
    report = archive(archiver_settings(claim, server.address())).wait_for_state(ArchiverState.STREAMING)
    (told,) = report.warnings
    assert "max_slot_wal_keep_size is -1" in told
    assert report.unlimited_slot


def test_an_archiver_that_is_retired_takes_its_slots_with_it(
    server: PostgresServer, new_standby: Callable[..., PostgresServer], claim: StoreLocation, archive: Start
) -> None:
    standby = new_standby(server)
    settings = archiver_settings(claim, server.address(), standby.address())
    archiver = archive(settings)
    archiver.wait_for(lambda report: bool(report.replica_slots), "the slot is not kept on the replica")
    write(server)
    archiver.wait_until_it_holds(server)
    standby.stop("fast")
    retired = settings.model_copy(update={"retired": True, "digest": "retired"})
    archiver.configure(retired)
    told = archiver.wait_for_state(ArchiverState.WAITING_FOR_PRIMARY, "SlotNotDropped")
    assert str(standby.port) in told.message
    assert f"SELECT pg_drop_replication_slot('{SLOT}')" in told.remedy
    assert restart_lsn(server) == 0
    standby.start()
    assert archiver.wait_for_state(ArchiverState.RETIRED).digest == "retired"
    assert restart_lsn(standby) == 0
    assert archiver.get("/healthz") == "ok\n"
    # WAL is turned on again: what was written meanwhile is a gap only where the server no longer has it.
    archiver.configure(settings)
    archiver.wait_for_state(ArchiverState.STREAMING)
    assert archiver.wait_until_it_holds(server).gaps == []
