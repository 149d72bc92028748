"""Everything in this folder is a unit test, whether its file says so or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent

# A busy machine is slow, which says nothing about the code: no deadline for a single example.
settings.register_profile("pgwarden", deadline=None)
settings.load_profile("pgwarden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.unit)
