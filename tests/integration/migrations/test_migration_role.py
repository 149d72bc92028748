"""docs/sql/migration-role.sql is enough to migrate, and no more than it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import sql

from tests.support.migrations import SAMPLES, Sources, report_of, run_migrations
from tests.support.postgres import HOST, SUPERUSER, SUPERUSER_PASSWORD, PostgresServer

SCRIPT = Path(__file__).parents[3] / "docs" / "sql" / "migration-role.sql"
PASSWORD = "for this test"


def make_role(postgres: PostgresServer, database: str) -> str:
    """Runs the script with psql, as its first lines say, and sets a password."""
    role = f"migrates {database}"
    copy = postgres.folder / "migration-role.sql"
    copy.write_text(SCRIPT.read_text())
    postgres.tool(
        "psql", "-v", "ON_ERROR_STOP=1", "-v", f"role={role}", "-v", f"database={database}", "-v", "schema=public",
        "-f", copy, f"host={HOST} port={postgres.port} user={SUPERUSER} dbname={database}",
        environment={"PGPASSWORD": SUPERUSER_PASSWORD},
    )  # fmt: skip
    with postgres.connect() as connection:
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
        connection.execute(statement)
    return role


@pytest.mark.parametrize("sample", ["operational", "analytics"])
def test_the_role_can_run_the_samples_up_and_down(postgres: PostgresServer, database: str, sample: str) -> None:
    role = make_role(postgres, database)
    address = postgres.address(database, user=role, password=PASSWORD)
    up = run_migrations(address, SAMPLES / sample)
    assert up.reason == "Migrated", up.message
    down = run_migrations(address, SAMPLES / sample, target_version="0", allow_down=True)
    assert down.reason == "Reverted", down.message
    assert report_of(down).current_version == ""


def test_a_schema_made_beforehand_does_instead_of_create_on_the_database(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    role = make_role(postgres, database)
    address = postgres.address(database, user=role, password=PASSWORD)
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    with postgres.connect(database) as connection:
        names = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
        connection.execute(sql.SQL("REVOKE CREATE ON DATABASE {database} FROM {role}").format(**names))
        refused = run_migrations(address, sources)
        assert refused.reason == "HistoryNotCreated"
        assert "SQLSTATE 42501" in refused.message and "migration-role.sql" in refused.remedy
        connection.execute("CREATE SCHEMA pgwarden")
        connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA pgwarden TO {role}").format(**names))
    assert run_migrations(address, sources).reason == "Migrated"


def test_the_role_cannot_touch_what_belongs_to_others(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    role = make_role(postgres, database)
    postgres.execute("CREATE TABLE theirs (i int)", database=database)
    sources.write("1_a.up.sql", "ALTER TABLE theirs ADD j int")
    result = run_migrations(postgres.address(database, user=role, password=PASSWORD), sources)
    assert result.reason == "PermissionDenied"
    assert report_of(result).failed
