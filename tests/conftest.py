"""What all tests share: the cluster, which of them belong to the fault matrix, and which of those to its long half.

`make test` runs the matrix on the newest PostgreSQL; `make chaos` runs all of it, on every one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, ClusterMissing

FAULT_FILES = {"test_bad_day.py", "test_faults.py", "test_killed.py", "test_store_faults.py"}
LONG_FILES = {
    "test_after_in_place.py",
    "test_all_at_once.py",
    "test_dumped_parts.py",
    "test_in_place_members.py",
    "test_inspect.py",
    "test_parts.py",
}
"""What `make test` tries on the newest PostgreSQL only, though nothing is killed there."""
OLDER = "postgres17"
"""Stands in the name of a test on a PostgreSQL that is not the newest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests in which something is killed, cut off or filled up while it works, by where they stand."""
    for item in items:
        if item.path.name in FAULT_FILES or item.path.parent.name == "faults":
            item.add_marker(pytest.mark.chaos)
            if OLDER in item.name:
                item.add_marker(pytest.mark.long)
        elif item.path.name in LONG_FILES and OLDER in item.name:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster. Without one, tests are skipped and say why; under CI they fail."""
    try:
        found = Cluster.find()
    except ClusterMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    # Of several processes none may take away what another has just made.
    if os.environ.get("CI") and "PYTEST_XDIST_WORKER" not in os.environ:
        clear_leftovers(found)
    return found


def clear_leftovers(cluster: Cluster) -> None:
    """Deletes what an earlier run that was cut off has left: its pods would take the room that these tests need."""
    names = [body["metadata"]["name"] for body in cluster.get("namespaces")["items"]]
    leftovers = [name for name in names if name.startswith("test-")]
    if leftovers:
        cluster.kubectl("delete", "namespace", *leftovers, "--timeout=240s", check=False)


@pytest.fixture(scope="session")
def kinds(cluster: Cluster) -> Iterator[None]:
    """Our kinds are served as this tree describes them; taken away in the end unless they were there before."""
    absent = cluster.kubectl("get", "crd", "databaseclusters.pgwarden.dev", check=False).returncode != 0
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", "crds")
    try:
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        yield
    finally:
        if absent:
            cluster.kubectl("delete", "-k", "crds", "--timeout=60s")
