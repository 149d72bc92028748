"""The command starts at once because it imports only what a verb needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OPERATOR = Path(__file__).parents[3] / "operator"
# Each of these costs from 20 to 1,400 ms.
HEAVY = ("kopf", "kubernetes", "aiohttp", "pydantic", "obstore", "pyrage", "zstandard", "jinja2", "rich", "yaml",
         "structlog", "prometheus_client", "requests")  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """The modules a fresh interpreter has loaded after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(sys.modules))"],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_listing_the_verbs_imports_neither_a_verb_nor_a_driver() -> None:
    loaded = loaded_after("import pgwarden.cli.main")
    assert "pgwarden.cli.main" in loaded
    assert not loaded & {*HEAVY, "psycopg", "pgwarden.cli.migrate", "pgwarden.cli.agent"}


def test_migrating_imports_the_driver_and_nothing_else_that_is_heavy() -> None:
    loaded = loaded_after("import pgwarden.cli.main\npgwarden.cli.main.load('migrate')")
    assert {"psycopg", "pgwarden.migrations.runner"} <= loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("verb", ["migrate", "backup", "restore", "agent", "archive-wal", "version"])
def test_every_verb_can_be_called(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgwarden", verb, "--help"],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert verb in done.stdout


def test_a_verb_that_does_not_exist_is_wrong_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgwarden", "mirgate"],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "mirgate" in done.stderr
