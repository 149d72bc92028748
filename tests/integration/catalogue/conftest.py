"""Stores, and archives in them, for the tests of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.support.archive import Archived
from tests.support.s3 import S3Server


@pytest.fixture
def claim(tmp_path: Path) -> StoreLocation:
    """A new claim."""
    path = tmp_path / "claim"
    path.mkdir()
    return StoreLocation(claim=ClaimLocation(path=str(path)))


@pytest.fixture(params=["claim", "bucket"])
def store(request: pytest.FixtureRequest) -> StoreLocation:
    """A new store of each sort in turn."""
    if request.param == "claim":
        location: StoreLocation = request.getfixturevalue("claim")
        return location
    server: S3Server = request.getfixturevalue("s3")
    return server.location(server.new_bucket(), prefix="team/a")


@pytest.fixture
def archived(store: StoreLocation) -> Archived:
    """An archive in each sort of store."""
    return Archived(store)


@pytest.fixture
def in_claim(claim: StoreLocation) -> Archived:
    """An archive in a claim."""
    return Archived(claim)
