"""What the demo asks the databases: fingerprints of every table before and after."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hack.demo.shell import Demo

# One row per table of every schema of ours: how many rows, and a checksum over all of them in one order.
TABLES = """
SELECT json_agg(json_build_object('schema', n.nspname, 'table', c.relname) ORDER BY n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
"""
FINGERPRINT = """
SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '-') FROM {table} AS t
"""


@dataclass(frozen=True)
class Fingerprint:
    """What one table holds."""

    table: str
    rows: int
    checksum: str


def query(demo: Demo, pod: str, database: str, sql: str, *, password: str | None = None) -> str:
    """Runs SQL in a pod as the superuser, and returns what it answers; the password never becomes an argument."""
    psql = f"psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=postgres {database}"
    if password is None:
        script, text = psql, sql
    else:
        host = "--host=127.0.0.1"
        script, text = f"read -r PGPASSWORD; export PGPASSWORD; {psql} {host}", f"{password}\n{sql}"
    return demo.kubectl("exec", "--stdin", pod, "--container", "postgres", "--", "sh", "-c", script, text=text).strip()


def fingerprints(demo: Demo, pod: str, database: str, *, password: str | None = None) -> list[Fingerprint]:
    """The fingerprints of all tables."""
    tables = json.loads(query(demo, pod, database, TABLES, password=password) or "[]")
    found = []
    for entry in tables:
        name = f'"{entry["schema"]}"."{entry["table"]}"'
        rows, checksum = query(demo, pod, database, FINGERPRINT.format(table=name), password=password).split(" ", 1)
        found.append(Fingerprint(f"{entry['schema']}.{entry['table']}", int(rows), checksum))
    return found
