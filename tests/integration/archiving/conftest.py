"""Servers with small segments that keep their WAL, and archivers that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgwarden.archiving.contract import ArchiverSettings
from tests.support.archiver import SMALL_SEGMENTS, ArchiverProcess
from tests.support.postgres import PostgresServer

KEEP_ALL = {"wal_keep_size": "2000", "max_wal_size": "400MB", "min_wal_size": "2MB"}
"""So that the tests can compare the archive with pg_wal."""


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
