"""Data for the tests of backups."""

from __future__ import annotations

import pytest

from tests.support.postgres import PostgresServer

ACCOUNTS = """\
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, filler text NOT NULL);
INSERT INTO accounts SELECT i, 0, md5(i::text) || repeat(' ', 100) FROM generate_series(1, 20000) AS i;
CREATE TABLE in_tablespace (id int PRIMARY KEY, content text) TABLESPACE {tablespace};
INSERT INTO in_tablespace SELECT i, md5(i::text) FROM generate_series(1, 60000) AS i;
CREATE UNLOGGED TABLE unlogged (i int);
"""
DIGEST = """\
SELECT (SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM accounts AS a)
    || (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM in_tablespace AS t)
"""


@pytest.fixture(scope="session")
def loaded_databases() -> dict[int, str]:
    """The loaded database of each major version's shared server, once it is there."""
    return {}


@pytest.fixture(scope="session")
def loaded(postgres: PostgresServer, loaded_databases: dict[int, str]) -> tuple[PostgresServer, str]:
    """The shared server with a database that has data in PGDATA and in a tablespace; the database's name."""
    # A worker that gets file after file comes back to a version it had left: this runs again, on the same server.
    if postgres.major not in loaded_databases:
        loaded_databases[postgres.major] = load_accounts(postgres)
    return postgres, loaded_databases[postgres.major]


def load_accounts(server: PostgresServer) -> str:
    """Makes that database and the tablespace `fast`."""
    name = server.create_database()
    server.create_tablespace("fast")
    server.execute("CREATE EXTENSION IF NOT EXISTS citext", database=name)
    with server.connect(name) as connection:
        connection.execute(ACCOUNTS.format(tablespace="fast"))
    return name
