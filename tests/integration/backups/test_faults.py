"""Whatever is killed, full, cut or wrong: no half backup is ever listed, and the reason is told."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgwarden.backups.contract import BackupReport
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.jobs.task import Outcome
from pgwarden.storage import layout
from pgwarden.storage.archive import succeed_archive
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.objects import read_object, verify_object
from pgwarden.storage.store import open_store
from tests.integration.backups.conftest import DIGEST
from tests.support.age import AgeKey, new_age_key
from tests.support.agent_process import PROGRAM, AgentProcess
from tests.support.backups import (
    IDENTITY,
    backup_task,
    download,
    envelope,
    restored_by_hand,
    run_backup,
    stored_record,
    take_backup,
)
from tests.support.filesystem import fill, remount, small_filesystem
from tests.support.postgres import PostgresServer, as_server_user, bin_dir, wait_until
from tests.support.s3 import S3Server, s3_server

COPYING = '"step":"copying"'
SLOW = 4096
"""KiB/s: the test's data take some ten seconds."""


def committed(store: StoreLocation) -> list[str]:
    return [info.path for info in open_store(store).list("") if info.path.endswith("/backup.json")]


def no_slot_left(server: PostgresServer) -> bool:
    return server.query("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pgwarden%'") == 0


@pytest.mark.parametrize("moment", ['"step":"preparing"', COPYING])
def test_a_killed_agent_leaves_nothing_listed_and_the_next_attempt_succeeds(
    loaded: tuple[PostgresServer, str], store: StoreLocation, tmp_path: Path, moment: str
) -> None:
    server, _ = loaded
    task = backup_task(server.address(), store, max_rate_kib=SLOW, object_bytes=2 << 20)
    agent = AgentProcess(envelope(task), tmp_path / "first")
    agent.wait_until_it_says(moment)
    agent.kill()
    assert committed(store) == []
    wait_until(lambda: no_slot_left(server), "the killed agent's slot still holds WAL")
    second = run_backup(task.model_copy(update={"attempt": 2, "max_rate_kib": 0}))
    assert second.outcome == Outcome.SUCCEEDED, second.message
    report = BackupReport.model_validate(second.report)
    assert committed(store) == [f"{report.location}/backup.json"]
    for stored in stored_record(store, report.location).objects:
        assert stored.path.startswith("attempt-2-")
        verify_object(open_store(store), f"{report.location}/{stored.path}", stored)


def test_attempts_that_are_killed_at_any_moment_leave_nothing_listed_and_the_last_one_restores(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, tmp_path: Path
) -> None:
    server, database = loaded
    before = server.query(DIGEST, database)
    task = backup_task(server.address(), claim, max_rate_kib=SLOW, object_bytes=2 << 20)
    for number in range(1, 6):
        agent = AgentProcess(envelope(task.model_copy(update={"attempt": number})), tmp_path / f"agent-{number}")
        agent.wait_until_it_says('"step":"preparing"')
        # Another moment each time: in the middle of what it does.
        agent.let_run(random.uniform(0, 2))
        assert agent.process.poll() is None, f"it ended before it was killed: {agent.output}"
        agent.kill()
        assert committed(claim) == []
        wait_until(lambda: no_slot_left(server), "the killed agent's slot still holds WAL")
    last = run_backup(task.model_copy(update={"attempt": 6, "max_rate_kib": 0}))
    assert last.outcome == Outcome.SUCCEEDED, last.message
    report = BackupReport.model_validate(last.report)
    record = stored_record(claim, report.location)
    assert {stored.path.split("/")[0].rsplit("-", 1)[0] for stored in record.objects} == {"attempt-6"}
    with restored_by_hand(record, download(claim, report.location, tmp_path / "files"), server.major) as copy:
        assert copy.query(DIGEST, database) == before


def test_a_full_disk_of_the_node_costs_the_answer_and_not_the_backup(
    loaded: tuple[PostgresServer, str], s3: S3Server, tmp_path: Path
) -> None:
    server, _ = loaded
    store = s3.location(s3.new_bucket())
    task = backup_task(server.address(), store)
    (tmp_path / "task.json").write_text(envelope(task).model_dump_json(by_alias=True))
    with small_filesystem(2) as disk:
        fill(disk)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "task.json", disk / "termination-log"],
            env={**os.environ, "PYTHONPATH": str(Path("operator").resolve()), "TMPDIR": str(disk)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "No space left on device" in done.stderr, "the answer could not be written"
    assert len(committed(store)) == 1, "nothing else is ever put on a disk"
    again = run_backup(task.model_copy(update={"attempt": 2}))
    assert BackupReport.model_validate(again.report).repeated, again.message
    assert len(committed(store)) == 1


def test_sigterm_ends_it_within_seconds_with_nothing_listed(
    loaded: tuple[PostgresServer, str], store: StoreLocation, tmp_path: Path
) -> None:
    server, _ = loaded
    task = backup_task(server.address(), store, max_rate_kib=SLOW)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    agent.terminate()
    started = time.monotonic()
    result = agent.result()
    assert time.monotonic() - started < 10
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, "Stopped", True)
    assert committed(store) == []
    names = [Path(info.path).name for info in open_store(store).list("")]
    assert not any(name.startswith("base") for name in names), "the upload that was given up left an object"
    wait_until(lambda: no_slot_left(server), "the stopped agent's slot still holds WAL")


@pytest.mark.parametrize("how", ["kill", "immediate", "fast"])
def test_a_server_that_goes_away_interrupts_the_backup(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, tmp_path: Path, major: int, how: str
) -> None:
    server = new_postgres(major)
    server.execute("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 200000) AS i")
    task = backup_task(server.address(), claim, max_rate_kib=SLOW)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    if how == "kill":
        server.kill()
    else:
        server.stop(how)
    result = agent.result()
    assert result.outcome == Outcome.FAILED
    assert result.reason in ("BackupInterrupted", "BaseBackupFailed"), result.message
    assert result.retryable
    assert committed(claim) == []


def test_a_full_claim_and_a_read_only_one(loaded: tuple[PostgresServer, str]) -> None:
    server, _ = loaded
    with small_filesystem(4) as mount:
        store = StoreLocation(claim=ClaimLocation(path=str(mount)))
        result = run_backup(backup_task(server.address(), store))
        assert result.reason == "StoreFull", result.message
        assert committed(store) == []
        remount(mount, "ro")
        assert run_backup(backup_task(server.address(), store)).reason == "StoreReadOnly"


def test_a_full_bucket_and_a_read_only_one(loaded: tuple[PostgresServer, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.storage.bucket_clients.RETRIES", {"max_retries": 1})
    server, _ = loaded
    with small_filesystem(4) as mount, s3_server(mount) as s3:
        result = run_backup(backup_task(server.address(), s3.location()))
        assert result.reason == "StoreFull", result.message
        assert committed(s3.location()) == []
    with s3_server() as s3:
        s3.stop()
        s3.start(read_only=True)
        assert run_backup(backup_task(server.address(), s3.location())).reason == "StoreAccessDenied"


def test_wrong_bucket_and_wrong_key(loaded: tuple[PostgresServer, str], s3: S3Server) -> None:
    server, _ = loaded
    assert run_backup(backup_task(server.address(), s3.location("no-such-bucket"))).reason == "BucketNotFound"
    wrong = s3.location(secret_key="not the secret")
    assert run_backup(backup_task(server.address(), wrong)).reason == "StoreCredentialsRejected"


def test_an_unusable_recipient_is_refused_before_the_server_is_asked(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    store = claim.model_copy(update={"recipients": ["age1nonsense"]})
    assert run_backup(backup_task(server.address(), store)).reason == "InvalidRecipient"


@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_damaged_object_is_noticed_when_read_and_named(
    loaded: tuple[PostgresServer, str], s3: S3Server, age_key: AgeKey, damage: str
) -> None:
    server, _ = loaded
    bucket = s3.new_bucket()
    store = s3.location(bucket, recipients=[age_key.recipient])
    report, record = take_backup(server.address(), store)
    identities = read_identities(age_key.identity)
    stored = record.archives[-1].objects[0]
    path = f"{report.location}/{stored.path}"
    file = s3.objects(bucket)[path]
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-1000])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        for _chunk in read_object(open_store(store), path, stored, identities):
            pass
    assert caught.value.reason == ("ObjectMissing" if damage == "gone" else "ObjectDamaged")
    assert path in caught.value.message
    with pytest.raises(TaskError) as verified:
        verify_object(open_store(store), path, stored)
    assert verified.value.reason == caught.value.reason


def test_a_wrong_identity_is_told_from_damage(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, age_key: AgeKey, tmp_path: Path
) -> None:
    server, _ = loaded
    store = claim.model_copy(update={"recipients": [age_key.recipient]})
    report, record = take_backup(server.address(), store)
    other = new_age_key(tmp_path)
    path = f"{report.location}/{record.manifest.path}"
    for identities, reason in (([], "IdentityMissing"), (read_identities(other.identity), "WrongIdentity")):
        with pytest.raises(TaskError) as caught:
            list(
                read_object(open_store(store), f"{report.location}/{record.manifest.path}", record.manifest, identities)
            )
        assert caught.value.reason == reason
        assert path in caught.value.message


def test_pages_with_wrong_checksums_commit_the_backup_as_damaged(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, major: int
) -> None:
    server = new_postgres(major)
    server.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) AS i", "CHECKPOINT")
    file = server.data / str(server.query("SELECT pg_relation_filepath('t')"))
    server.stop()
    content = bytearray(file.read_bytes())
    content[8192 + 4000] ^= 1
    file.write_bytes(content)
    server.start()
    result = run_backup(backup_task(server.address(), claim))
    report = BackupReport.model_validate(result.report)
    assert (result.outcome, result.reason, report.damaged) == (Outcome.SUCCEEDED, "BackupDamaged", True)
    record = stored_record(claim, report.location)
    assert record.damaged
    assert "checksum" in record.damage


def test_without_a_free_replication_slot_the_setting_to_raise_is_named(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, major: int
) -> None:
    server = new_postgres(major, settings={"max_replication_slots": "1"})
    server.execute("SELECT pg_create_physical_replication_slot('taken')")
    result = run_backup(backup_task(server.address(), claim))
    assert result.reason == "NoReplicationSlot"
    assert "max_replication_slots" in result.remedy


def test_a_backup_taken_under_load_is_consistent(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, tmp_path: Path, major: int
) -> None:
    """pgbench moves money in four tables at once: whatever the moment, their sums are equal."""
    server = new_postgres(major)
    server.tool("pgbench", "--initialize", "--quiet", "--scale=3", environment=server.environment())
    command: list[str | Path] = [bin_dir(major) / "pgbench", "--client=2", "--time=600", "--no-vacuum"]
    with subprocess.Popen(
        as_server_user(command),
        env=server.environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as load:
        wait_until(lambda: history(server) > 0, "pgbench does not write")
        before = history(server)
        report, record = take_backup(server.address(), claim, max_rate_kib=16 << 10)
        after = history(server)
        assert after > before, "nothing was written while the backup ran"
        load.terminate()
    with restored_by_hand(record, download(claim, report.location, tmp_path / "files"), major) as copy:
        assert before < history(copy) <= after
        assert len({copy.query(statement) for statement in SUMS}) == 1


SUMS = (
    "SELECT coalesce(sum(abalance), 0) FROM pgbench_accounts",
    "SELECT coalesce(sum(tbalance), 0) FROM pgbench_tellers",
    "SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches",
    "SELECT coalesce(sum(delta), 0) FROM pgbench_history",
)


def history(server: PostgresServer) -> int:
    count = server.query("SELECT count(*) FROM pgbench_history")
    assert isinstance(count, int)
    return count


def test_a_standby_that_changes_its_timeline_meanwhile_is_backed_up_again(
    new_postgres: Callable[..., PostgresServer],
    new_standby: Callable[..., PostgresServer],
    claim: StoreLocation,
    tmp_path: Path,
    major: int,
) -> None:
    """A record names one timeline: this backup's WAL would be looked for where it is not."""
    primary = new_postgres(major)
    primary.execute("CREATE TABLE filler AS SELECT i, md5(i::text) AS m FROM generate_series(1, 300000) AS i")
    upstream = new_standby(primary)
    standby = new_standby(upstream)
    task = backup_task(standby.address(), claim, max_rate_kib=SLOW)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    primary.stop("immediate")
    upstream.promote()
    upstream.execute("CREATE TABLE on_the_new_timeline AS SELECT 1", "CHECKPOINT")
    standby.wait_for_replay_of(upstream)
    standby.execute("CHECKPOINT")
    result = agent.result()
    assert (result.reason, result.retryable) == ("TimelineChanged", True), result.message
    assert committed(claim) == []
    again = run_backup(task.model_copy(update={"attempt": 2, "max_rate_kib": 0}))
    assert BackupReport.model_validate(again.report).timeline == 2


def test_progress_tells_bytes_and_total(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, tmp_path: Path
) -> None:
    server, _ = loaded
    task = envelope(backup_task(server.address(), claim, max_rate_kib=16 << 10))
    context = AgentContext(task)
    seen: list[tuple[str, int, int]] = []
    context.progress = lambda step, done=0, total=0, **_: seen.append((step, done, total))  # type: ignore[method-assign]
    assert run_backup(backup_task(server.address(), claim, max_rate_kib=16 << 10), context).outcome == "Succeeded"
    copying = [(done, total) for step, done, total in seen if step == "copying"]
    assert len(copying) > 3
    assert all(0 < done < total for done, total in copying)
    assert copying == sorted(copying)


def test_a_server_that_is_behind_the_archive_is_not_backed_up_into_it(
    loaded: tuple[PostgresServer, str], store: StoreLocation
) -> None:
    """Its volume was rolled back, and the archiver has not seen it yet."""
    server, _ = loaded
    first, _ = take_backup(server.address(), store)
    opened, archive = open_store(store), layout.archive_folder(IDENTITY.namespace, IDENTITY.cluster)
    written = str(server.query("SELECT pg_walfile_name(pg_current_wal_flush_lsn() + (1 << 26))"))
    opened.put(layout.segment_object(archive, written, encrypted=False), b"of another history")
    refused = run_backup(backup_task(server.address(), store))
    assert (refused.outcome, refused.reason) == (Outcome.FAILED, "ServerBehindArchive")
    assert refused.retryable
    assert committed(store) == [f"{first.location}/backup.json"]
    succeed_archive(opened, IDENTITY, archive, refused.message, datetime.now(UTC))
    second, _ = take_backup(server.address(), store)
    assert second.location.split("/")[-3] == "0002"


def test_a_backup_is_not_committed_into_an_archive_whose_place_another_took_meanwhile(
    loaded: tuple[PostgresServer, str], store: StoreLocation, tmp_path: Path
) -> None:
    server, _ = loaded
    agent = AgentProcess(envelope(backup_task(server.address(), store, max_rate_kib=SLOW)), tmp_path / "slow")
    agent.wait_until_it_says(COPYING)
    archive = layout.archive_folder(IDENTITY.namespace, IDENTITY.cluster)
    succeed_archive(open_store(store), IDENTITY, archive, "the volume was rolled back", datetime.now(UTC))
    result = agent.result()
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, "ArchiveSucceeded", True)
    assert committed(store) == []
