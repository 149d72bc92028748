"""Migrations on a real cluster: from several ConfigMaps, up, down when allowed, failed and resumed, byte for byte."""

from __future__ import annotations

import hashlib
import itertools
import string
from collections.abc import Iterator

import pytest

from tests.support.history import History
from tests.support.place import Body, Place, condition, config_map, is_ready, is_stalled, migration

pytestmark = pytest.mark.timeout(600)

STEPS = {
    "1_one.up.sql": "CREATE TABLE one (id int)",
    "1_one.down.sql": "DROP TABLE one",
    "2_two.up.sql": "CREATE TABLE two (id int)",
    "2_two.down.sql": "DROP TABLE two",
    "3_three.up.sql": "CREATE TABLE three (id int)",
    "3_three.down.sql": "DROP TABLE three",
}
BROKEN = STEPS | {"2_two.up.sql": "CREATE TABLE two (id int);\n\nINSERT INTO one\n  VALUES (1), ('two')"}
SLOW = STEPS | {"2_two.up.sql": "SELECT pg_sleep(15)"}
PAIRS = "".join(first + second for first, second in itertools.product(string.punctuation, repeat=2))
HOSTILE = f"$$ $(HOME) $$(X) ${{Y}} {{{{ job.name }}}} {{% raw %}} %s %(x)s \\n \\x41 \u00e9\u20ac\U0001f418\n{PAIRS}"
TAG = "$hostile$"
EXACT = {
    "1_exact.up.sql": f"CREATE TABLE exact AS SELECT {TAG}{HOSTILE}{TAG} AS text;\n"
    'DO $$ BEGIN EXECUTE \'CREATE TABLE "$(X)" (id int)\'; END $$;\nCREATE TABLE dollars ("$$" int);\n'
}
SETS = {"down": STEPS, "resumed": BROKEN, "slow": SLOW, "exact": EXACT}


@pytest.fixture(scope="module")
def place(platform: Place, history: History) -> Iterator[Place]:
    """A database for each test, and a DatabaseMigration for each, all begun together."""
    for name in SETS:
        platform.ask("modern-0", f"CREATE DATABASE {name} OWNER pgwarden_migration")
    platform.apply(
        *(config_map(name, files) for name, files in SETS.items()),
        *(migration(name, "modern", name) for name in SETS),
    )
    yield platform
    for name in SETS:
        platform.kubectl("delete", "databasemigration", name)
        platform.ask("modern-0", f"DROP DATABASE {name} WITH (FORCE)")


def standing(body: Body) -> tuple[str, str, int, int]:
    status = body["status"]
    return status["currentVersion"], status["targetVersion"], status["applied"], status["pending"]


def tables(place: Place, database: str) -> str:
    query = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_stat_user_tables WHERE schemaname = 'public'"
    return place.ask("modern-0", query, database)


def test_files_of_several_config_maps_are_one_set_ordered_by_number(migrated: Place) -> None:
    body = migrated.get("databasemigration", "operational")
    assert standing(body) == ("9", "9", 9, 0)
    history = "SELECT string_agg(version::text, ' ' ORDER BY finished_at) FROM pgwarden.migrations"
    assert migrated.ask("operational-0", history, "operational") == "1 2 3 4 5 6 7 8 9"


def test_a_lower_version_is_reached_only_when_that_is_allowed(place: Place) -> None:
    place.until("databasemigration", "down", is_ready)
    place.patch("databasemigration", "down", {"spec": {"version": "1"}})
    message = place.said("databasemigration", "down", "Stalled", "DownNotAllowed")
    assert "3" in message and "1" in message and "spec.down.allow" in message, message
    assert tables(place, "down") == "one three two"
    place.patch("databasemigration", "down", {"spec": {"down": {"allow": True}}})
    body = place.until("databasemigration", "down", is_ready)
    assert standing(body) == ("1", "1", 1, 0)
    assert tables(place, "down") == "one"
    place.patch("databasemigration", "down", {"spec": {"version": None}})
    body = place.until("databasemigration", "down", is_ready)
    assert standing(body) == ("3", "3", 3, 0)
    assert tables(place, "down") == "one three two"


def test_a_failure_is_told_with_its_statement_and_the_next_run_resumes_there(place: Place) -> None:
    body = place.until("databasemigration", "resumed", is_stalled)
    assert standing(body) == ("1", "3", 1, 2)
    failed = body["status"]["failed"]
    assert (failed["version"], failed["sqlstate"], failed["line"]) == ("2", "22P02", 4)
    assert failed["file"].endswith("resumed/2_two.up.sql")
    assert failed["statement"].startswith("INSERT INTO one")
    message = condition(body, "Ready")["message"]
    assert "2_two.up.sql:4" in message and "22P02" in message and "invalid input syntax" in message, message
    assert tables(place, "resumed") == "one"
    first = "SELECT finished_at FROM pgwarden.migrations WHERE version = 1"
    applied = place.ask("modern-0", first, "resumed")
    place.apply(config_map("resumed", STEPS))
    # ConfigMaps are not watched; somebody in a hurry says so.
    place.kubectl("annotate", "databasemigration", "resumed", "pgwarden.dev/retry=fixed")
    body = place.until("databasemigration", "resumed", is_ready)
    assert standing(body) == ("3", "3", 3, 0)
    assert "failed" not in body["status"]
    assert place.ask("modern-0", first, "resumed") == applied


def test_what_is_done_and_what_is_to_come_shows_while_a_job_runs(place: Place, history: History) -> None:
    place.until("databasemigration", "slow", is_ready)
    running = [body for body in history.versions("databasemigrations", "slow") if "progress" in body.get("status", {})]
    second = [body for body in running if body["status"]["progress"]["detail"] == "2 two"]
    assert second, running
    progress = second[-1]["status"]["progress"]
    assert (progress["done"], progress["total"], progress["unit"]) == (1, 3, "files")
    assert condition(second[-1], "Ready")["reason"] == "Migrating"
    assert "progress" not in place.get("databasemigration", "slow")["status"]


def test_every_byte_of_a_file_arrives(place: Place) -> None:
    place.until("databasemigration", "exact", is_ready)
    digest = hashlib.sha256(HOSTILE.encode()).hexdigest()
    assert place.ask("modern-0", "SELECT encode(sha256(convert_to(text, 'UTF8')), 'hex') FROM exact", "exact") == digest
    assert place.ask("modern-0", "SELECT attname FROM pg_attribute WHERE attname = '$$'", "exact") == "$$"
    assert tables(place, "exact") == "$(X) dollars exact"
    recorded = place.ask("modern-0", "SELECT checksum FROM pgwarden.migrations WHERE version = 1", "exact")
    assert recorded == hashlib.sha256(EXACT["1_exact.up.sql"].encode()).hexdigest()
