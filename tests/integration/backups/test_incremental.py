"""Incremental backups: a chain restores by hand to the byte; what cannot be trusted is refused with its reason."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.backups.contract import BackupReport
from pgwarden.backups.incremental_floor import FLOORS
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Outcome, Result
from pgwarden.storage import layout
from pgwarden.storage.authenticity import Authenticity, verify_record
from pgwarden.storage.catalogue_key import CatalogueKey, new_catalogue_key, read_catalogue_key
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import open_store
from tests.integration.backups.conftest import DIGEST, load_accounts
from tests.support.age import AgeKey
from tests.support.agent_process import AgentProcess
from tests.support.backups import (
    backup_task,
    download_chain,
    envelope,
    new_backup_id,
    restored_by_hand,
    run_backup,
    take_backup,
)
from tests.support.debian_postgres import debian_programs
from tests.support.postgres import PostgresServer, postgres_server

COPYING = '"step":"copying"'


@pytest.fixture(scope="module", params=[17, 18], ids=["postgres17", "postgres18"])
def loaded_server(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresServer, str]]:
    """A server that summarizes its WAL, and a database with data in PGDATA and in a tablespace."""
    programs = debian_programs() if request.param == 17 else None
    with postgres_server(request.param, settings={"summarize_wal": "on"}, programs=programs) as server:
        yield server, load_accounts(server)


@pytest.fixture
def summarized(
    loaded_server: tuple[PostgresServer, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[PostgresServer, str]:
    """17 is at the floor. No 18 at its floor can be had: there the mechanics are tried with the floor lowered."""
    monkeypatch.setitem(FLOORS, 18, 180000)
    return loaded_server


@pytest.fixture
def trusted() -> Iterator[PostgresServer]:
    """A server of one test's own at the floor."""
    with postgres_server(17, settings={"summarize_wal": "on"}, programs=debian_programs()) as server:
        server.execute("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) AS i")
        yield server


@pytest.fixture
def keyed(store: StoreLocation, tmp_path: Path) -> StoreLocation:
    """A new store of each sort in turn, with a catalogue key."""
    return with_key(store, tmp_path / "catalogue-key")


def with_key(store: StoreLocation, folder: Path) -> StoreLocation:
    folder.mkdir()
    for name, value in new_catalogue_key().items():
        (folder / name).write_text(value)
    return store.model_copy(update={"catalogue_key": str(folder)})


def key_of(store: StoreLocation) -> CatalogueKey:
    assert store.catalogue_key is not None
    return read_catalogue_key(Path(store.catalogue_key))


def incremental(server: PostgresServer, store: StoreLocation, **changes: object) -> tuple[BackupReport, BackupRecord]:
    backup_id = new_backup_id().replace("full-", "x-incr-")
    return take_backup(server.address(), store, backup_id=backup_id, type="incremental", **changes)


def refused(server: PostgresServer, store: StoreLocation, **changes: object) -> Result:
    """An incremental that has to be refused; nothing of it may be listed."""
    before = listed(store)
    result = run_backup(backup_task(server.address(), store, **{"type": "incremental", **changes}))
    assert result.outcome == Outcome.FAILED
    assert result.remedy
    assert listed(store) == before
    return result


def listed(store: StoreLocation) -> set[str]:
    return {info.path for info in open_store(store).list("") if info.path.endswith("/backup.json")}


def change(server: PostgresServer, database: str) -> None:
    server.execute(
        "UPDATE accounts SET balance = balance + 1 WHERE id % 1000 = 0",
        "UPDATE in_tablespace SET content = content || '!' WHERE id < 5",
        "INSERT INTO in_tablespace SELECT max(id) + 1, 'new' FROM in_tablespace",
        database=database,
    )


def test_a_chain_is_restored_by_the_commands_in_its_last_record(
    summarized: tuple[PostgresServer, str], keyed: StoreLocation, age_key: AgeKey, tmp_path: Path
) -> None:
    """A full, an incremental on it and one on that, with a tablespace, by stock tools alone."""
    server, database = summarized
    full, full_record = take_backup(server.address(), keyed, object_bytes=4 << 20)
    change(server, database)
    first, first_record = incremental(server, keyed)
    change(server, database)
    last, record = incremental(server, keyed, parent_id=first.backup_id)
    after = server.query(DIGEST, database)
    assert (first_record.chain, record.chain) == ([full.backup_id], [full.backup_id, first.backup_id])
    assert (record.type, record.parent_id, record.reliable) == ("incremental", first.backup_id, True)
    assert (last.chain, last.parent_id, last.no_parent) == (3, first.backup_id, "")
    assert record.plain_bytes < full_record.plain_bytes / 2
    files = download_chain(keyed, record, last.location, tmp_path / "files")
    identity = age_key.identity if record.encrypted else None
    with restored_by_hand(record, files, server.major, identity=identity, programs=server.programs) as copy:
        assert copy.query(DIGEST, database) == after
        assert copy.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'") == str(
            copy.folder / "pg" / f"data.tablespaces/{record.tablespaces[0].oid}"
        )
        assert not (copy.folder / "pg" / "data.parts").exists()


def test_several_incrementals_stand_on_the_last_full(
    summarized: tuple[PostgresServer, str], keyed: StoreLocation, age_key: AgeKey, tmp_path: Path
) -> None:
    server, database = summarized
    take_backup(server.address(), keyed)
    newest, _ = take_backup(server.address(), keyed)
    records = []
    for _ in range(2):
        change(server, database)
        report, record = incremental(server, keyed)
        records.append(record)
        assert (report.parent_id, record.chain) == (newest.backup_id, [newest.backup_id])
    after = server.query(DIGEST, database)
    files = download_chain(keyed, records[-1], report.location, tmp_path / "files")
    identity = age_key.identity if record.encrypted else None
    with restored_by_hand(record, files, server.major, identity=identity, programs=server.programs) as copy:
        assert copy.query(DIGEST, database) == after


def test_nothing_new_is_skipped_and_is_no_error(trusted: PostgresServer, keyed: StoreLocation) -> None:
    trusted.execute("CHECKPOINT")
    full, _ = take_backup(trusted.address(), keyed)
    before = listed(keyed)
    result = run_backup(backup_task(trusted.address(), keyed, type="incremental"))
    assert (result.outcome, result.reason, result.report) == (
        Outcome.SKIPPED,
        "NothingNew",
        {"parentId": full.backup_id},
    )
    assert listed(keyed) == before
    trusted.execute("INSERT INTO t VALUES (0, 'one row')")
    report, _ = incremental(trusted, keyed)
    assert report.parent_id == full.backup_id


def test_records_say_who_wrote_them_and_only_manifests_are_readable_to_the_operator(
    trusted: PostgresServer, keyed: StoreLocation
) -> None:
    report, record = take_backup(trusted.address(), keyed)
    key = key_of(keyed)
    opened = open_store(keyed)
    content = opened.read_small(f"{report.location}/backup.json")
    assert verify_record(content, key.hmac) == Authenticity.AUTHENTIC
    assert record.catalogue_recipient == (key.recipient if record.encrypted else "")
    if not record.encrypted:
        return
    manifest = b"".join(
        read_object(opened, f"{report.location}/{record.manifest.path}", record.manifest, key.identities)
    )
    assert b"Manifest-Checksum" in manifest
    piece = record.archives[0].objects[0]
    with pytest.raises(Exception, match="encrypted to other recipients"):
        list(read_object(opened, f"{report.location}/{piece.path}", piece, key.identities))


def test_a_forged_record_is_neither_a_parent_nor_taken_for_done(
    trusted: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    keyed = with_key(claim, tmp_path / "catalogue-key")
    task = backup_task(trusted.address(), keyed)
    report = BackupReport.model_validate(run_backup(task).report)
    assert claim.claim is not None
    file = Path(claim.claim.path) / report.location / "backup.json"
    forged = json.loads(file.read_bytes())
    forged["server"]["settings"] = []
    file.write_text(json.dumps(forged))
    trusted.execute("INSERT INTO t VALUES (0, 'new')")
    assert refused(trusted, keyed, parent_id=report.backup_id).reason == "RecordForged"
    assert refused(trusted, keyed).reason == "NoParent"
    assert run_backup(task.model_copy(update={"attempt": 2})).reason == "RecordForged"
    del forged["authentication"]
    file.write_text(json.dumps(forged))
    assert refused(trusted, keyed, parent_id=report.backup_id).reason == "ParentNotAuthentic"
    assert run_backup(task.model_copy(update={"attempt": 2})).reason == "RecordNotAuthentic"


def test_a_record_in_the_folder_of_another_backup_is_neither_a_parent_nor_taken_for_done(
    trusted: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    """An authentic record stays authentic wherever it is copied to."""
    keyed = with_key(claim, tmp_path / "catalogue-key")
    report, _ = take_backup(trusted.address(), keyed)
    task = backup_task(trusted.address(), keyed)
    opened = open_store(keyed)
    parent = report.location.rsplit("/", 1)[0]
    opened.put(f"{parent}/{task.backup_id}/backup.json", opened.read_small(f"{report.location}/backup.json"))
    trusted.execute("INSERT INTO t VALUES (0, 'new')")
    assert run_backup(task).reason == "RecordNotAuthentic"
    assert refused(trusted, keyed, parent_id=task.backup_id).reason == "ParentNotAuthentic"


def test_after_the_key_was_lost_a_new_full_is_asked_for(
    trusted: PostgresServer, store: StoreLocation, tmp_path: Path
) -> None:
    report, record = take_backup(trusted.address(), with_key(store, tmp_path / "old"))
    anew = with_key(store, tmp_path / "new")
    trusted.execute("INSERT INTO t VALUES (0, 'new')")
    result = refused(trusted, anew, parent_id=report.backup_id)
    assert result.reason == "ParentNotAuthentic"
    assert "new full" in result.remedy
    if record.encrypted:
        assert refused(trusted, store, parent_id=report.backup_id).reason == "ManifestNotReadable"
    take_backup(trusted.address(), anew)
    trusted.execute("INSERT INTO t VALUES (0, 'newer')")
    incremental(trusted, anew)


@pytest.mark.parametrize("major", [17, 18])
def test_releases_below_the_floor_are_refused(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation, major: int
) -> None:
    """The wheels' releases, 17.10 and 18.6, are below it."""
    server = new_postgres(major, settings={"summarize_wal": "on"})
    report, _ = take_backup(server.address(), claim)
    assert "can be trusted on fulls from" in report.no_parent
    result = refused(server, claim)
    assert result.reason == "BelowIncrementalFloor"
    assert {17: "17.12", 18: "18.7"}[major] in result.remedy


def test_a_full_from_below_the_floor_is_no_parent_after_the_update(
    new_postgres: Callable[..., PostgresServer], claim: StoreLocation
) -> None:
    server = new_postgres(17, settings={"summarize_wal": "on"})
    report, _ = take_backup(server.address(), claim)
    server.stop()
    server.programs = debian_programs()
    server.start()
    server.execute("CREATE TABLE t AS SELECT 1")
    result = refused(server, claim)
    assert result.reason == "ParentBelowFloor"
    assert report.backup_id in result.message
    assert "new full" in result.remedy
    take_backup(server.address(), claim)
    server.execute("INSERT INTO t SELECT 2")
    incremental(server, claim)


@pytest.mark.parametrize(
    ("settings", "initdb", "reason"),
    [
        ({"summarize_wal": "off"}, ("--data-checksums",), "WALNotSummarized"),
        ({"summarize_wal": "on"}, (), "HintBitsNotLogged"),
    ],
)
def test_settings_that_make_it_miss_changes_are_refused(
    claim: StoreLocation, settings: dict[str, str], initdb: tuple[str, ...], reason: str
) -> None:
    with postgres_server(17, settings=settings, initdb=initdb, programs=debian_programs()) as server:
        take_backup(server.address(), claim)
        server.execute("CREATE TABLE t AS SELECT 1")
        assert refused(server, claim).reason == reason


def test_without_summaries_since_the_parent_a_new_full_is_asked_for(
    trusted: PostgresServer, claim: StoreLocation
) -> None:
    trusted.configure({"summarize_wal": "off"})
    trusted.reload()
    take_backup(trusted.address(), claim)
    trusted.execute("INSERT INTO t VALUES (0, 'new')", "CHECKPOINT")
    trusted.stop()
    shutil.rmtree(trusted.data / "pg_wal" / "summaries")
    (trusted.data / "pg_wal" / "summaries").mkdir()
    shutil.chown(trusted.data / "pg_wal" / "summaries", trusted.data.owner(), trusted.data.group())
    trusted.configure({"summarize_wal": "on"})
    trusted.start()
    trusted.execute("INSERT INTO t VALUES (0, 'newer')", "SELECT pg_switch_wal()", "CHECKPOINT")
    result = refused(trusted, claim)
    assert result.reason == "WALSummariesMissing", result.message
    assert "new full" in result.remedy


def test_a_summarizer_that_stands_still_is_waited_for_and_then_named(
    trusted: PostgresServer, claim: StoreLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwarden.backups.sources.SUMMARIZER_SECONDS", 2.0)
    take_backup(trusted.address(), claim)
    pid = int(str(trusted.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsummarizer'")))
    os.kill(pid, signal.SIGSTOP)
    try:
        trusted.execute("INSERT INTO t VALUES (0, 'new')", "CHECKPOINT")
        result = refused(trusted, claim)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (result.reason, result.retryable) == ("WALSummarizerBehind", True), result.message
    incremental(trusted, claim)


def test_a_damaged_parent_and_one_that_is_gone_are_refused(trusted: PostgresServer, claim: StoreLocation) -> None:
    assert refused(trusted, claim).reason == "NoParent"
    assert refused(trusted, claim, parent_id="full-gone").reason == "NoParent"
    file = trusted.data / str(trusted.query("SELECT pg_relation_filepath('t')"))
    trusted.execute("CHECKPOINT")
    trusted.stop()
    sound = file.read_bytes()
    file.write_bytes(sound[:12000] + bytes([sound[12000] ^ 1]) + sound[12001:])
    trusted.start()
    damaged = run_backup(backup_task(trusted.address(), claim))
    assert damaged.reason == "BackupDamaged"
    file.write_bytes(sound)
    trusted.execute("CREATE TABLE something_new AS SELECT 1")
    result = refused(trusted, claim, parent_id=damaged.report["backupId"])
    assert result.reason == "ParentDamaged"
    assert refused(trusted, claim).reason == "NoParent", "a damaged full was chosen by itself"


def test_a_full_that_was_found_damaged_in_the_store_is_no_parent(trusted: PostgresServer, claim: StoreLocation) -> None:
    older, _ = take_backup(trusted.address(), claim)
    newer, _ = take_backup(trusted.address(), claim)
    checked = datetime(2026, 11, 20, 3, tzinfo=UTC)
    opened = open_store(claim)
    opened.put(layout.check_object(newer.location, checked, "verify", passed=True), b"{}")
    opened.put(layout.check_object(newer.location, checked + timedelta(days=1), "verify", passed=False), b"{}")
    opened.put(layout.check_object(older.location, checked, "verify", passed=False), b"{}")
    opened.put(layout.check_object(older.location, checked + timedelta(days=1), "verify", passed=True), b"{}")
    trusted.execute("INSERT INTO t VALUES (0, 'new')")
    assert refused(trusted, claim, parent_id=newer.backup_id).reason == "ParentDamaged"
    report, _ = incremental(trusted, claim)
    assert report.parent_id == older.backup_id


def test_an_incremental_whose_parent_expires_meanwhile_is_not_committed(
    trusted: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    report, _ = take_backup(trusted.address(), claim)
    trusted.execute("UPDATE t SET md5 = md5 || '.'")
    task = backup_task(trusted.address(), claim, type="incremental", max_rate_kib=2048)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    open_store(claim).delete(f"{report.location}/backup.json")
    result = agent.result()
    assert (result.outcome, result.reason) == (Outcome.FAILED, "ParentGone"), result.message
    assert listed(claim) == set()


def test_a_parent_of_another_cluster_or_of_an_abandoned_timeline_is_refused(
    trusted: PostgresServer, claim: StoreLocation, new_standby: Callable[..., PostgresServer]
) -> None:
    standby = new_standby(trusted)
    before, _ = take_backup(trusted.address(), claim)
    trusted.execute("INSERT INTO t VALUES (1, 'on the timeline that is left')")
    standby.wait_for_replay_of(trusted)
    standby.promote()
    trusted.execute("INSERT INTO t VALUES (2, 'and lost')")
    abandoned, _ = take_backup(trusted.address(), claim)
    result = refused(standby, claim, parent_id=abandoned.backup_id)
    assert result.reason == "ParentOnAnotherTimeline"
    standby.execute("INSERT INTO t VALUES (3, 'on the new one')", "CHECKPOINT")
    report, record = incremental(standby, claim, parent_id=before.backup_id)
    assert (record.timeline, report.parent_id) == (2, before.backup_id)
    with postgres_server(17, settings={"summarize_wal": "on"}, programs=debian_programs()) as other:
        assert refused(other, claim, parent_id=before.backup_id).reason == "ParentOfAnotherCluster"


def test_a_killed_agent_leaves_nothing_listed_whenever_it_happens(
    trusted: PostgresServer, keyed: StoreLocation, tmp_path: Path
) -> None:
    take_backup(trusted.address(), keyed)
    before = listed(keyed)
    chance = random.Random(20261123)
    for number in range(4):
        trusted.execute("UPDATE t SET md5 = md5 || '.'")
        task = backup_task(trusted.address(), keyed, type="incremental", max_rate_kib=4096)
        agent = AgentProcess(envelope(task), tmp_path / f"agent-{number}")
        agent.wait_until_it_says(chance.choice(['"step":"preparing"', COPYING]))
        agent.let_run(chance.random() * 0.5)
        agent.kill()
        assert listed(keyed) == before
    again = run_backup(backup_task(trusted.address(), keyed, type="incremental"))
    assert again.outcome == Outcome.SUCCEEDED, f"{again.reason}: {again.message}"


def test_a_server_that_stops_at_once_interrupts_it(
    trusted: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    take_backup(trusted.address(), claim)
    trusted.execute("UPDATE t SET md5 = md5 || '.'")
    task = backup_task(trusted.address(), claim, type="incremental", max_rate_kib=2048)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    trusted.stop("immediate")
    result = agent.result()
    assert (result.outcome, result.retryable) == (Outcome.FAILED, True), result.message
    trusted.start()
    assert run_backup(task.model_copy(update={"attempt": 2, "max_rate_kib": 0})).outcome == Outcome.SUCCEEDED


def test_a_stopped_agent_commits_nothing(trusted: PostgresServer, claim: StoreLocation, tmp_path: Path) -> None:
    task = backup_task(trusted.address(), claim, max_rate_kib=4096)
    agent = AgentProcess(envelope(task), tmp_path / "agent")
    agent.wait_until_it_says(COPYING)
    agent.terminate()
    assert agent.result().reason == "Stopped"
    assert listed(claim) == set()


def test_a_replica_serves_where_asked_and_the_primary_where_it_cannot(
    trusted: PostgresServer, claim: StoreLocation, new_standby: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    standby = new_standby(trusted)
    report, record = take_backup(trusted.address(), claim, replicas=[standby.address()])
    assert (record.server.from_standby, report.note) == (True, "")
    trusted.execute("INSERT INTO t VALUES (0, 'new, and no checkpoint since')")
    early, record = incremental(trusted, claim, replicas=[standby.address()])
    assert not record.server.from_standby
    assert "could not serve (NothingNew)" in early.note
    trusted.execute("INSERT INTO t VALUES (0, 'new')", "CHECKPOINT")
    standby.wait_for_replay_of(trusted)
    standby.execute("CHECKPOINT")
    trusted.execute("INSERT INTO t VALUES (0, 'newer')", "SELECT pg_switch_wal()", "CHECKPOINT")
    standby.wait_for_replay_of(trusted)
    report, record = incremental(trusted, claim, replicas=[standby.address()])
    assert (record.server.from_standby, record.type) == (True, "incremental")
    gone = standby.address().model_copy(update={"port": 1})
    report, record = take_backup(trusted.address(), claim, replicas=[gone])
    assert not record.server.from_standby
    assert ":1 could not serve" in report.note


def test_a_replica_that_does_not_follow_is_not_taken_for_its_primary(
    trusted: PostgresServer,
    claim: StoreLocation,
    new_standby: Callable[..., PostgresServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that stands still holds the past, one that was promoted a history of its own."""
    monkeypatch.setattr("pgwarden.backups.sources.REPLICA_SECONDS", 1.0)
    standby = new_standby(trusted)
    standby.execute("SELECT pg_wal_replay_pause()")
    trusted.execute("CREATE TABLE after_it_stood_still AS SELECT 1")
    report, record = take_backup(trusted.address(), claim, replicas=[standby.address()])
    assert not record.server.from_standby
    assert "could not serve (ReplicaBehind)" in report.note
    trusted.execute("INSERT INTO after_it_stood_still SELECT 2")
    report, record = incremental(trusted, claim, replicas=[standby.address()])
    assert not record.server.from_standby
    standby.execute("SELECT pg_wal_replay_resume()")
    standby.promote()
    standby.execute("CREATE TABLE only_there AS SELECT i FROM generate_series(1, 100000) AS i")
    report, record = take_backup(trusted.address(), claim, replicas=[standby.address()])
    assert (record.server.from_standby, record.timeline) == (False, 1)
    assert "on timeline 2" in report.note


def test_replication_alone_is_enough_for_an_incremental(trusted: PostgresServer, claim: StoreLocation) -> None:
    role = trusted.create_role(password="for this test", options="REPLICATION")
    address = trusted.address(user=role, password="for this test")
    take_backup(address, claim)
    trusted.execute("INSERT INTO t VALUES (0, 'new')")
    report, _ = take_backup(address, claim, type="incremental")
    assert report.chain == 2


def test_one_backup_at_a_time_whoever_asks(trusted: PostgresServer, claim: StoreLocation, tmp_path: Path) -> None:
    first = AgentProcess(envelope(backup_task(trusted.address(), claim, max_rate_kib=512)), tmp_path / "first")
    first.wait_until_it_says(COPYING)
    pid = trusted.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
    result = run_backup(backup_task(trusted.address(), claim))
    assert (result.reason, result.retryable) == ("AnotherBackupRuns", True)
    assert f"process {pid} (user postgres, pgwarden/backup)" in result.message
    first.kill()
    assert run_backup(backup_task(trusted.address(), claim)).outcome == Outcome.SUCCEEDED


def test_after_a_roll_back_behind_the_parent_none_is_taken_on_it(
    trusted: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    """No WAL is archived, so that only the parent itself tells that the server has lost what it had written."""
    yesterday = tmp_path / "yesterday"
    trusted.stop("fast")
    subprocess.run(["cp", "-a", trusted.data, yesterday], check=True)
    trusted.start()
    trusted.execute("UPDATE t SET i = i + 1")
    report, _ = take_backup(trusted.address(), claim)
    trusted.stop("fast")
    shutil.rmtree(trusted.data)
    subprocess.run(["cp", "-a", yesterday, trusted.data], check=True)
    trusted.start()
    result = refused(trusted, claim)
    assert (result.reason, result.retryable) == ("ServerBehindParent", False)
    assert report.backup_id in result.message
    assert "rolled back" in result.message
