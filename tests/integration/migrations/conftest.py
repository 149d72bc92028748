"""Fixtures of the migrations' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.migrations import Sources


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """An empty folder of sources."""
    return Sources(tmp_path / "sources")
