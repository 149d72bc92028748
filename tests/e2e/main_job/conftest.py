"""The main job, done once for all tests of this folder: migrate, back up, lose a table, restore.

Each fixture applies all objects of its step in one go and waits for all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyrage
import pytest

from tests.support.cluster import Cluster
from tests.support.history import History, watched
from tests.support.place import (
    Body,
    Place,
    backup,
    claim,
    config_map,
    database_cluster,
    is_reachable,
    is_ready,
    migration,
    restore,
    secret,
    store,
)
from tests.support.sample_servers import migration_files, passwords, rolled_out, sample_databases, single_server

S3 = "pgwarden-s3"
LOST = "public.api_keys"
# About 140 MB, so that a backup at 8 MiB a second takes long enough to be seen at work.
LOAD = "CREATE TABLE load AS SELECT i, repeat(md5(i::text), 8) AS filler FROM generate_series(1, 400000) AS i"
SLOW_KIB = 8192
BACKUPS = {
    # name: (cluster, store); operational and modern are PostgreSQL 17 and 18.
    "operational-claim": ("operational", "claim"),
    "operational-vault": ("operational", "vault"),
    "analytics-bucket": ("analytics", "bucket"),
    "modern-vault": ("modern", "vault"),
}
RESTORES = {
    # backup: name of the RestoreRequest and of the new instance
    "operational-claim": "operational-again",
    "analytics-bucket": "analytics-again",
    "modern-vault": "modern-again",
}


@pytest.fixture(scope="session")
def hidden() -> set[str]:
    """Everything of this session that must show nowhere but in Secrets; each fixture adds its own."""
    return set()


@pytest.fixture(scope="session")
def platform(cluster: Cluster, operator: str, make_place: Callable[[str], Place], hidden: set[str]) -> Place:
    """A namespace with three PostgreSQL clusters of two major versions, each reachable, and three writable stores."""
    place = make_place("platform")
    place.apply(*sample_databases(place), *single_server("modern", 18))
    place.apply(*stores(place, hidden))
    hidden |= set(passwords("operational", "analytics", "modern"))
    rolled_out(place, "operational", "analytics", "modern")
    place.apply(
        database_cluster("operational", replicas=[{"host": "operational-replica"}]),
        database_cluster("analytics"),
        database_cluster("modern"),
    )
    place.ask("modern-0", LOAD, "modern")
    for name in ("claim", "bucket", "vault"):
        place.until("backupstore", name, is_ready)
    for name in ("operational", "analytics", "modern"):
        place.until("databasecluster", name, is_reachable)
    return place


def stores(place: Place, hidden: set[str]) -> list[Body]:
    """A claim, a bucket, and an encrypted part of the bucket, with all they need."""
    root = Place(place.cluster, S3).secret("s3-root")
    authority = Place(place.cluster, S3).get("configmap", "s3-ca")["data"]
    identity = pyrage.x25519.Identity.generate()
    hidden |= {root["secret_access_key"], str(identity)}
    s3 = {
        "endpoint": f"https://s3.{S3}.svc:7070",
        "bucket": "backups",
        "ca": {"kind": "ConfigMap", "name": "bucket-ca"},
        "credentials": {"secretName": "bucket-keys"},
    }
    encryption = {"recipients": [str(identity.to_public())], "identity": {"name": "age-identity", "key": "identity"}}
    return [
        claim("backups", "2Gi"),
        secret("bucket-keys", **root),
        config_map("bucket-ca", authority),
        secret("age-identity", identity=str(identity)),
        store("claim", claim={"name": "backups"}),
        store("bucket", s3=s3, prefix=f"{place.namespace}/plain"),
        store("vault", s3=s3, prefix=f"{place.namespace}/sealed", encryption=encryption),
    ]


@pytest.fixture(scope="session")
def history(platform: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Every version of everything from before the first migration on."""
    kinds = ("databasemigrations", "databasebackups", "restorerequests", "jobs", "pods")
    with watched(platform, tmp_path_factory.mktemp("history"), kinds) as found:
        yield found


@pytest.fixture(scope="session")
def migrated(platform: Place, history: History) -> Place:
    """Schema and data of the samples are in place; those of `operational` came from two ConfigMaps."""
    files = migration_files("operational")
    platform.apply(
        config_map("operational-schema", {name: text for name, text in files.items() if name < "0006"}),
        config_map("operational-more", {name: text for name, text in files.items() if name >= "0006"}),
        config_map("analytics", migration_files("analytics")),
        # The order of the sources says nothing, numbers do.
        migration("operational", "operational", "operational", "operational-more", "operational-schema"),
        migration("analytics", "analytics", "analytics"),
    )
    for name in ("operational", "analytics"):
        platform.until("databasemigration", name, is_ready)
    return platform


@pytest.fixture(scope="session")
def before(migrated: Place) -> dict[str, dict[str, str]]:
    """Fingerprints of all tables of each cluster at the time of the backups."""
    return {name: migrated.fingerprints(f"{name}-0", name) for name in ("operational", "analytics", "modern")}


@pytest.fixture(scope="session")
def backups(migrated: Place, before: dict[str, dict[str, str]]) -> dict[str, Body]:
    """Finished backups of every cluster, in every kind of store."""
    migrated.apply(
        *(
            backup(name, cluster, store, maxRateKiB=SLOW_KIB if cluster == "modern" else 0)
            for name, (cluster, store) in BACKUPS.items()
        )
    )
    return {name: migrated.until("databasebackup", name, is_ready) for name in BACKUPS}


@pytest.fixture(scope="session")
def restored(migrated: Place, backups: dict[str, Body], hidden: set[str]) -> dict[str, Body]:
    """Finished restores; the originals have lost data since the backups."""
    migrated.ask("operational-0", f"DROP TABLE {LOST}", "operational")
    migrated.ask("analytics-0", "TRUNCATE usage_events", "analytics")
    migrated.ask("modern-0", "DELETE FROM load WHERE i % 2 = 0", "modern")
    migrated.apply(*(request(from_backup, name) for from_backup, name in RESTORES.items()))
    found = {name: migrated.until("restorerequest", name, is_ready) for name in RESTORES.values()}
    hidden |= {migrated.secret(f"{name}-superuser")["password"] for name in found}
    return found


def request(from_backup: str, name: str) -> Body:
    """Restores with two questions: one with an answer it must give, one that only has to succeed, and lasts until the
    operator has looked how far the pod is."""
    database = BACKUPS[from_backup][0]
    checks = [
        {"name": "it is the right database", "database": database, "query": "SELECT current_database()"}
        | {"expect": database},
        {"name": "it has tables", "database": database, "query": "SELECT 1 / count(*) FROM pg_tables, pg_sleep(4)"},
    ]
    return restore(name, from_backup, checks=checks, requestedBy="the tests")
