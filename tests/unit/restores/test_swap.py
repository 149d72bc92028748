"""What is printed to put restored parts in place means what it says, whatever the names hold. A real shell reads it."""

from __future__ import annotations

import subprocess

import pytest

from pgwarden.restores.resource import RestoredDatabase
from pgwarden.restores.swap import swap_of

HOSTILE = 'it\'s $(touch x) "q" \\ `y`\n--z'


def words(line: str) -> list[list[str]]:
    """What a shell makes of the two commands of a pipe: the arguments of each."""
    show = (
        'show() { for each in "$@"; do printf \'%s\\0\' "$each"; done; printf \'\\1\'; }; pg_dump() { show "$@" >&2; }'
    )
    script = f'{show}; psql() {{ show "$@" >&2; }}; {line.replace(" | ", " ; ")}'
    told = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, check=True).stderr.decode()
    return [each.rstrip("\0").split("\0") for each in told.split("\1")[:-1]]


def test_whole_databases_are_exchanged_by_name_and_the_original_is_kept() -> None:
    told = swap_of(RestoredDatabase(database='the "shop"', new_name="shop then"))
    assert told.splitlines()[1:] == [
        'ALTER DATABASE "the ""shop""" RENAME TO "the ""shop""_before_restore";',
        'ALTER DATABASE "shop then" RENAME TO "the ""shop""";',
    ]


def test_the_name_that_is_kept_is_one_that_postgresql_does_not_cut() -> None:
    name = "ä" * 31
    told = swap_of(RestoredDatabase(database=name, new_name="x"))
    kept = told.splitlines()[1].split('"')[3]
    assert len(kept.encode()) <= 63 and kept.endswith("_before_restore") and name.startswith(kept[:10])


@pytest.mark.parametrize("name", ["shop", HOSTILE, "-rf", "a=b"])
def test_tables_and_schemas_are_copied_by_commands_whose_arguments_are_exact(name: str) -> None:
    tables = [{"schemaName": name, "tableName": name}]
    wanted = RestoredDatabase.model_validate({"database": name, "newName": name, "schemas": [name], "tables": tables})
    comment, told = swap_of(wanted).split("\n", 1)
    assert comment.startswith("# ")
    quoted = '"' + name.replace('"', '""') + '"'
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    into = ["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--dbname=dbname='{escaped}'"]
    found = words(told)
    assert found == [
        [f"--dbname=dbname='{escaped}'", f"--schema={quoted}"],
        into,
        [f"--dbname=dbname='{escaped}'", f"--table={quoted}.{quoted}"],
        into,
    ]
