"""What all tests share: which of them belong to the fault matrix, and which of those to its long half.

`make test` runs the matrix on the newest PostgreSQL; `make chaos` runs all of it, on every one.
"""

from __future__ import annotations

import pytest

FAULT_FILES = {"test_bad_day.py", "test_faults.py", "test_killed.py", "test_store_faults.py"}
OLDER = "postgres17"
"""Stands in the name of a test on a PostgreSQL that is not the newest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests in which something is killed, cut off or filled up while it works, by where they stand."""
    for item in items:
        if item.path.name in FAULT_FILES or item.path.parent.name == "faults":
            item.add_marker(pytest.mark.chaos)
            if OLDER in item.name:
                item.add_marker(pytest.mark.long)
