"""Every test that the fault matrix names exists: a table that promises more than there is would be worse than none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]


def test_the_fault_matrix_names_tests_that_exist() -> None:
    named = re.findall(r"`((?:unit|integration|e2e)/\S+\.py)::(test_\w+)`", (TESTS / "README.md").read_text())
    assert len(named) > 30
    missing = [f"{path}::{name}" for path, name in named if name not in functions(TESTS / path)]
    assert missing == []


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
