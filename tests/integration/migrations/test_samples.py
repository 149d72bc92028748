"""The sample migrations do what the demo and the documentation say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.migrations.source import read
from tests.support.migrations import SAMPLES, report_of, run_migrations
from tests.support.postgres import HOST, SUPERUSER, SUPERUSER_PASSWORD, PostgresServer


def schema_of(postgres: PostgresServer, database: str) -> str:
    """The schema as pg_dump writes it, without the history and what differs with every run."""
    dump = postgres.tool(
        "pg_dump", "--schema-only", "--exclude-schema=pgwarden",
        f"host={HOST} port={postgres.port} user={SUPERUSER} dbname={database}",
        environment={"PGPASSWORD": SUPERUSER_PASSWORD},
    )  # fmt: skip
    return "\n".join(line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--")))


def sums(postgres: PostgresServer, database: str, *tables: str) -> list[object]:
    """Number of rows and a checksum over all of them, for each table."""
    found: list[object] = []
    with postgres.connect(database) as connection:
        for table in tables:
            query = f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t"
            found.append(connection.execute(query).fetchone())
    return found


@pytest.mark.parametrize(
    ("sample", "tables"),
    [
        ("operational", ("organizations", "users", "api_keys")),
        ("analytics", ("usage_events", "daily_usage", "monthly_invoices")),
    ],
)
def test_up_down_up_ends_with_the_same_schema_and_the_same_rows(
    postgres: PostgresServer, database: str, sample: str, tables: tuple[str, ...]
) -> None:
    address, folder = postgres.address(database), SAMPLES / sample
    empty = schema_of(postgres, database)
    up = run_migrations(address, folder)
    assert up.reason == "Migrated", up.message
    first = schema_of(postgres, database), sums(postgres, database, *tables)
    down = run_migrations(address, folder, target_version="0", allow_down=True)
    assert down.reason == "Reverted", down.message
    assert schema_of(postgres, database) == empty
    again = run_migrations(address, folder)
    assert again.reason == "Migrated", again.message
    assert (schema_of(postgres, database), sums(postgres, database, *tables)) == first


@pytest.mark.parametrize("sample", ["operational", "analytics"])
def test_every_single_down_undoes_its_up(postgres: PostgresServer, database: str, sample: str) -> None:
    address, folder = postgres.address(database), SAMPLES / sample
    for migration in read(folder):
        before = schema_of(postgres, database)
        version = str(migration.version)
        assert run_migrations(address, folder, target_version=version).reason == "Migrated"
        after = schema_of(postgres, database)
        previous = str(migration.version - 1)
        assert run_migrations(address, folder, target_version=previous, allow_down=True).reason == "Reverted"
        assert schema_of(postgres, database) == before, f"the down of {migration} leaves something behind"
        assert run_migrations(address, folder, target_version=version).reason == "Migrated"
        assert schema_of(postgres, database) == after


def test_the_samples_hold_the_rows_the_demo_counts(postgres: PostgresServer) -> None:
    operational, analytics = postgres.create_database(), postgres.create_database()
    run_migrations(postgres.address(operational), SAMPLES / "operational")
    run_migrations(postgres.address(analytics), SAMPLES / "analytics")
    with postgres.connect(operational) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("organizations", "users", "api_keys")
        ]
        assert counts == [(40,), (1000,), (120,)]
        connection.execute("UPDATE users SET full_name = 'Somebody Else' WHERE id = 1")
        touched = "SELECT updated_at > created_at + interval '1 day' FROM users WHERE id = 1"
        assert connection.execute(touched).fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM audit_log WHERE table_name = 'users'").fetchone() == (1,)
    with postgres.connect(analytics) as connection:
        assert connection.execute("SELECT count(*) FROM usage_events").fetchone() == (50000,)
        assert connection.execute("SELECT sum(requests) FROM daily_usage").fetchone() == (50000,)
        months = connection.execute(
            "SELECT tableoid::regclass::text, count(*) FROM usage_events GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert [row[0] for row in months] == [f"usage_events_2026_{month:02}" for month in range(6, 12)]


def test_the_broken_migration_fails_where_it_says_and_the_fix_passes(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    def with_(extra: str) -> Path:
        folder = tmp_path / extra
        folder.mkdir()
        (folder / "1").symlink_to(SAMPLES / "operational")
        (folder / "2").symlink_to(SAMPLES / extra)
        return folder

    address = postgres.address(database)
    broken = run_migrations(address, with_("operational-broken"))
    report = report_of(broken)
    assert (broken.reason, report.current_version, report.pending) == ("MigrationFailed", "9", 1)
    assert report.failed is not None
    assert (report.failed.version, report.failed.sqlstate, report.failed.line) == ("10", "23502", 4)
    assert "billing_email" in report.failed.error

    fixed = run_migrations(address, with_("operational-fixed"))
    assert (fixed.reason, report_of(fixed).ran) == ("Migrated", ["10"])
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT count(DISTINCT billing_email) FROM organizations").fetchone() == (40,)
