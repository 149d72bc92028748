"""Stores, keys and data for the tests of backups."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3Server


@dataclass(frozen=True)
class AgeKey:
    """What age-keygen made."""

    recipient: str
    identity: Path


@pytest.fixture(scope="session")
def age_key(tmp_path_factory: pytest.TempPathFactory) -> AgeKey:
    identity = tmp_path_factory.mktemp("age") / "identity"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    done = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    return AgeKey(done.stdout.strip(), identity)


@pytest.fixture
def claim(tmp_path: Path) -> StoreLocation:
    """A new claim."""
    path = tmp_path / "claim"
    path.mkdir()
    return StoreLocation(claim=ClaimLocation(path=str(path)))


@pytest.fixture(params=["claim", "bucket", "encrypted bucket"])
def store(request: pytest.FixtureRequest) -> StoreLocation:
    """A new store of each sort in turn."""
    if request.param == "claim":
        location: StoreLocation = request.getfixturevalue("claim")
        return location
    server: S3Server = request.getfixturevalue("s3")
    if request.param == "bucket":
        return server.location(server.new_bucket(), prefix="team/a")
    key: AgeKey = request.getfixturevalue("age_key")
    return server.location(server.new_bucket(), recipients=[key.recipient], identity_file=key.identity)


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
def loaded(postgres: PostgresServer) -> tuple[PostgresServer, str]:
    """The shared server with a database that has data in PGDATA and in a tablespace; the database's name."""
    return postgres, load_accounts(postgres)


def load_accounts(server: PostgresServer) -> str:
    """Makes that database and the tablespace `fast`."""
    name = server.create_database()
    server.create_tablespace("fast")
    server.execute("CREATE EXTENSION IF NOT EXISTS citext", database=name)
    with server.connect(name) as connection:
        connection.execute(ACCOUNTS.format(tablespace="fast"))
    return name
