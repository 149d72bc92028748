"""Fixtures of the tests that need a real cluster. What they give is described in tests/support/cluster.py."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.place import Place
from tests.support.release import SYSTEM, install_for_all

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an end-to-end test, whether its file says so or not."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def make_namespace(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes namespaces of a name that no other test has; they go when the test ends."""
    with ExitStack() as stack:
        yield lambda purpose: stack.enter_context(cluster.namespace(f"test-{purpose}-{secrets.token_hex(3)}"))


@pytest.fixture
def namespace(make_namespace: Callable[[str], str]) -> str:
    """One namespace of this test's own."""
    return make_namespace("e2e")


@pytest.fixture(scope="session")
def operator(cluster: Cluster, kinds: None) -> Iterator[str]:
    """The namespace of a pgwarden that looks after all namespaces and runs this tree's code, installed by the chart.

    One that was there before is upgraded and stays; else it goes when the session ends.
    """
    absent = install_for_all(cluster)
    yield SYSTEM
    if absent:
        cluster.helm("uninstall", "pgwarden", "-n", SYSTEM, "--wait")
        cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")


@pytest.fixture(scope="session")
def make_place(cluster: Cluster) -> Iterator[Callable[[str], Place]]:
    """Makes namespaces that several tests share; they go when the session ends."""
    with ExitStack() as stack:

        def make(purpose: str) -> Place:
            name = f"test-{purpose}-{secrets.token_hex(3)}"
            return Place(cluster, stack.enter_context(cluster.namespace(name)))

        yield make
