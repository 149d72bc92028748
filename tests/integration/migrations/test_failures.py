"""When a file fails: what is said, what stays, and that running again goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import Outcome, Result
from pgwarden.migrations.runner import Request, Standing, migrate
from pgwarden.migrations.source import read
from pgwarden.postgres.session import ScriptSettings, open_address
from tests.support.migrations import Sources, report_of, run_migrations
from tests.support.postgres import PostgresServer, wait_until


def applied(postgres: PostgresServer, database: str) -> list[int]:
    with postgres.connect(database) as connection:
        rows = connection.execute("SELECT version::int FROM pgwarden.migrations WHERE state = 'applied' ORDER BY 1")
        return [int(str(row[0])) for row in rows]


@contextmanager
def locked(postgres: PostgresServer, database: str, table: str) -> Iterator[None]:
    """Another session holds a lock on the table as long as the block lasts."""
    with postgres.connect(database) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize(
    ("content", "sqlstate", "line", "statement", "words"),
    [
        ("SELECT 1;\nSELEC 2;\nSELECT 3", "42601", 2, "SELEC 2", 'syntax error at or near "SELEC"'),
        ("SELECT 1;\n\nSELECT a,\n  oops\nFROM nowhere;", "42P01", 5, "SELECT a, oops FROM nowhere", "does not exist"),
        ("SELECT 1;;\n-- c\nALTER TABLE kept ADD n int NOT NULL;SELECT 2", "23502", 3,
         "ALTER TABLE kept ADD n int NOT NULL", "contains null values"),
        ("SELECT 1;\nDO $$\nBEGIN\n  RAISE EXCEPTION 'no %', 1;\nEND $$;", "P0001", 2, "DO $$ BEGIN",
         "PL/pgSQL function inline_code_block line 3 at RAISE"),
        ("SELECT 'ä€🐘';\nSELECT  nope;", "42703", 2, "SELECT nope", "does not exist"),
        ("SELECT 1 /* ;;; */;\nSELECT 1/0", "22012", 2, "SELECT 1/0", "division by zero"),
        ("SELECT 'a'\n  'b;';\nSELECT 'never closed", "42601", 3, "SELECT 'never closed", "unterminated quoted string"),
    ],
)  # fmt: skip
def test_a_failure_tells_sqlstate_line_and_statement_and_leaves_nothing_of_the_file(
    postgres: PostgresServer,
    database: str,
    sources: Sources,
    content: str,
    sqlstate: str,
    line: int,
    statement: str,
    words: str,
) -> None:
    sources.write("1_kept.up.sql", "CREATE TABLE kept (); INSERT INTO kept DEFAULT VALUES;")
    sources.write("2_bad.up.sql", content)
    result = run_migrations(postgres.address(database), sources)
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, "MigrationFailed", False)
    report = report_of(result)
    assert (report.current_version, report.applied, report.pending, report.ran) == ("1", 1, 1, ["1"])
    failed = report.failed
    assert failed is not None
    assert (failed.version, failed.file, failed.sqlstate, failed.line) == ("2", "app/2_bad.up.sql", sqlstate, line)
    assert failed.statement.startswith(statement)
    assert words in failed.error
    assert f"app/2_bad.up.sql:{line}: " in result.message and f"SQLSTATE {sqlstate}" in result.message
    with postgres.connect(database) as connection:
        assert connection.execute(
            "SELECT state, error_sqlstate, error_line, error_direction FROM pgwarden.migrations WHERE version = 2"
        ).fetchone() == ("failed", sqlstate, line, "up")


def test_a_rerun_after_the_correction_goes_on_from_where_it_stood(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("2_b.up.sql", "CREATE TABLE b ();\nCREATE TABLE a ();")
    sources.write("3_c.up.sql", "CREATE TABLE c ();")
    first = run_migrations(postgres.address(database), sources)
    again = run_migrations(postgres.address(database), sources)
    assert (first.reason, again.reason) == ("MigrationFailed", "MigrationFailed")
    assert (report_of(first).ran, report_of(again).ran) == (["1"], [])
    sources.write("2_b.up.sql", "CREATE TABLE b ();")
    result = run_migrations(postgres.address(database), sources)
    assert (result.reason, report_of(result).ran) == ("Migrated", ["2", "3"])
    with postgres.connect(database) as connection:
        row = connection.execute(
            "SELECT attempts, error_sqlstate FROM pgwarden.migrations WHERE version = 2"
        ).fetchone()
    assert row == (3, None)


def test_values_of_rows_stay_in_the_database_and_out_of_the_result(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write(
        "1_a.up.sql", "CREATE TABLE a (mail text); INSERT INTO a VALUES ('eve@example.org'), ('eve@example.org')"
    )
    sources.write("2_b.up.sql", "ALTER TABLE a ADD UNIQUE (mail)")
    result = run_migrations(postgres.address(database), sources)
    assert report_of(result).failed
    assert "eve@" not in result.to_message()
    with postgres.connect(database) as connection:
        row = connection.execute("SELECT error_detail FROM pgwarden.migrations WHERE version = 2").fetchone()
    assert row and "eve@example.org" in str(row[0])


def test_a_deferred_constraint_fails_the_file_and_not_the_bookkeeping(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (i int PRIMARY KEY);"
                  "CREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);")  # fmt: skip
    sources.write("2_b.up.sql", "INSERT INTO b VALUES (1)")
    result = run_migrations(postgres.address(database), sources)
    failed = report_of(result).failed
    assert failed and (failed.sqlstate, failed.line) == ("23503", 0)
    assert applied(postgres, database) == [1]


def test_a_down_that_fails_half_way_leaves_the_migration_applied_and_says_why(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("1_a.down.sql", "DROP TABLE a;\nDROP TABLE nowhere;")
    sources.write("2_b.up.sql", "CREATE TABLE b ();")
    sources.write("2_b.down.sql", "DROP TABLE b;")
    run_migrations(postgres.address(database), sources)
    result = run_migrations(postgres.address(database), sources, target_version="0", allow_down=True)
    assert result.reason == "MigrationFailed"
    report = report_of(result)
    assert (report.direction, report.current_version, report.ran) == ("down", "1", ["2"])
    assert report.failed and (report.failed.file, report.failed.line) == ("app/1_a.down.sql", 2)
    assert applied(postgres, database) == [1]
    with postgres.connect(database) as connection:
        assert connection.execute(
            "SELECT state, error_direction FROM pgwarden.migrations WHERE version = 1"
        ).fetchone() == ("applied", "down")


def test_a_lock_that_is_not_to_be_had_fails_soon_names_who_holds_it_and_may_be_repeated(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("2_b.up.sql", "ALTER TABLE a ADD b int;")
    run_migrations(postgres.address(database), sources, target_version="1")
    with locked(postgres, database, "a"):
        result = run_migrations(postgres.address(database), sources, lock_timeout_ms=900)
    assert (result.reason, result.retryable) == ("LockTimeout", True)
    assert "it waited for " in result.message and "user postgres" in result.message
    with postgres.connect(database) as connection:
        row = connection.execute("SELECT lock_wait_ms FROM pgwarden.migrations WHERE version = 2").fetchone()
    assert row and 500 <= float(str(row[0])) <= 5000
    assert run_migrations(postgres.address(database), sources).reason == "Migrated"


def test_the_statement_timeout_holds_for_the_file_only(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "SELECT pg_sleep(60)")
    result = run_migrations(postgres.address(database), sources, statement_timeout_ms=200)
    assert (result.reason, result.retryable) == ("QueryCanceled", True)
    failed = report_of(result).failed
    assert failed and failed.sqlstate == "57014"


def test_a_backend_that_is_ended_is_told_apart_and_the_rerun_passes(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (); SELECT pg_sleep(60)")
    results: list[Result] = []
    runner = threading.Thread(target=lambda: results.append(run_migrations(postgres.address(database), sources)))
    runner.start()
    with postgres.connect(database) as connection:

        def ended() -> bool:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE '%%pg_sleep(60)' AND pid <> %s"
            )
            return connection.execute(query, (connection.info.backend_pid,)).fetchone() is not None

        wait_until(ended, "the migration was not seen running")
    runner.join(30)
    [result] = results
    assert (result.reason, result.retryable) == ("ConnectionLost", True)
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    assert run_migrations(postgres.address(database), sources).reason == "Migrated"


@pytest.mark.parametrize(("grace", "finishes"), [(0.0, False), (30.0, True)])
def test_told_to_stop_the_running_file_is_finished_or_rolled_back_and_said(
    postgres: PostgresServer, database: str, sources: Sources, grace: float, finishes: bool
) -> None:
    sources.write("1_a.up.sql", f"CREATE TABLE a (); SELECT pg_sleep({1 if finishes else 60})")
    sources.write("2_b.up.sql", "CREATE TABLE b ()")
    stop = threading.Event()
    request = Request(read(sources.folder), stop=stop, stop_grace_seconds=grace)
    with postgres.connect() as watcher, open_address(postgres.address(database)) as session:
        pid = session.backend_pid

        def sleeping() -> bool:
            query = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            return watcher.execute(query, (pid,)).fetchone() == ("PgSleep",)

        def stop_when_sleeping() -> None:
            wait_until(sleeping, "the migration was not seen running")
            stop.set()

        stopper = threading.Thread(target=stop_when_sleeping)
        stopper.start()
        standing = Standing(request.migrations)
        with pytest.raises(TaskError) as caught:
            migrate(session, request, standing)
        stopper.join()
    assert caught.value.reason == "Stopped"
    if finishes:
        assert "the next one 2 b" in caught.value.message
        assert standing.current == 1
        assert applied(postgres, database) == [1]
    else:
        assert "while 1 a ran; that file was rolled back" in caught.value.message
        assert standing.current is None
        assert applied(postgres, database) == []


def test_a_procedure_cannot_commit_half_a_file(postgres: PostgresServer, database: str, sources: Sources) -> None:
    sources.write("1_a.up.sql", "CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
    sources.write("2_b.up.sql", "CREATE TABLE half (); CALL commits()")
    result = run_migrations(postgres.address(database), sources)
    failed = report_of(result).failed
    assert failed and failed.sqlstate == "2D000"
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_a_script_that_ended_its_transaction_unseen_is_noticed(postgres: PostgresServer, database: str) -> None:
    with open_address(postgres.address(database)) as session:
        for text in ("COMMIT", "COMMIT; BEGIN", "ROLLBACK; BEGIN"):
            transaction = session.begin(ScriptSettings())
            session.script(text)
            assert session.end_script(transaction) is False
            session.rollback()
        transaction = session.begin(ScriptSettings())
        session.script("SAVEPOINT a; CREATE TABLE a (); ROLLBACK TO a")
        assert session.end_script(transaction) is True


def test_a_migration_may_not_wait_for_rows_of_a_client(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    # Behind 64 tokens the file's own check does not look; the protocol then refuses.
    columns = ", ".join(f"c{number}" for number in range(80))
    definition = ", ".join(f"c{number} int" for number in range(80))
    sources.write("1_a.up.sql", f"CREATE TABLE a ({definition})")
    sources.write("2_in.up.sql", f"COPY a ({columns}) FROM STDIN")
    result = run_migrations(postgres.address(database), sources)
    assert report_of(result).failed
    assert "no client that could send rows" in result.message
    sources.write("2_in.up.sql", f"COPY a ({columns}) TO STDOUT")
    assert run_migrations(postgres.address(database), sources).reason == "Migrated"


def test_a_session_that_was_lost_raises_no_second_error(postgres: PostgresServer, database: str) -> None:
    with open_address(postgres.address(database)) as session:
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (session.backend_pid,))
        with pytest.raises(TaskError) as caught:
            session.rows("SELECT 1")
        assert (caught.value.reason, caught.value.retryable) == ("ConnectionLost", True)
        session.rollback()
        assert session.lost
