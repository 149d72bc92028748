"""A migration that cannot be run tells which file, where in it, why, and what to do; nothing of it is applied."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.place import Place, condition, config_map, is_ready, is_stalled, migration

pytestmark = pytest.mark.timeout(600)

Files = dict[str, str | bytes]
GOOD: Files = {"1_a.up.sql": "CREATE TABLE a (id int)", "1_a.down.sql": "DROP TABLE a"}

# name: (files, changes of the spec, reason, what the message must say)
BROKEN: dict[str, tuple[Files, dict[str, Any], str, tuple[str, ...]]] = {
    "syntax": (
        {"1_a.up.sql": "CREATE TABLE a (id int);\nCREATE TABEL b (id int);"},
        {},
        "MigrationFailed",
        ("syntax/1_a.up.sql:2", "42601", "TABEL", "rolled back", "Correct the file"),
    ),
    "duplicate": (
        {"1_a.up.sql": "SELECT 1", "0001_b.up.sql": "SELECT 1"},
        {},
        "DuplicateVersion",
        ("duplicate/1_a.up.sql", "duplicate/0001_b.up.sql", "version 1 (up)", "another number"),
    ),
    "latin": (
        {"1_a.up.sql": "SELECT 1;\n-- caf\u00e9".encode("latin-1")},
        {},
        "InvalidEncoding",
        ("latin/1_a.up.sql", "line 2: byte 0xe9 is not UTF-8", "save the file as UTF-8"),
    ),
    "misnamed": (
        {"create_a.sql": "SELECT 1"},
        {},
        "InvalidFileName",
        ("misnamed/create_a.sql", "<version>_<title>.up.sql"),
    ),
    "empty": ({"notes.txt": "nothing"}, {}, "NoMigrations", ("no file named <version>_<title>.up.sql", "ConfigMap")),
    "beyond": (GOOD, {"version": "7"}, "UnknownVersion", ("spec.version 7", "the latest is 1", "Correct spec.version")),
    "commits": (
        {"1_a.up.sql": "CREATE TABLE a (id int);\nCOMMIT;\nCREATE TABLE b (id int);"},
        {},
        "TransactionControl",
        ("commits/1_a.up.sql:2", "COMMIT", "nothing was run", "Take BEGIN, COMMIT and ROLLBACK out"),
    ),
    "ghost": (GOOD, {}, "DatabaseNotFound", ("no database ghost", "spec.database")),
    "stranger": (GOOD, {"role": "nobody"}, "RoleRefused", ("role nobody", "does not exist", "spec.role")),
}


@pytest.fixture(scope="module")
def broken(place: Place) -> Place:
    """All of them at once, each in a database of its own."""
    for name in BROKEN:
        if name != "ghost":
            place.ask("sound-0", f"CREATE DATABASE {name} OWNER pgwarden_migration")
    for name in ("disorder", "sourceless"):
        place.ask("sound-0", f"CREATE DATABASE {name} OWNER pgwarden_migration")
    place.apply(
        *(config_map(name, files) for name, (files, _, _, _) in BROKEN.items()),
        *(migration(name, "sound", name, **changes) for name, (_, changes, _, _) in BROKEN.items()),
        migration("sourceless", "sound", "sourceless", "not-there"),
        migration("clusterless", "not-there", "sound", "syntax"),
        config_map("disorder", {"1_a.up.sql": "CREATE TABLE a ()", "3_c.up.sql": "CREATE TABLE c ()"}),
        migration("disorder", "sound", "disorder"),
    )
    return place


@pytest.mark.parametrize("name", BROKEN)
def test_each_mistake_in_files_or_spec_is_named_with_what_to_do(broken: Place, name: str) -> None:
    _, _, reason, parts = BROKEN[name]
    message = broken.said("databasemigration", name, "Ready", reason)
    for part in parts:
        assert part in message, message
    assert is_stalled(broken.get("databasemigration", name))
    if name != "ghost":
        tables = "SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = 'public'"
        assert broken.ask("sound-0", tables, name) == "0"


def test_a_number_below_the_current_version_is_out_of_order(broken: Place) -> None:
    broken.until("databasemigration", "disorder", is_ready)
    files = {"1_a.up.sql": "CREATE TABLE a ()", "2_b.up.sql": "CREATE TABLE b ()", "3_c.up.sql": "CREATE TABLE c ()"}
    broken.apply(config_map("disorder", files))
    broken.kubectl("annotate", "databasemigration", "disorder", "pgwarden.dev/retry=now")
    message = broken.said("databasemigration", "disorder", "Stalled", "OutOfOrder")
    assert "disorder/2_b.up.sql" in message and "below version 3" in message and "Give it a number" in message, message
    assert broken.get("databasemigration", "disorder")["status"]["currentVersion"] == "3"


def test_a_config_map_that_does_not_exist_is_named_and_waited_for(broken: Place) -> None:
    message = broken.said("databasemigration", "sourceless", "Ready", "SourceMissing")
    assert f"ConfigMap {broken.namespace}/not-there (spec.sources) does not exist; create it" in message
    broken.apply(config_map("not-there", {"1_a.up.sql": "SELECT 1"}))
    broken.until("databasemigration", "sourceless", is_ready)


def test_a_cluster_that_does_not_exist_is_named(broken: Place) -> None:
    message = broken.said("databasemigration", "clusterless", "Ready", "ClusterNotFound")
    assert "no DatabaseCluster not-there in this namespace; create it" in message


def test_the_failed_statement_shows_with_kubectl(broken: Place) -> None:
    body = broken.until("databasemigration", "syntax", is_stalled)
    assert body["status"]["failed"]["sqlstate"] == "42601"
    wide = broken.kubectl("get", "dbm", "syntax", "--output=wide")
    assert "42601" in wide and "MigrationFailed" in wide
    described = broken.kubectl("describe", "dbm", "syntax")
    assert condition(body, "Ready")["message"][:60] in " ".join(described.split())
