"""Servers with small segments that keep their WAL, stores of each sort, and archivers that end with the test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.archiving.contract import ArchiverSettings
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.support.archiver import SMALL_SEGMENTS, ArchiverProcess
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3Server

KEEP_ALL = {"wal_keep_size": "2000", "max_wal_size": "400MB", "min_wal_size": "2MB"}
"""So that the tests can compare the archive with pg_wal."""


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


@pytest.fixture
def bucket(s3: S3Server) -> StoreLocation:
    """A new bucket of the shared S3 server."""
    return s3.location(s3.new_bucket(), prefix="team/a")


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


@pytest.fixture
def server(new_postgres: Callable[..., PostgresServer], major: int) -> PostgresServer:
    """A server of the test's own with segments of 1 MiB, of which it removes none."""
    return new_postgres(major, settings=KEEP_ALL, initdb=SMALL_SEGMENTS)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Callable[[ArchiverSettings], ArchiverProcess]]:
    """Starts archivers."""
    started: list[ArchiverProcess] = []

    def start(settings: ArchiverSettings) -> ArchiverProcess:
        started.append(ArchiverProcess(settings, tmp_path))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()
