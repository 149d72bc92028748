"""A server with a database that is written to, a claim as a store, and a policy that takes what it can every minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.place import (
    MODEST,
    Body,
    Place,
    claim,
    condition,
    database_cluster,
    is_reachable,
    is_ready,
    store,
    thing,
)
from tests.support.release import release_for
from tests.support.sample_servers import rolled_out, server_files, single_server

SERVER = "ledger"
POLICY = "ledger"
EVERY_MINUTE = {"schedule": "* * * * *", "jitterSeconds": 0}
YEARLY = {"schedule": "0 0 1 1 *"}
MINE = f"pgwarden.dev/policy={POLICY}"
STUCK_SECONDS = 20


def policy(name: str = POLICY, **changes: object) -> Body:
    """A BackupPolicy of the server: its full is taken by itself, an incremental each minute, WAL all the time."""
    spec = {
        "clusterRef": {"name": SERVER},
        "storeRef": {"name": "claim"},
        "schedules": {"full": YEARLY, "incremental": EVERY_MINUTE},
        "wal": {"enabled": True, "tailSeconds": 1, **MODEST},
        "objectives": {"recoveryPoint": "10m", "recoveryTime": "30m"},
        # Tests compare the objects with what lies in the store: none is cleared away meanwhile.
        "historyLimit": 100,
        "jobTemplate": MODEST,
    }
    return thing("BackupPolicy", name, {**spec, **changes})


@pytest.fixture(scope="session")
def ledger(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Iterator[Place]:
    """The server is reachable and the store is writable, under an operator that has less patience than others."""
    place = make_place("policies")
    place.apply(server_files(), *single_server(SERVER, 17), claim("backups", "2Gi"))
    settings = ("--set", f"intervals.backupStuck={STUCK_SECONDS}", "--set", "intervals.monitor=2")
    with release_for(cluster, place.namespace, *settings):
        rolled_out(place, SERVER)
        place.apply(database_cluster(SERVER), store("claim", claim={"name": "backups"}))
        place.until("backupstore", "claim", is_ready)
        place.until("databasecluster", SERVER, is_reachable)
        place.ask(f"{SERVER}-0", "CREATE TABLE entries (id int)", SERVER)
        write(place, 1)
        yield place


@pytest.fixture(scope="session")
def protected(ledger: Place) -> Place:
    """The policy is in force: it has its first full, and WAL is archived."""
    ledger.apply(policy())
    ledger.until("backuppolicy", POLICY, lambda body: "lastFull" in body.get("status", {}))
    ledger.until("backuppolicy", POLICY, lambda body: condition(body, "WALArchiving").get("status") == "True")
    return ledger


def write(place: Place, number: int) -> None:
    place.ask(f"{SERVER}-0", f"INSERT INTO entries VALUES ({number})", SERVER)


def archivers(place: Place) -> list[Body]:
    """The pods that archive WAL, but for those that are on their way out."""
    pods = place.list("pods", "--selector", "app.kubernetes.io/component=archiver")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
