"""docs/sql/migration-role.sql is enough to migrate, and no more than it says."""

from __future__ import annotations

import pytest
from psycopg import sql

from pgwarden.jobs.files import DatabaseAddress
from tests.support.migrations import SAMPLES, Sources, report_of, run_migrations
from tests.support.postgres import PostgresServer
from tests.support.roles import role_of_script, run_role_script


def role_for(postgres: PostgresServer, database: str) -> tuple[str, DatabaseAddress]:
    """The role of the script, and the database's address with it. The script may be run again."""
    role = f"migrates {database}"
    variables = {"database": database, "schema": "public"}
    run_role_script(postgres, "migration", role, **variables)
    return role, role_of_script(postgres, "migration", role, **variables)


@pytest.mark.parametrize("sample", ["operational", "analytics"])
def test_the_role_can_run_the_samples_up_and_down(postgres: PostgresServer, database: str, sample: str) -> None:
    _, address = role_for(postgres, database)
    up = run_migrations(address, SAMPLES / sample)
    assert up.reason == "Migrated", up.message
    down = run_migrations(address, SAMPLES / sample, target_version="0", allow_down=True)
    assert down.reason == "Reverted", down.message
    assert report_of(down).current_version == ""


def test_a_schema_made_beforehand_does_instead_of_create_on_the_database(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    role, address = role_for(postgres, database)
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
    _, address = role_for(postgres, database)
    postgres.execute("CREATE TABLE theirs (i int)", database=database)
    sources.write("1_a.up.sql", "ALTER TABLE theirs ADD j int")
    result = run_migrations(address, sources)
    assert result.reason == "PermissionDenied"
    assert report_of(result).failed
