"""Behind a real PgBouncer: refused in transaction mode without leaving a trace there, allowed in session mode."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.migrations import Sources, run_migrations
from tests.support.postgres import (
    HOST,
    SUPERUSER,
    SUPERUSER_PASSWORD,
    PostgresServer,
    as_server_user,
    free_port,
    give_to_server_user,
    new_folder,
    wait_until,
)

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def pooler() -> Iterator[Callable[[PostgresServer, str], int]]:
    """Starts PgBouncer in front of a server in a pool mode; returns its port."""
    if PGBOUNCER is None:
        if os.environ.get("CI"):
            pytest.fail("PgBouncer is missing: install the packages of hack/test-packages.txt")
        pytest.skip("PgBouncer is not installed (package pgbouncer)")
    with ExitStack() as ends:

        def start(server: PostgresServer, mode: str) -> int:
            folder, port = new_folder(), free_port()
            ends.callback(shutil.rmtree, folder)
            config = folder / "pgbouncer.ini"
            config.write_text(
                f"[databases]\n* = host={HOST} port={server.port} user={SUPERUSER} password='{SUPERUSER_PASSWORD}'\n"
                f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n"
                f"unix_socket_dir =\nlogfile = {folder}/log\n"
            )
            give_to_server_user(folder)
            process = subprocess.Popen(
                as_server_user([str(PGBOUNCER), "-q", config]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            ends.callback(process.wait, 30)
            ends.callback(process.terminate)

            def answers() -> bool:
                try:
                    psycopg.connect(host=HOST, port=port, user=SUPERUSER, dbname="postgres").close()
                except psycopg.OperationalError:
                    return False
                return True

            wait_until(answers, "PgBouncer did not answer")
            return port

        yield start


def test_a_pool_in_transaction_mode_is_refused_and_nothing_of_ours_stays_in_its_connections(
    postgres: PostgresServer, database: str, sources: Sources, pooler: Callable[[PostgresServer, str], int]
) -> None:
    port = pooler(postgres, "transaction")
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    address = postgres.address(database).model_copy(update={"port": port})
    result = run_migrations(address, sources)
    assert result.reason == "TransactionPooler"
    assert "primary itself" in result.remedy
    with psycopg.connect(host=HOST, port=port, user=SUPERUSER, dbname=database, autocommit=True) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ('"$user", public',)
        assert connection.execute("SHOW TimeZone").fetchone() != ("UTC",)
        assert connection.execute("SELECT to_regclass('pgwarden.migrations')").fetchone() == (None,)


def test_a_pool_in_session_mode_serves(
    postgres: PostgresServer, database: str, sources: Sources, pooler: Callable[[PostgresServer, str], int]
) -> None:
    port = pooler(postgres, "session")
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    address = postgres.address(database).model_copy(update={"port": port})
    assert run_migrations(address, sources).reason == "Migrated"
