"""docs/sql/monitor-role.sql is enough to look at a server, and no more than it says."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from pgwarden.monitoring.contract import ClusterObservation, WatchedCluster
from pgwarden.monitoring.observe import Observer
from tests.support.postgres import HOST, PostgresServer
from tests.support.roles import PASSWORD, role_of_script, run_role_script


@pytest.fixture
def role(postgres: PostgresServer, database: str) -> str:
    """The role, made by the script, which may be run again."""
    name = f"watches {database}"
    run_role_script(postgres, "monitor", name)
    role_of_script(postgres, "monitor", name)
    return name


def look(postgres: PostgresServer, role: str, database: str) -> ClusterObservation:
    """One look with that role, as the monitor takes it."""
    address = postgres.address("postgres", user=role, password=PASSWORD)
    watched = WatchedCluster(name="db", uid="uid", digest="digest", primary=address, databases=[database])
    observer = Observer(watched, lambda: datetime.now(UTC))
    try:
        return observer.look()
    finally:
        observer.close()


def test_the_role_sees_all_that_the_monitor_asks_for(postgres: PostgresServer, database: str, role: str) -> None:
    seen = look(postgres, role, database)
    assert seen.primary.reachable, seen.primary.message
    assert seen.primary.system_identifier.isdigit()
    assert seen.primary.timeline == 1
    assert seen.missing_databases == []
    assert {found.name: found.size_bytes > 0 for found in seen.databases}[database]


def test_a_database_that_lets_only_its_owner_in_is_measured_too(
    postgres: PostgresServer, database: str, role: str
) -> None:
    with postgres.connect() as connection:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    seen = look(postgres, role, database)
    assert {found.name: found.size_bytes > 0 for found in seen.databases}[database]


def test_the_role_reads_no_table(postgres: PostgresServer, database: str, role: str) -> None:
    postgres.execute("CREATE TABLE secrets (word text)", database=database)
    connection = psycopg.connect(host=HOST, port=postgres.port, user=role, password=PASSWORD, dbname=database)
    with connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT word FROM secrets")
