"""Stores, and archives in them, for the tests of the catalogue."""

from __future__ import annotations

import pytest

from pgwarden.jobs.files import StoreLocation
from tests.support.archive import Archived


@pytest.fixture(params=["claim", "bucket"])
def store(request: pytest.FixtureRequest) -> StoreLocation:
    """A new store of each sort in turn."""
    location: StoreLocation = request.getfixturevalue(request.param)
    return location


@pytest.fixture
def archived(store: StoreLocation) -> Archived:
    """An archive in each sort of store."""
    return Archived(store)


@pytest.fixture
def in_claim(claim: StoreLocation) -> Archived:
    """An archive in a claim."""
    return Archived(claim)
