"""Servers with data of every sort, and the tools of their major version on PATH."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from psycopg import sql

from pgwarden.jobs.files import StoreLocation
from tests.support.postgres import PostgresServer, bin_dir, postgres_server


@pytest.fixture(params=["claim", "encrypted_bucket"])
def store(request: pytest.FixtureRequest) -> StoreLocation:
    """A new store of each sort in turn."""
    location: StoreLocation = request.getfixturevalue(request.param)
    return location


@pytest.fixture(autouse=True)
def tools_of_the_agent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump of the server's major version comes first on PATH, as in the agent's image."""
    major = request.getfixturevalue("major") if "major" in request.fixturenames else 17
    monkeypatch.setenv("PATH", f"{bin_dir(major)}:{os.environ['PATH']}")


SHOP = """\
CREATE EXTENSION citext;
CREATE SCHEMA billing;
CREATE TABLE accounts (id int PRIMARY KEY, email citext UNIQUE, filler text NOT NULL);
INSERT INTO accounts SELECT i, 'user' || i || '@example.org', md5(i::text) || repeat(' ', 100)
    FROM generate_series(1, 20000) AS i;
CREATE TABLE billing.invoices (id bigserial PRIMARY KEY, account int REFERENCES accounts, amount numeric);
INSERT INTO billing.invoices (account, amount) SELECT i, i * 1.25 FROM generate_series(1, 5000) AS i;
CREATE VIEW billing.totals AS SELECT account, sum(amount) AS total FROM billing.invoices GROUP BY account;
CREATE FUNCTION billing.total(int) RETURNS numeric LANGUAGE sql AS
    $$ SELECT total FROM billing.totals WHERE account = $1 $$;
CREATE MATERIALIZED VIEW billing.top AS SELECT * FROM billing.totals ORDER BY total DESC LIMIT 10;
SELECT lo_from_bytea(4711, 'a large object');
"""
ANALYTICS = """\
CREATE TABLE usage_events (at timestamptz NOT NULL, account int, tokens int) PARTITION BY RANGE (at);
CREATE TABLE usage_events_2026_01 PARTITION OF usage_events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE usage_events_2026_02 PARTITION OF usage_events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO usage_events SELECT timestamptz '2026-01-01' + i * interval '1 minute', i % 100, i
    FROM generate_series(1, 80000) AS i;
"""
TABLES = """\
SELECT coalesce(array_agg(format('%I.%I', n.nspname, c.relname) ORDER BY 1), '{}')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg_toast%'
"""


def digests(server: PostgresServer, database: str) -> dict[str, str]:
    """Number of rows and a checksum over all of them, for each table of a database."""
    with server.connect(database) as connection:
        found = connection.execute(TABLES).fetchall()[0][0]
        assert isinstance(found, list)
        rows = "coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '-')"
        query = f"SELECT count(*) || ' ' || {rows} FROM {{}} AS t"
        return {name: str(connection.execute(sql.SQL(query.replace("{}", name))).fetchall()[0][0]) for name in found}


@pytest.fixture(scope="session")
def shop(major: int) -> Iterator[PostgresServer]:
    """A server with the databases `shop` and `The "analytics"`, and roles that own them."""
    with postgres_server(major) as server:
        for name, content in (("shop", SHOP), ('The "analytics"', ANALYTICS)):
            owner = server.create_role(f"{name} owner", password="of the owner")
            server.create_database(name, owner=owner)
            with server.connect(name) as connection:
                connection.execute(content)
        yield server
