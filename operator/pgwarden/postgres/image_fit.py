"""Whether a server's image has what the data on it were made with: extensions, libraries, versions of collations.

The names come from data whose users may have planted anything: they are quoted by the server (`%I`), and told, not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgwarden.postgres.connection import Connection
from pgwarden.postgres.errors import Error

EXTENSIONS = """
    SELECT format('%I', extname) FROM pg_extension e
    WHERE NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = e.extname) ORDER BY 1
"""
# As the server looks for them (PostgreSQL, src/backend/utils/fmgr/dfmgr.c, expand_dynamic_library_name).
LIBRARIES = """
    WITH folder AS (SELECT setting FROM pg_config() WHERE name = 'PKGLIBDIR'),
    named AS (
        SELECT DISTINCT probin AS library FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE l.lanname = 'c' AND probin IS NOT NULL
    ),
    placed AS (
        SELECT library, CASE WHEN starts_with(library, '$libdir/') THEN setting || substr(library, 8)
            WHEN strpos(library, '/') > 0 THEN library ELSE setting || '/' || library END AS path
        FROM named, folder
    )
    SELECT quote_literal(library) FROM placed
    WHERE (pg_stat_file(path, true)).size IS NULL AND (pg_stat_file(path || '.so', true)).size IS NULL ORDER BY 1
"""
# Collations of indexes; that of the database itself, whose version stands elsewhere, has the OID 100. What an
# exclusion constraint stands on cannot be rebuilt concurrently.
COLLATIONS = """
    SELECT c.oid, format('%I.%I', cn.nspname, c.collname), coalesce(c.collversion, d.datcollversion),
        format('%I', d.datname), array_agg(DISTINCT format('%I.%I', n.nspname, i.relname)),
        array_agg(DISTINCT format('%I.%I', n.nspname, i.relname)) FILTER (WHERE x.indisexclusion)
    FROM pg_index x
    CROSS JOIN LATERAL unnest(x.indcollation::oid[]) AS used (collation_oid)
    JOIN pg_collation c ON c.oid = used.collation_oid
    JOIN pg_namespace cn ON cn.oid = c.collnamespace
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_namespace n ON n.oid = i.relnamespace
    JOIN pg_database d ON d.datname = current_database()
    WHERE i.relkind = 'i' AND (c.collversion IS NOT NULL OR c.oid = 100 AND d.datcollversion IS NOT NULL)
    GROUP BY 1, 2, 3, 4 ORDER BY 2
"""
ACTUAL_VERSION = """
    SELECT CASE WHEN %(collation)s::oid = 100
        THEN (SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database())
        ELSE pg_collation_actual_version(%(collation)s::oid) END
"""


DEFAULT_COLLATION = 100
"""Its OID (PostgreSQL, src/include/catalog/pg_collation.dat)."""
MOST_INDEXES = 3
"""More of them are rebuilt with all others of the database."""


@dataclass(frozen=True)
class StaleCollation:
    """A collation that puts text into another order, perhaps, than when indexes of a database were built."""

    name: str
    recorded: str
    """Its version when they were."""
    actual: str
    """That of the server; empty where the server does not have the collation."""
    indexes: tuple[str, ...]
    """Those that use it, as `schema.index`, quoted."""
    rebuild: tuple[str, ...]
    """Statements that rebuild them."""
    refresh: str
    """The statement that takes note of the present version, once they are rebuilt."""


def missing_extensions(connection: Connection) -> list[str]:
    """Extensions of this database of which the server's image has no files; quoted. Raises Error."""
    return [str(name) for (name,) in connection.execute(EXTENSIONS)]


def missing_libraries(connection: Connection) -> list[str]:
    """Libraries that functions of this database are in and that the server's image does not have; quoted. Raises
    Error."""
    return [str(name) for (name,) in connection.execute(LIBRARIES)]


def stale_collations(connection: Connection) -> list[StaleCollation]:
    """Collations of this database's indexes that have another version than when they were built. Raises Error."""
    found = []
    for oid, name, recorded, database, indexes, exclusive in connection.execute(COLLATIONS).fetchall():
        actual = actual_version(connection, oid)
        if actual != recorded:
            rebuild = rebuilding(database, indexes, exclusive or [])
            of = f"DATABASE {database} REFRESH COLLATION" if oid == DEFAULT_COLLATION else f"COLLATION {name} REFRESH"
            found.append(StaleCollation(name, recorded, actual, tuple(indexes), rebuild, f"ALTER {of} VERSION"))
    return found


def rebuilding(database: str, indexes: Sequence[str], exclusive: Sequence[str]) -> tuple[str, ...]:
    """Statements that rebuild indexes; those of exclusion constraints are `exclusive`. All names are quoted. Pure."""
    concurrent = [index for index in indexes if index not in exclusive]
    if len(concurrent) > MOST_INDEXES:
        statements = [f"REINDEX DATABASE CONCURRENTLY {database}"]
    else:
        statements = [f"REINDEX INDEX CONCURRENTLY {index}" for index in concurrent]
    return (*statements, *(f"REINDEX INDEX {index}" for index in exclusive))


def actual_version(connection: Connection, collation: int) -> str:
    """The version that the server has of a collation; empty where it does not have it."""
    try:
        row = connection.execute(ACTUAL_VERSION, {"collation": collation}).fetchone()
    except Error:
        return ""
    return str(row[0]) if row is not None and row[0] is not None else ""
