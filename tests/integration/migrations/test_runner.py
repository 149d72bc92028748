"""Up, down and again, on real servers: what arrives, what is kept, what is refused before anything is written."""

from __future__ import annotations

import hashlib
import string
import threading
from collections.abc import Callable

import pytest

from pgwarden.jobs.task import Outcome
from tests.support.migrations import Sources, report_of, run_migrations
from tests.support.postgres import PostgresServer


def history(postgres: PostgresServer, database: str) -> list[tuple[object, ...]]:
    with postgres.connect(database) as connection:
        return connection.execute("SELECT version, name, state FROM pgwarden.migrations ORDER BY version").fetchall()


def table_exists(postgres: PostgresServer, database: str, name: str) -> bool:
    with postgres.connect(database) as connection:
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
        return bool(row and row[0])


def write_two(sources: Sources) -> None:
    sources.write("0001_users.up.sql", "CREATE TABLE users (id int PRIMARY KEY);")
    sources.write("0001_users.down.sql", "DROP TABLE users;")
    sources.write("0002_orders.up.sql", "CREATE TABLE orders (user_id int REFERENCES users);")
    sources.write("0002_orders.down.sql", "DROP TABLE orders;")


def test_up_applies_everything_and_a_second_run_answers_without_writing(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    write_two(sources)
    first = run_migrations(postgres.address(database), sources, applied_by="alice")
    assert (first.outcome, first.reason) == (Outcome.SUCCEEDED, "Migrated")
    report = report_of(first)
    assert (report.current_version, report.latest_version, report.applied, report.pending) == ("2", "2", 2, 0)
    assert report.ran == ["1", "2"]
    assert report.server_version.startswith(f"{postgres.major}.")

    written = "SELECT pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot())::text"
    with postgres.connect(database) as connection:
        row = connection.execute(
            "SELECT applied_by, applied_role, checksum, down_script, attempts, finished_at - started_at >= interval '0'"
            " FROM pgwarden.migrations WHERE version = 1"
        ).fetchone()
        checksum = hashlib.sha256(b"CREATE TABLE users (id int PRIMARY KEY);").hexdigest()
        assert row == ("alice", "postgres", checksum, "DROP TABLE users;", 1, True)
        before = connection.execute("SELECT xmin, ctid FROM pgwarden.migrations").fetchall()
        assert connection.execute(written).fetchone()
    second = run_migrations(postgres.address(database), sources)
    assert (second.outcome, second.reason) == (Outcome.SKIPPED, "UpToDate")
    assert report_of(second).ran == []
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT xmin, ctid FROM pgwarden.migrations").fetchall() == before


def test_a_run_that_finds_nothing_to_do_uses_no_transaction_id(
    new_postgres: Callable[..., PostgresServer], sources: Sources
) -> None:
    server = new_postgres(17, settings={"autovacuum": "off"})
    write_two(sources)
    run_migrations(server.address(), sources)
    next_id = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    before = server.query(next_id)
    assert run_migrations(server.address(), sources).outcome is Outcome.SKIPPED
    assert server.query(next_id) == before


def test_sql_arrives_byte_for_byte_whatever_punctuation_it_holds(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    marks = string.punctuation + " \t\n\r"
    pairs = [left + right for left in marks for right in marks]
    texts = ["$$", "$(X)", "$(PATH)", "${HOME}", "$$(X)", "%s", "%%", "{{ x }}", "\\1", "äöü €", "\u2028", "🐘", *pairs]
    whole = "".join(texts)
    tag = "$pgw_verbatim$"
    assert tag not in whole
    rows = ",\n".join(f"({number}, {tag}{text}{tag})" for number, text in enumerate(texts))
    sources.write(
        "1_verbatim.up.sql",
        "CREATE TABLE verbatim (n int, t text);\n"
        "DO $$ BEGIN EXECUTE 'SELECT ''$(X)'''; PERFORM $x$ $(Y) ${Z} $x$; END $$;\n"
        f"INSERT INTO verbatim VALUES {rows};\n",
    )
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "Migrated", result.message
    with postgres.connect(database) as connection:
        arrived = connection.execute("SELECT t FROM verbatim ORDER BY n").fetchall()
    assert [row[0] for row in arrived] == texts


def test_a_down_script_is_kept_byte_for_byte_and_used_when_its_file_is_gone(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    write_two(sources)
    down = "DO $$ BEGIN EXECUTE 'DROP TABLE extra -- $(X)'; END $$;\r\n"
    sources.write("0003_extra.up.sql", "CREATE TABLE extra ();")
    sources.write("0003_extra.down.sql", down)
    run_migrations(postgres.address(database), sources)
    sources.remove("0003_extra.up.sql")
    sources.remove("0003_extra.down.sql")
    ahead = run_migrations(postgres.address(database), sources)
    assert (ahead.reason, report_of(ahead).current_version) == ("UpToDate", "3")
    assert "above 2, the latest of the files" in ahead.message

    result = run_migrations(postgres.address(database), sources, target_version="2", allow_down=True)
    assert (result.reason, report_of(result).ran, report_of(result).direction) == ("Reverted", ["3"], "down")
    assert not table_exists(postgres, database, "extra")
    assert history(postgres, database)[-1] == (3, "extra", "reverted")
    with postgres.connect(database) as connection:
        assert connection.execute(
            "SELECT down_script, down_checksum FROM pgwarden.migrations WHERE version = 3"
        ).fetchone() == (down, hashlib.sha256(down.encode()).hexdigest())


def test_down_is_refused_unless_allowed_then_goes_to_the_version_and_up_again(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    write_two(sources)
    address = postgres.address(database)
    run_migrations(address, sources)
    refused = run_migrations(address, sources, target_version="0")
    assert (refused.outcome, refused.reason) == (Outcome.FAILED, "DownNotAllowed")
    assert report_of(refused).current_version == "2"
    assert table_exists(postgres, database, "orders")

    down = run_migrations(address, sources, target_version="0", allow_down=True)
    assert (down.reason, report_of(down).ran) == ("Reverted", ["2", "1"])
    assert report_of(down).current_version == ""
    assert not table_exists(postgres, database, "users")

    up = run_migrations(address, sources, target_version="1", allow_down=True)
    assert (up.reason, report_of(up).ran, report_of(up).pending) == ("Migrated", ["1"], 0)
    assert history(postgres, database) == [(1, "users", "applied"), (2, "orders", "reverted")]


def test_an_irreversible_migration_is_named_before_anything_is_reverted(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    write_two(sources)
    sources.remove("0001_users.down.sql")
    run_migrations(postgres.address(database), sources)
    result = run_migrations(postgres.address(database), sources, target_version="0", allow_down=True)
    assert result.reason == "IrreversibleMigration"
    assert "0001_users.up.sql" in result.message
    assert table_exists(postgres, database, "orders")


def test_an_edited_file_is_refused_and_named(postgres: PostgresServer, database: str, sources: Sources) -> None:
    write_two(sources)
    run_migrations(postgres.address(database), sources)
    sources.write("0001_users.up.sql", "CREATE TABLE users (id bigint PRIMARY KEY);")
    sources.write("0003_more.up.sql", "CREATE TABLE more ();")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "ChecksumMismatch"
    assert "app/0001_users.up.sql" in result.message
    assert not table_exists(postgres, database, "more")


def test_a_file_that_comes_late_is_refused_and_gaps_in_the_numbering_are_not(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("20261123060000_c.up.sql", "CREATE TABLE c ();")
    assert run_migrations(postgres.address(database), sources).reason == "Migrated"
    sources.write("7_b.up.sql", "CREATE TABLE b ();")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "OutOfOrder"
    assert "app/7_b.up.sql" in result.message
    assert not table_exists(postgres, database, "b")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("core/0002_twice.up.sql", b"SELECT 1", "DuplicateVersion"),
        ("app/0003_latin1.up.sql", b"SELECT '\xe4'", "InvalidEncoding"),
        ("app/0003_bom.up.sql", b"\xef\xbb\xbfSELECT 1", "InvalidEncoding"),
        ("app/0003_nul.up.sql", b"SELECT '\0'", "InvalidEncoding"),
        ("app/0003-dash.sql", b"SELECT 1", "InvalidFileName"),
    ],
)
def test_bad_files_are_refused_before_the_database_is_touched(
    postgres: PostgresServer, database: str, sources: Sources, name: str, content: bytes, reason: str
) -> None:
    write_two(sources)
    source, file = name.split("/")
    sources.write(file, content, source=source)
    result = run_migrations(postgres.address(database), sources)
    assert (result.outcome, result.reason) == (Outcome.FAILED, reason)
    assert name in result.message
    assert not table_exists(postgres, database, "pgwarden.migrations")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE INDEX CONCURRENTLY users_id ON users (id)", "NeedsNoTransaction"),
        ("VACUUM users", "NeedsNoTransaction"),
        ("COMMIT", "TransactionControl"),
        ("COPY users FROM STDIN", "PsqlOnly"),
        ("\\! true", "PsqlOnly"),
    ],
)
def test_what_cannot_run_in_a_transaction_is_refused_with_its_place_before_the_first_file_runs(
    postgres: PostgresServer, database: str, sources: Sources, statement: str, reason: str
) -> None:
    write_two(sources)
    sources.write("0003_special.up.sql", f"SELECT 1;\n{statement};\n")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == reason
    assert "app/0003_special.up.sql:2: " in result.message
    assert not table_exists(postgres, database, "users")
    assert not table_exists(postgres, database, "pgwarden.migrations")


def test_what_only_the_server_knows_cannot_run_in_a_transaction_is_rolled_back_and_said(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (i int) PARTITION BY RANGE (i);\nCREATE INDEX a_i ON a (i);")
    sources.write("2_b.up.sql", "CREATE TABLE b ();\nREINDEX INDEX a_i;")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "NeedsNoTransaction"
    failed = report_of(result).failed
    assert failed and (failed.line, failed.sqlstate, failed.statement) == (2, "25001", "REINDEX INDEX a_i")
    assert not table_exists(postgres, database, "b")


def test_an_empty_file_and_a_lone_down_are_applied_as_versions_that_do_nothing(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_empty.up.sql", "-- nothing yet\n")
    sources.write("2_lone.down.sql", "SELECT 1")
    result = run_migrations(postgres.address(database), sources)
    assert (result.reason, report_of(result).current_version) == ("Migrated", "2")


def test_versions_of_any_length_are_kept_and_ordered(postgres: PostgresServer, database: str, sources: Sources) -> None:
    long = "9" * 63
    sources.write(f"{long}_last.up.sql", "CREATE TABLE last ();")
    sources.write("8_first.up.sql", "CREATE TABLE first ();")
    result = run_migrations(postgres.address(database), sources)
    assert report_of(result).ran == ["8", long]
    assert run_migrations(postgres.address(database), sources).outcome is Outcome.SKIPPED


def test_a_standby_is_refused(
    postgres: PostgresServer, new_standby: Callable[..., PostgresServer], sources: Sources
) -> None:
    standby = new_standby(postgres)
    write_two(sources)
    result = run_migrations(standby.address(), sources)
    assert (result.reason, result.retryable) == ("NotPrimary", True)


def test_told_to_stop_between_two_files_it_says_what_is_left(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    write_two(sources)
    stop = threading.Event()
    stop.set()
    result = run_migrations(postgres.address(database), sources, stop=stop)
    assert (result.reason, result.retryable) == ("Stopped", True)
    assert "2 migrations left, the next one 1 users" in result.message
    assert run_migrations(postgres.address(database), sources).reason == "Migrated"


def test_a_wrong_password_is_told_apart(postgres: PostgresServer, database: str, sources: Sources) -> None:
    write_two(sources)
    result = run_migrations(postgres.address(database, password="hunter2 is not it"), sources)
    assert result.reason == "PasswordRejected"
    assert "hunter2" not in result.to_message()
