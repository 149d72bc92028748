"""Extensions and collations that the server's image has not, or has in another version, are told with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.postgres import PostgresServer
from tests.support.restore_pod import RestorePod

from .conftest import Restore, findings

NewPostgres = Callable[..., PostgresServer]
COLLATION = "pg_catalog.pg_c_utf8"
"""One of PostgreSQL's own, with a version, whatever libraries the build has."""


def checks(pod: RestorePod) -> dict[str, tuple[bool, str]]:
    """Whether the checks of the image passed, and what they say."""
    return {each["name"]: (each["passed"], each["detail"]) for each in pod.report["checks"] if each["advisory"]}


def of_databases(pod: RestorePod) -> list[str]:
    """What was found in databases; the settings that a copy does not take over are told as well."""
    return [each for each in findings(pod) if each.startswith("database ")]


@pytest.fixture
def original(major: int, new_postgres: NewPostgres) -> PostgresServer:
    """A server with an extension, and two databases that order text by versions that can be told."""
    server = new_postgres(major)
    server.execute(
        "CREATE EXTENSION btree_gist",
        "CREATE EXTENSION pg_prewarm",
        """CREATE DATABASE "O'Hara; --" TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'""",
        "CREATE TABLE people (name text COLLATE pg_c_utf8)",
        'CREATE INDEX "by; DROP" ON people (name)',
        "CREATE TABLE rooms (name text COLLATE pg_c_utf8, EXCLUDE USING gist (name WITH =))",
    )
    server.execute(
        "CREATE TABLE words (word text)",
        "CREATE INDEX a ON words (word)",
        "CREATE INDEX b ON words (lower(word))",
        "CREATE INDEX c ON words (word, lower(word))",
        "CREATE INDEX d ON words (upper(word))",
        database="O'Hara; --",
    )
    return server


def test_an_image_with_all_that_the_data_need_passes(original: PostgresServer, restore: Restore) -> None:
    pod = restore(original)
    assert checks(pod) == {
        "extensions": (True, "the server's image has all of them, and their libraries"),
        "collations": (True, "indexes are in the order of the collations that the server has"),
    }
    assert of_databases(pod) == []


def test_what_the_image_lacks_is_named_and_the_data_are_handed_over(original: PostgresServer, restore: Restore) -> None:
    original.execute(
        """INSERT INTO pg_extension SELECT 16000, 'geo"; DROP TABLE people; --', extowner, extnamespace,
        extrelocatable, extversion FROM pg_extension WHERE extname = 'plpgsql'""",
        "UPDATE pg_proc SET probin = '$libdir/taken''away' WHERE probin = '$libdir/pg_prewarm'",
        "UPDATE pg_proc SET probin = 'gone' WHERE probin = '$libdir/btree_gist' AND proname = 'gbt_text_union'",
    )
    pod = restore(original)
    told = [
        """database postgres: extension "geo""; DROP TABLE people; --" is not in the server's image""",
        "database postgres: library '$libdir/taken''away' of functions in C is not in the server's image",
        "database postgres: library 'gone' of functions in C is not in the server's image",
    ]
    assert of_databases(pod) == told
    passed, detail = checks(pod)["extensions"]
    assert not passed
    assert detail.startswith(told[0])
    with pod.instance() as copy:
        assert copy.query("SELECT count(*) FROM people") == 0


def test_indexes_of_another_order_are_named_with_statements_that_rebuild_them(
    original: PostgresServer, restore: Restore
) -> None:
    original.execute(
        "UPDATE pg_collation SET collversion = '0' WHERE collname = 'pg_c_utf8'",
        "UPDATE pg_database SET datcollversion = '0' WHERE datname LIKE 'O%'",
    )
    pod = restore(original)
    told = of_databases(pod)
    excluding = "public.rooms_name_excl"
    assert told == [
        """database O'Hara; --: another version of collation pg_catalog."default" (0; the server has 1) ordered 4"""
        " indexes",
        """database O'Hara; --: rebuild: REINDEX DATABASE CONCURRENTLY "O'Hara; --\"""",
        """database O'Hara; --: then: ALTER DATABASE "O'Hara; --" REFRESH COLLATION VERSION""",
        f"database postgres: another version of collation {COLLATION} (0; the server has 1) ordered"
        f' public."by; DROP", {excluding}',
        """database postgres: rebuild: REINDEX INDEX CONCURRENTLY public."by; DROP\"""",
        f"database postgres: rebuild: REINDEX INDEX {excluding}",
        f"database postgres: then: ALTER COLLATION {COLLATION} REFRESH VERSION",
    ]
    assert not checks(pod)["collations"][0]
    with pod.instance() as copy:
        for database in ("O'Hara; --", "postgres"):
            with copy.connect(database) as connection:
                for statement in statements(told, database):
                    connection.execute(statement.encode())
        assert copy.query("SELECT collversion FROM pg_collation WHERE collname = 'pg_c_utf8'") == "1"
        assert copy.query("SELECT datcollversion FROM pg_database WHERE datname LIKE 'O%'") == "1"


def statements(told: list[str], database: str) -> list[str]:
    """Those that the findings name for a database."""
    of_it = [each.removeprefix(f"database {database}: ") for each in told if each.startswith(f"database {database}: ")]
    return [each.partition(": ")[2] for each in of_it if each.startswith(("rebuild: ", "then: "))]
