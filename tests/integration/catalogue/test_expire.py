"""Backups that a person wants gone, of a real server in real stores: deleted whole, or refused and whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.backups.record import BackupRecord
from pgwarden.catalogue.contract import DAY, ExpiryReport, RetentionSettings, What
from pgwarden.storage import layout
from tests.support.agent_process import AgentProcess
from tests.support.archive import ARCHIVE, Archived
from tests.support.backups import IDENTITY, download, restored_by_hand, take_backup
from tests.support.debian_postgres import debian_programs
from tests.support.postgres import PostgresServer, postgres_server, wait_until
from tests.support.s3 import s3_server

WEEK = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=1)


@pytest.fixture(scope="session")
def server(postgres17: PostgresServer) -> PostgresServer:
    return postgres17


def back_up(archived: Archived, server: PostgresServer, count: int) -> list[BackupRecord]:
    """So many real fulls, one after the other."""
    return [take_backup(server.address(), archived.location, object_bytes=4 << 20)[1] for _ in range(count)]


def expire(archived: Archived, *backups: str, promised: bool = False, **changes: object) -> ExpiryReport:
    """Has these deleted, as far as nothing needs them."""
    changes = {"retention": WEEK, "promised": promised, "backups": list(backups), **changes}
    report = archived.report(What.EXPIRE, **changes)
    assert report.expiry is not None
    return report.expiry


def below(archived: Archived, record: BackupRecord) -> set[str]:
    return {name for name in archived.names() if name.startswith(f"backups/{record.backup_id}/")}


def test_a_backup_goes_whole_and_the_others_restore(archived: Archived, server: PostgresServer, tmp_path: Path) -> None:
    first, second, third = back_up(archived, server, 3)
    archived.archive_wal(first.start_lsn, third.stop_lsn)
    before, doomed = archived.names(), below(archived, second)
    planned = expire(archived, second.backup_id, promised=True, dry_run=True)
    assert archived.names() == before
    assert (planned.dry_run, planned.backup_ids, planned.refused) == (True, [second.backup_id], [])
    done = expire(archived, second.backup_id, promised=True)
    assert (done.backup_ids, done.bytes) == ([second.backup_id], planned.bytes)
    gone = before - archived.names()
    assert gone == doomed, "WAL is retention's"
    assert archived.states() == {first.backup_id: "Restorable", third.backup_id: "Restorable"}
    location = f"{ARCHIVE}/backups/{third.backup_id}"
    with restored_by_hand(third, download(archived.location, location, tmp_path / "files"), server.major) as copy:
        assert copy.query("SELECT system_identifier::text FROM pg_control_system()") == third.system_identifier


def test_asking_again_after_a_lost_answer_is_told_that_it_is_gone(in_claim: Archived, server: PostgresServer) -> None:
    first, _ = back_up(in_claim, server, 2)
    assert expire(in_claim, first.backup_id).backups == 1
    again = expire(in_claim, first.backup_id)
    assert (again.backups, again.bytes, again.refused) == (1, 0, [])
    assert first.backup_id not in in_claim.store.folders(f"{ARCHIVE}/backups")


def test_what_the_window_needs_stays_and_says_why(in_claim: Archived, server: PostgresServer) -> None:
    first, second = back_up(in_claim, server, 2)
    before = in_claim.names()
    task = {"backups": [first.backup_id, second.backup_id], "retention": WEEK, "promised": True}
    result, _ = in_claim.run(What.EXPIRE, **task)
    assert result.reason == "ExpiryRefused", result.message
    assert f"backup {first.backup_id} stays: moments of the recovery window (7d)" in result.message
    assert {each["reason"] for each in result.report["expiry"]["refused"]} == {"WindowNeedsIt"}
    assert in_claim.names() == before
    assert expire(in_claim, first.backup_id, second.backup_id).backups == 2, "without a policy nothing is promised"
    assert in_claim.states() == {}


def test_a_full_stays_for_its_incremental_and_goes_with_it(in_claim: Archived) -> None:
    with postgres_server(17, settings={"summarize_wal": "on"}, programs=debian_programs()) as trusted:
        trusted.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) AS i")
        (full,) = back_up(in_claim, trusted, 1)
        trusted.execute("UPDATE t SET i = i + 1")
        _, incremental = take_backup(trusted.address(), in_claim.location, backup_id="hourly", type="incremental")
    refused = expire(in_claim, full.backup_id)
    assert [(each.backup_id, each.reason) for each in refused.refused] == [(full.backup_id, "NeededByOthers")]
    assert "hourly" in refused.refused[0].message
    assert in_claim.states() == {full.backup_id: "Restorable", incremental.backup_id: "Restorable"}
    assert expire(in_claim, full.backup_id, incremental.backup_id).backups == 2
    assert in_claim.states() == {}


def test_a_killed_deletion_lists_nothing_half_and_the_next_one_ends_it(
    in_claim: Archived, server: PostgresServer, tmp_path: Path
) -> None:
    first, second = back_up(in_claim, server, 2)
    for number in range(3000):
        in_claim.store.put(f"{ARCHIVE}/backups/{first.backup_id}/attempt-1-00000000/{number:05d}", b"x")
    before = len(in_claim.names())
    task = in_claim.task(What.EXPIRE, backups=[first.backup_id], promised=False)
    agent = AgentProcess(task, tmp_path / "agent")
    wait_until(
        lambda: len(in_claim.names()) < before or agent.process.poll() is not None, f"nothing goes: {agent.output}"
    )
    agent.kill()
    assert in_claim.states() == {second.backup_id: "Restorable"}
    assert below(in_claim, first), "it was killed while it deleted"
    assert expire(in_claim, first.backup_id).backups == 1
    assert below(in_claim, first) == set()


def test_what_a_failed_backup_left_goes_without_a_record(in_claim: Archived, server: PostgresServer) -> None:
    back_up(in_claim, server, 1)
    in_claim.store.put(f"{ARCHIVE}/backups/given-up/attempt-1-00000000/base.tar.zst.00000", b"half")
    assert expire(in_claim, "given-up").backups == 1
    assert in_claim.store.folders(f"{ARCHIVE}/backups") == set(in_claim.states())


def test_a_record_that_nobody_can_read_is_never_touched(in_claim: Archived, server: PostgresServer) -> None:
    back_up(in_claim, server, 1)
    odd = layout.record_file(f"{ARCHIVE}/backups/odd")
    in_claim.store.put(odd, b"{")
    found = expire(in_claim, "odd")
    assert [each.reason for each in found.refused] == ["RecordUnreadable"]
    assert in_claim.store.head(odd) is not None


def test_a_store_that_deletes_nothing_is_told_and_the_backup_stays_whole(server: PostgresServer) -> None:
    with s3_server() as s3:
        archived = Archived(s3.location())
        (record,) = back_up(archived, server, 1)
        before = archived.names()
        s3.stop()
        s3.start(read_only=True)
        found = expire(archived, record.backup_id)
        assert [each.reason for each in found.refused] == ["DeletionRefused"]
        assert archived.names() == before
        assert archived.states() == {record.backup_id: "Restorable"}


def test_another_cluster_may_not_delete(in_claim: Archived, server: PostgresServer) -> None:
    (record,) = back_up(in_claim, server, 1)
    other = IDENTITY.model_copy(update={"cluster_uid": "another-uid"})
    result, _ = in_claim.run(What.EXPIRE, backups=[record.backup_id], promised=False, archive=other)
    assert result.reason == "ArchiveBelongsToAnother"
    assert in_claim.states() == {record.backup_id: "Restorable"}


def test_a_clock_that_ran_ahead_takes_nothing_out_of_the_window(in_claim: Archived, server: PostgresServer) -> None:
    (record,) = back_up(in_claim, server, 1)
    found = expire(in_claim, record.backup_id, promised=True, now=datetime.now(UTC) + timedelta(days=4000))
    assert [each.reason for each in found.refused] == ["WindowNeedsIt"]
