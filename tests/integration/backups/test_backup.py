"""A backup restores, by hand and to the byte; nothing else is ever listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pgwarden.backups.contract import BackupReport
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Outcome
from pgwarden.storage.objects import verify_object
from pgwarden.storage.store import open_store
from tests.integration.backups.conftest import DIGEST
from tests.support.age import AgeKey
from tests.support.backups import (
    IDENTITY,
    backup_task,
    download,
    restored_by_hand,
    run_backup,
    stored_record,
    take_backup,
)
from tests.support.postgres import PostgresServer


def test_a_backup_is_restored_by_the_commands_in_its_record(
    loaded: tuple[PostgresServer, str], store: StoreLocation, age_key: AgeKey, tmp_path: Path
) -> None:
    server, database = loaded
    before = server.query(DIGEST, database)
    report, record = take_backup(server.address(), store, object_bytes=4 << 20)
    files = download(store, report.location, tmp_path / "files")
    identity = age_key.identity if record.encrypted else None
    with restored_by_hand(record, files, server.major, identity=identity) as copy:
        assert copy.query(DIGEST, database) == before
        assert copy.query("SELECT system_identifier::text FROM pg_control_system()") == report.system_identifier
        assert copy.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'") == str(
            copy.folder / "pg" / f"data.tablespaces/{record.tablespaces[0].oid}"
        )


def test_the_record_tells_what_the_design_promises(
    loaded: tuple[PostgresServer, str], store: StoreLocation, major: int
) -> None:
    server, database = loaded
    report, record = take_backup(server.address(), store, object_bytes=4 << 20)
    assert report.location == f"shop/operational/0001/backups/{record.backup_id}"
    assert record.system_identifier == server.system_identifier
    assert record.server.version == report.postgres_version
    assert record.server.version.startswith(f"{major}.")
    assert lsn(record.start_lsn) < lsn(record.stop_lsn)
    assert record.start_time < record.stop_time
    assert record.timeline == 1
    assert (record.server.data_checksums, record.server.block_size) == (True, 8192)
    assert record.server.wal_segment_bytes == 16 << 20
    assert record.server.data_directory_mode == "0700"
    assert record.server.owner_uid == server.data.stat().st_uid
    assert record.recipients == store.recipients
    assert [space.name for space in record.tablespaces] == ["fast"]
    assert [archive.name for archive in record.archives] == [str(record.tablespaces[0].oid), "base"]
    assert {"max_wal_senders": "10", "fsync": "off"}.items() <= {
        s.name: s.value for s in record.server.settings
    }.items()
    found = next(item for item in record.server.databases if item.name == database)
    assert found.extensions is not None
    assert "citext" in {extension.name for extension in found.extensions}
    assert (found.encoding, found.collate, found.locale_provider) == ("UTF8", "C.UTF-8", "libc")
    assert found.size_bytes
    assert "host all all 127.0.0.1 255.255.255.255 scram-sha-256" in record.server.hba.rules


def test_objects_are_bounded_measured_and_all_there(loaded: tuple[PostgresServer, str], store: StoreLocation) -> None:
    server, _ = loaded
    report, record = take_backup(server.address(), store, object_bytes=2 << 20)
    opened = open_store(store)
    listed = {info.path: info.size for info in opened.list(report.location)}
    del listed[f"{report.location}/backup.json"]
    assert listed == {f"{report.location}/{stored.path}": stored.stored_bytes for stored in record.objects}
    for stored in record.objects:
        verify_object(opened, f"{report.location}/{stored.path}", stored)
        assert stored.path.endswith(".age") == record.encrypted
    for archive in record.archives:
        assert len(archive.objects) > 1
        assert sum(piece.plain_bytes for piece in archive.objects) == archive.plain_bytes
        ends = [piece.offset + piece.plain_bytes for piece in archive.objects]
        assert [piece.offset for piece in archive.objects] == [0, *ends[:-1]]
        # A piece is larger than asked for only by what one header needs; most begin with a member.
        assert max(piece.plain_bytes for piece in archive.objects) <= 3 << 20
    pieces = [piece for archive in record.archives for piece in archive.objects]
    assert not all(piece.starts_member for piece in pieces), "WAL segments of 16 MiB are cut inside"
    assert all(run[0].starts_member for archive in record.archives for run in archive.independent_runs())


def test_a_committed_backup_is_not_taken_again(loaded: tuple[PostgresServer, str], store: StoreLocation) -> None:
    server, _ = loaded
    task = backup_task(server.address(), store)
    first = BackupReport.model_validate(run_backup(task).report)
    objects = sorted(info.path for info in open_store(store).list(""))
    result = run_backup(task.model_copy(update={"attempt": 2}))
    assert result.reason == "AlreadyCommitted"
    assert BackupReport.model_validate(result.report) == first.model_copy(update={"repeated": True})
    assert sorted(info.path for info in open_store(store).list("")) == objects


def test_leftovers_of_an_attempt_are_neither_used_nor_in_the_way(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    task = backup_task(server.address(), claim)
    location = f"shop/operational/0001/backups/{task.backup_id}"
    leftover = f"{location}/attempt-1-00000000/base.tar.zst.00000"
    open_store(claim).put(leftover, b"half")
    result = run_backup(task)
    assert result.outcome == Outcome.SUCCEEDED
    record = stored_record(claim, location)
    assert leftover.removeprefix(f"{location}/") not in {stored.path for stored in record.objects}
    assert open_store(claim).read_small(leftover) == b"half"


def test_another_cluster_may_not_write_into_the_archive(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    take_backup(server.address(), claim)
    before = sorted(info.path for info in open_store(claim).list(""))
    other = IDENTITY.model_copy(update={"cluster_uid": "another-uid"})
    result = run_backup(backup_task(server.address(), claim, archive=other))
    assert (result.reason, result.retryable) == ("ArchiveBelongsToAnother", False)
    assert IDENTITY.cluster_uid in result.message
    assert "prefix" in result.remedy
    assert sorted(info.path for info in open_store(claim).list("")) == before


def test_a_server_with_another_system_identifier_is_refused(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    task = backup_task(server.address(), claim, expected_system_identifier="1234567890")
    assert run_backup(task).reason == "SystemIdentifierMismatch"
    assert [info.path for info in open_store(claim).list("")] == ["shop/operational/0001/archive.json"]


def test_a_backup_of_a_standby_says_so(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, new_standby: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server, database = loaded
    standby = new_standby(server)
    before = server.query(DIGEST, database)
    report, record = take_backup(standby.address(), claim)
    assert record.server.from_standby
    files = download(claim, report.location, tmp_path / "files")
    # A copy of a standby is a standby: it follows its primary until somebody removes the signal.
    with restored_by_hand(record, files, server.major) as copy:
        assert copy.query("SELECT pg_is_in_recovery()") is True
        assert copy.query(DIGEST, database) == before


def lsn(text: str) -> int:
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def test_the_record_is_json_that_any_program_reads(loaded: tuple[PostgresServer, str], claim: StoreLocation) -> None:
    server, _ = loaded
    report, record = take_backup(server.address(), claim)
    content = json.loads(open_store(claim).read_small(f"{report.location}/backup.json"))
    assert content["schemaVersion"] == 1
    assert content["manifest"]["plainSha256"] == record.manifest.plain_sha256
    assert BackupRecord.model_validate(content) == record
