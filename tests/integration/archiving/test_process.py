"""The archiver as a process: its settings may change, its role needs little, its log holds no secret."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from pgwarden.archiving.contract import ArchiverReport, ArchiverState
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.integration.archiving.test_archive import Start, write
from tests.support.archiver import ArchiverProcess, archived, archiver_settings, check_archive, runs
from tests.support.clocks import WrongClock
from tests.support.postgres import PostgresServer
from tests.support.roles import PASSWORD, role_of_script
from tests.support.s3 import SECRET_KEY, S3Server


def test_the_role_of_the_script_is_enough(server: PostgresServer, claim: StoreLocation, archive: Start) -> None:
    archiver = archive(archiver_settings(claim, role_of_script(server, "backup", "backs up")))
    write(server)
    archiver.wait_until_it_holds(server)
    report = archiver.wait_for(lambda report: bool(report.slot and report.slot.active), "the slot is not in use")
    assert report.slot is not None
    assert (report.slot.exists, report.slot.wal_status) == (True, "reserved")
    assert report.unlimited_slot
    assert "max_slot_wal_keep_size" in report.warnings[0]
    check_archive(claim, server)


def test_settings_and_credentials_may_change_at_any_time(
    server: PostgresServer, s3: S3Server, archive: Start, tmp_path: Path
) -> None:
    role = server.create_role(password=PASSWORD, options="REPLICATION")
    address = server.address(user=role, password=PASSWORD)
    first = s3.location(s3.new_bucket())
    archiver = archive(archiver_settings(first, address, digest="one"))
    assert archiver.wait_until_it_holds(server).digest == "one"
    # The password is rotated, the Secret with it: the next connection uses the new one.
    rotated = f"{PASSWORD}, rotated"
    with server.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(rotated)))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgwarden/archive%'"
        )
    archiver.wait_for_state(ArchiverState.WAITING_FOR_PRIMARY, "PasswordRejected")
    Path(address.password_file).write_text(rotated)
    write(server)
    archiver.wait_until_it_holds(server)
    # Another store, in the same process: what was archived so far stays where it is.
    (tmp_path / "second").mkdir()
    second = StoreLocation(claim=ClaimLocation(path=str(tmp_path / "second")))
    archiver.configure(archiver_settings(second, address, digest="two"))
    archiver.wait_for(lambda report: report.digest == "two", "the settings were not read again")
    write(server)
    archiver.wait_until_it_holds(server)
    check_archive(first, server)
    check_archive(second, server)
    assert runs(second)[0].start <= runs(first)[0].end
    archiver.file.write_text("{ broken")
    archiver.wait_for(lambda _: "cannot be read" in archiver.log, "the broken settings were not noticed")
    write(server)
    archiver.wait_until_it_holds(server)
    assert archiver.end() == 0
    assert all(json.loads(line) for line in archiver.log.splitlines())
    assert PASSWORD not in archiver.log
    assert SECRET_KEY not in archiver.log


def test_metrics_probes_and_what_is_not_there(server: PostgresServer, claim: StoreLocation, archive: Start) -> None:
    archiver = archive(archiver_settings(claim, server.address()))
    write(server)
    archiver.wait_until_it_holds(server)
    archiver.wait_for(lambda report: report.recovery_point_time is not None, "no recovery point")
    families = {family.name: family for family in text_string_to_metric_families(archiver.get("/metrics"))}
    assert families["pgwarden_wal_gaps"].samples[0].value == 0
    assert families["pgwarden_wal_segments_archived"].samples[0].value >= 1
    states = {sample.labels["state"]: sample.value for sample in families["pgwarden_wal_archiver_state"].samples}
    assert states["Streaming"] == 1
    assert sum(states.values()) == 1
    assert archiver.get("/healthz") == archiver.get("/readyz") == "ok\n"
    with pytest.raises(urllib.error.HTTPError) as missing:
        archiver.get("/nothing")
    assert missing.value.code == 404
    missing.value.close()


def recovers(moment: datetime) -> Callable[[ArchiverReport], bool]:
    """Whether an archive leads beyond that moment."""
    return lambda report: report.recovery_point_time is not None and report.recovery_point_time > moment


def test_a_clock_that_jumps_neither_stops_the_archiver_nor_has_it_do_anything_twice(
    server: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    clock = WrongClock(tmp_path)
    archiver = ArchiverProcess(archiver_settings(claim, server.address()), tmp_path, clock.environment)
    try:
        for offset in (timedelta(), timedelta(days=2), timedelta(days=-3), timedelta()):
            clock.set(f"{offset.total_seconds():+.0f}")
            write(server)
            report = archiver.wait_until_it_holds(server)
            now = datetime.now(UTC)
            assert abs(report.time - now - offset) < timedelta(minutes=2)
            assert (report.state, report.gaps) == (ArchiverState.STREAMING, [])
            # Moments are the server's, and how old they are is measured by a clock that does not jump.
            report = archiver.wait_for(recovers(now), "the recovery point stood still")
            assert report.recovery_point_time is not None
            assert abs(report.recovery_point_time - datetime.now(UTC)) < timedelta(minutes=2)
            assert report.lag_seconds is not None and report.lag_seconds < 60
        assert archiver.end() == 0
    finally:
        archiver.kill()
    assert len(runs(claim)) == 1
    assert check_archive(claim, server) == len(archived(claim))
