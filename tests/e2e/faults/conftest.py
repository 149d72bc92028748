"""What the fault tests share: a namespace with a database and a store, and a proxy in front of the API server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_proxy import ApiProxy, api_proxy
from tests.support.cluster import Cluster
from tests.support.workplace import LABEL, Workplace, kept_out, name_server, prepare, refuses_strangers


@pytest.fixture(scope="session")
def ours(cluster: Cluster) -> Iterator[str]:
    """Value of LABEL by which namespaces are kept from operators that are installed in the cluster."""
    value = f"test-{secrets.token_hex(3)}"
    with kept_out(cluster, value):
        yield value


@pytest.fixture(scope="session")
def workplace(
    cluster: Cluster, kinds: None, ours: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workplace]:
    """A namespace with a database and a store that no operator but the tests' own touches."""
    address = name_server(cluster)
    if address is None or os.geteuid() != 0:
        reason = "operators run as processes of this machine here: that takes root, and Services that it can reach"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("operators")
    with cluster.namespace(f"test-faults-{secrets.token_hex(3)}") as namespace:
        cluster.kubectl("label", "namespace", namespace, f"{LABEL}={ours}")
        cluster.wait(lambda: refuses_strangers(cluster, namespace), "the policy that keeps other operators out")
        place = Workplace(cluster, namespace, folder, address)
        prepare(place)
        yield place


@pytest.fixture
def proxy(workplace: Workplace) -> Iterator[ApiProxy]:
    """A proxy in front of the API server."""
    with api_proxy(workplace.kubeconfig) as running:
        yield running


@pytest.fixture(scope="session")
def backed_up(workplace: Workplace) -> str:
    """Name of a DatabaseBackup that can be restored; it holds the table `kept` with 1,000 rows."""
    name = "source"
    workplace.psql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    with workplace.operator():
        workplace.back_up(name)
        workplace.wait_ready("DatabaseBackup", name)
    return name
