"""A server with a database that is written to, a claim as a store, and a policy that takes what it can every minute."""

from __future__ import annotations

from collections.abc import Callable

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
from tests.support.sample_servers import rolled_out, server_files, single_server

SERVER = "ledger"
POLICY = "ledger"
EVERY_MINUTE = {"schedule": "* * * * *", "jitterSeconds": 0}
YEARLY = {"schedule": "0 0 1 1 *"}


def policy(name: str = POLICY, **changes: object) -> Body:
    """A BackupPolicy of the server: its full is taken by itself, an incremental each minute, WAL all the time."""
    spec = {
        "clusterRef": {"name": SERVER},
        "storeRef": {"name": "claim"},
        "schedules": {"full": YEARLY, "incremental": EVERY_MINUTE},
        "wal": {"enabled": True, "tailSeconds": 1, **MODEST},
        "objectives": {"recoveryPoint": "10m", "recoveryTime": "30m"},
        "historyLimit": 2,
        "jobTemplate": MODEST,
    }
    return thing("BackupPolicy", name, {**spec, **changes})


@pytest.fixture(scope="session")
def ledger(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Place:
    """The server is reachable and the store is writable; a table holds one row."""
    place = make_place("policies")
    place.apply(server_files(), *single_server(SERVER, 17), claim("backups", "2Gi"))
    rolled_out(place, SERVER)
    place.apply(database_cluster(SERVER), store("claim", claim={"name": "backups"}))
    place.until("backupstore", "claim", is_ready)
    place.until("databasecluster", SERVER, is_reachable)
    place.ask(f"{SERVER}-0", "CREATE TABLE entries (id int)", SERVER)
    write(place, 1)
    return place


@pytest.fixture(scope="session")
def protected(ledger: Place) -> Place:
    """The policy is in force: it has its first full, and WAL is archived."""
    ledger.apply(policy())
    ledger.until("backuppolicy", POLICY, lambda body: "lastFull" in body.get("status", {}))
    ledger.until("backuppolicy", POLICY, lambda body: condition(body, "WALArchiving").get("status") == "True")
    return ledger


def write(place: Place, number: int) -> None:
    place.ask(f"{SERVER}-0", f"INSERT INTO entries VALUES ({number})", SERVER)
