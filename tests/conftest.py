"""What all tests share: which of them belong to the fault matrix that `make chaos` runs."""

from __future__ import annotations

import pytest

FAULT_FILES = {"test_faults.py", "test_killed.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests in which something is killed, cut off or filled up while it works, by where they stand."""
    for item in items:
        if item.path.name in FAULT_FILES or item.path.parent.name == "faults":
            item.add_marker(pytest.mark.chaos)
