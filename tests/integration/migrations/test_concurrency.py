"""Two runners at once, and runners that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pgwarden.jobs.task import Outcome, Result
from pgwarden.migrations.runner import LOCK_CLASS, LOCK_MIGRATIONS
from tests.support.migrations import Sources, report_of, run_migrations, task_of
from tests.support.postgres import PostgresServer, wait_until

OPERATOR = Path(__file__).parents[3] / "operator"


def running_backends(postgres: PostgresServer, database: str) -> int:
    """How many sessions of ours run a file at this moment."""
    with postgres.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'", (database,)
        ).fetchone()
        return int(str(row[0])) if row else 0


def lock_holders(postgres: PostgresServer, database: str) -> int:
    with postgres.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (LOCK_CLASS, LOCK_MIGRATIONS),
        ).fetchone()
        return int(str(row[0])) if row else 0


def test_of_two_runners_one_waits_and_then_finds_nothing_to_do(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (); SELECT pg_sleep(1.5);")
    sources.write("2_b.up.sql", "CREATE TABLE b ();")
    results: list[Result] = []

    def run() -> None:
        results.append(run_migrations(postgres.address(database), sources))

    runners = [threading.Thread(target=run) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(60)
    assert sorted(result.outcome for result in results) == [Outcome.SKIPPED, Outcome.SUCCEEDED]
    assert sorted(report_of(result).ran for result in results) == [[], ["1", "2"]]
    assert {report_of(result).current_version for result in results} == {"2"}


def test_a_runner_that_waits_holds_no_snapshot_so_an_index_can_be_built_concurrently(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (i int);")
    run_migrations(postgres.address(database), sources)
    sources.write("2_b.up.sql", "CREATE TABLE b ();")
    results: list[Result] = []
    stop = threading.Event()
    with postgres.connect(database) as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_MIGRATIONS))
        waiting = threading.Thread(
            target=lambda: results.append(run_migrations(postgres.address(database), sources, stop=stop))
        )
        waiting.start()

        def waits() -> bool:
            query = (
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE '%try_advisory%' AND state = 'idle'"
            )
            return holder.execute(query).fetchone() is not None

        wait_until(waits, "the runner was not seen waiting")
        holder.execute("SET statement_timeout = '20s'")
        holder.execute("CREATE INDEX CONCURRENTLY a_i ON a (i)")
        assert holder.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_i'::regclass").fetchone() == (
            True,
        )
        holder.execute("SELECT pg_advisory_unlock_all()")
        waiting.join(30)
    assert [result.reason for result in results] == ["Migrated"]


def test_waiting_ends_after_the_time_given_and_names_the_holder(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    with postgres.connect(database) as holder:
        holder.execute("SET application_name = 'another runner of ours'")
        holder.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_MIGRATIONS))
        began = time.monotonic()
        result = run_migrations(postgres.address(database), sources, advisory_lock_wait_seconds=1)
        assert 1 <= time.monotonic() - began < 10
    assert (result.reason, result.retryable) == ("MigrationLocked", True)
    assert "another runner of ours" in result.message


def test_migrations_of_another_database_on_the_server_are_not_waited_for(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    with postgres.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_MIGRATIONS))
        result = run_migrations(postgres.address(database), sources, advisory_lock_wait_seconds=0)
    assert result.reason == "Migrated"


def test_after_kill_9_in_the_middle_of_a_file_the_server_rolls_back_within_seconds_and_the_rerun_passes(
    postgres: PostgresServer, database: str, sources: Sources, tmp_path: Path
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("2_b.up.sql", "CREATE TABLE b (); SELECT pg_sleep(600);")
    task_file = tmp_path / "task.json"
    task_file.write_text(task_of(postgres.address(database), sources.folder).model_dump_json(by_alias=True))
    agent = subprocess.Popen(
        [sys.executable, "-m", "pgwarden", "agent", "--task-file", task_file, "--result-file", tmp_path / "result"],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: running_backends(postgres, database) == 1, "the migration was not seen running")
    assert lock_holders(postgres, database) == 1
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    wait_until(lambda: lock_holders(postgres, database) == 0, "the lock was not freed", seconds=10)
    assert running_backends(postgres, database) == 0
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('a')::text, to_regclass('b')::text").fetchone() == ("a", None)

    sources.write("2_b.up.sql", "CREATE TABLE b ();")
    result = run_migrations(postgres.address(database), sources)
    assert (result.reason, report_of(result).ran) == ("Migrated", ["2"])


def test_sigterm_to_the_agent_is_answered_with_a_result_that_says_what_was_rolled_back(
    postgres: PostgresServer, database: str, sources: Sources, tmp_path: Path
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a (); SELECT pg_sleep(600);")
    task_file, result_file = tmp_path / "task.json", tmp_path / "result"
    task_file.write_text(task_of(postgres.address(database), sources.folder).model_dump_json(by_alias=True))
    agent = subprocess.Popen(
        [sys.executable, "-m", "pgwarden", "agent", "--task-file", task_file, "--result-file", result_file],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: running_backends(postgres, database) == 1, "the migration was not seen running")
    agent.terminate()
    assert agent.wait(30) == 1
    result = Result.model_validate_json(result_file.read_text())
    assert (result.outcome, result.reason, result.retryable) == (Outcome.FAILED, "Stopped", True)
    assert "while 1 a ran; that file was rolled back" in result.message
    assert report_of(result).pending == 1
    assert running_backends(postgres, database) == 0
