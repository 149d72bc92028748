"""Fixtures of the tests that need a real cluster. What they give is described in tests/support/cluster.py."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, ClusterMissing
from tests.support.place import Place
from tests.support.release import SYSTEM, install_for_all

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an end-to-end test, whether its file says so or not."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster. Without one, tests are skipped and say why; under CI they fail."""
    try:
        found = Cluster.find()
    except ClusterMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    if os.environ.get("CI"):
        clear_leftovers(found)
    return found


def clear_leftovers(cluster: Cluster) -> None:
    """Deletes what an earlier run that was cut off has left: its pods would take the room that these tests need."""
    names = [body["metadata"]["name"] for body in cluster.get("namespaces")["items"]]
    leftovers = [name for name in names if name.startswith("test-")]
    if leftovers:
        cluster.kubectl("delete", "namespace", *leftovers, "--timeout=240s", check=False)


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
def kinds(cluster: Cluster) -> Iterator[None]:
    """Our kinds are served, as this tree describes them; brought by the tests where nobody else did, and taken away."""
    there = cluster.kubectl("get", "crd", "databaseclusters.pgwarden.dev", check=False).returncode == 0
    if there:
        yield
        return
    cluster.kubectl("apply", "--server-side", "-k", "crds")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", "crds/databaseclusters.yaml")
    yield
    cluster.kubectl("delete", "-k", "crds", "--timeout=60s")


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
