"""What is dumped is loaded again by the commands in the record alone, and is the same."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Outcome
from pgwarden.logical.record import DumpFormat
from pgwarden.storage.objects import verify_object
from pgwarden.storage.store import open_store
from tests.integration.logical.conftest import digests
from tests.support.age import AgeKey
from tests.support.backups import download
from tests.support.logical import envelope, load_by_hand, logical_task, run_logical, take_logical
from tests.support.postgres import PostgresServer

NAMES = ['The "analytics"', "postgres", "shop"]


@pytest.mark.parametrize("directory", [False, True], ids=["custom", "directory"])
def test_what_was_dumped_is_loaded_by_the_commands_of_the_record(
    shop: PostgresServer,
    new_postgres: Callable[..., PostgresServer],
    store: StoreLocation,
    age_key: AgeKey,
    tmp_path: Path,
    directory: bool,
) -> None:
    before = datetime.now(UTC)
    how = {"directory_format": True, "parallel": 2} if directory else {}
    task = logical_task(shop, store, tmp_path, object_bytes=1 << 20, **how)
    report, record = take_logical(task)
    assert [dump.name for dump in record.databases] == NAMES
    assert [left.name for left in record.left_out] == ["template0", "template1"]
    analytics, _, operational = record.databases
    assert {dump.format for dump in record.databases} == {DumpFormat.DIRECTORY if directory else DumpFormat.CUSTOM}
    assert (operational.owner, operational.relations, operational.encoding) == ("shop owner", 2, "UTF8")
    assert (analytics.relations, [each.name for each in operational.extensions]) == (2, ["citext", "plpgsql"])
    assert before < analytics.snapshot_time < operational.snapshot_time < datetime.now(UTC)
    assert len(operational.objects) > 1 or directory, "nothing was cut"
    assert (report.databases, report.globals, report.encrypted) == (3, True, bool(store.recipients))
    for stored in record.objects:
        assert stored.path.endswith(".age") == bool(store.recipients)
        verify_object(open_store(store), f"{report.location}/{stored.path}", stored)
    assert list((tmp_path / "private").iterdir()) == list((tmp_path / "scratch").iterdir()) == []
    target = new_postgres(shop.major)
    identity = age_key.identity if store.recipients else None
    said = load_by_hand(record, download(store, report.location, tmp_path / "files"), target, identity=identity)
    assert 'role "postgres" already exists' in said
    for name in NAMES:
        assert digests(target, name) == digests(shop, name)
    assert target.query("SELECT billing.total(7)", "shop") == shop.query("SELECT billing.total(7)", "shop")
    assert target.query("SELECT lo_get(4711)", "shop") == b"a large object"
    assert target.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'") == "shop owner"
    assert target.query("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL") == 1, "a hash was kept"


def test_one_database_alone_can_be_loaded(
    shop: PostgresServer, new_postgres: Callable[..., PostgresServer], claim: StoreLocation, tmp_path: Path
) -> None:
    report, record = take_logical(logical_task(shop, claim, tmp_path))
    target = new_postgres(shop.major)
    load_by_hand(record, download(claim, report.location, tmp_path / "files"), target, "shop")
    assert digests(target, "shop") == digests(shop, "shop")
    assert target.query("SELECT count(*) FROM pg_database WHERE datname LIKE '%analytics%'") == 0


def test_a_changed_object_is_refused_before_anything_is_loaded(
    shop: PostgresServer, new_postgres: Callable[..., PostgresServer], claim: StoreLocation, tmp_path: Path
) -> None:
    report, record = take_logical(logical_task(shop, claim, tmp_path))
    files = download(claim, report.location, tmp_path / "files")
    damaged = files / record.databases[-1].objects[0].path
    damaged.write_bytes(damaged.read_bytes()[:-1])
    target = new_postgres(shop.major)
    with pytest.raises(RuntimeError, match="WARNING: 1 computed checksum did NOT match"):
        load_by_hand(record, files, target)
    assert target.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE '% owner'") == 0


def test_only_what_is_chosen_is_dumped(
    shop: PostgresServer, new_postgres: Callable[..., PostgresServer], claim: StoreLocation, tmp_path: Path
) -> None:
    chosen = {"databases": {"include": ["shop"]}, "schemas": {"include": ["billing"]}, "globals": False}
    _, record = take_logical(logical_task(shop, claim, tmp_path, **chosen))
    assert [dump.name for dump in record.databases] == ["shop"]
    assert (record.globals, record.options) == (None, ["--schema=billing"])
    assert record.databases[0].relations == 1


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"databases": {"include": ["nowhere"]}}, "DatabaseNotFound"),
        ({"databases": {"include": ["template0"]}}, "DatabaseNotFound"),
        ({"databases": {"include": ["shop"], "exclude": ["shop"]}}, "NothingToDump"),
        ({"databases": {"include": ["shop"]}, "tables": {"include": ["nothing"]}}, "NothingMatches"),
        ({"expected_system_identifier": "1"}, "SystemIdentifierMismatch"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path, wanted: dict[str, object], reason: str
) -> None:
    result = run_logical(logical_task(shop, claim, tmp_path, **wanted))
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, reason, False), result.message
    assert result.remedy
    assert not any(info.path.endswith("backup.json") for info in open_store(claim).list(""))


def test_a_second_attempt_answers_from_what_the_first_one_left(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    task = logical_task(shop, claim, tmp_path, databases={"include": ["shop"]})
    first, _ = take_logical(task)
    again, record = take_logical(task.model_copy(update={"attempt": 2}))
    assert (again.repeated, again.stop_time, record.attempt) == (True, first.stop_time, 1)


def test_progress_tells_bytes_and_tables(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwarden.logical.dump.LOOK_SECONDS", 0.0)
    shop.execute("CREATE TABLE wide AS SELECT repeat(md5(i::text), 60) FROM generate_series(1, 60000) AS i")
    try:
        task = logical_task(shop, claim, tmp_path, compression_level=12)
        context = AgentContext(envelope(task), output=io.StringIO())
        seen: list[tuple[int, int, str]] = []
        context.progress = lambda step, done=0, total=0, detail="", **_: seen.append((done, total, detail))  # type: ignore[method-assign]
        assert run_logical(task, context).outcome == Outcome.SUCCEEDED
    finally:
        shop.execute("DROP TABLE wide")
    dumping = [(done, total, detail) for done, total, detail in seen if detail]
    assert dumping, seen
    assert all(0 <= done < total for done, total, _ in dumping)
    assert any("database postgres: table 1 of 1" in detail for _, _, detail in dumping), dumping


def test_the_password_is_in_a_file_that_nobody_else_reads_and_nowhere_else(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    """Looked at while pg_dump waits for a table that we have locked."""
    password = "pass:word\\with = everything"
    role = shop.create_role(f"dumper {tmp_path.name}", password=password, options="SUPERUSER")
    task = logical_task(shop, claim, tmp_path, database=shop.address(user=role, password=password), globals=False)
    context = AgentContext(envelope(task), output=io.StringIO())
    found: list[str] = []

    def look(*_: object, **__: object) -> None:
        for file in (tmp_path / "private").rglob("*"):
            if file.is_file():
                found.append(f"{stat.S_IMODE(file.stat().st_mode):o}")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if b"pg_dump" in told:
                assert b"everything" not in told
                found.append("process")

    context.progress = look  # type: ignore[method-assign]
    with shop.connect("shop") as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE accounts")
        result = run_logical(task.model_copy(update={"lock_timeout_seconds": 3}), context)
    assert result.reason == "TableLocked", result.message
    assert {"600", "process"} <= set(found)
    assert not {"644", "640"} & set(found)
    assert list((tmp_path / "private").iterdir()) == []
