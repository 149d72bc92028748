"""Takes away from a recovered copy, which is thrown away afterwards, whatever is not to be restored out of it.

What is left is then dumped as a whole. So types, functions, sequences and extensions that a table needs come along, and
names are compared with names and never become patterns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.connection import Connection
from pgwarden.postgres.statements import query

KINDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}
NEW_REQUEST = "Correct target.into.databases in a new RestoreRequest."


@dataclass(frozen=True)
class Relation:
    """A table, view, materialized view or foreign table."""

    oid: int
    schema: str
    name: str
    kind: str
    """As pg_class.relkind."""
    quoted: str
    """Schema and name as SQL has them."""
    partition: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


def relations(connection: Connection) -> list[Relation]:
    """All of the database that belong to people. Raises as `query`."""
    return [Relation(*row) for row in query(connection, "user_relations")]


def drop_event_triggers(connection: Connection) -> list[str]:
    """Drops them: they would act while the copy is thinned, and in the new database before anybody has looked at it.

    Returns their names.
    """
    names = [str(name) for (name,) in connection.execute("SELECT evtname FROM pg_event_trigger ORDER BY 1").fetchall()]
    for name in names:
        connection.execute(sql.SQL("DROP EVENT TRIGGER {}").format(sql.Identifier(name)))
    return names


def keep_only(connection: Connection, schemas: Collection[str], tables: Collection[tuple[str, str]]) -> list[str]:
    """Drops all relations but those of the schemas and those named; partitions stay with their parent.

    Returns sentences about what is lost with what was dropped. Raises TaskError: PartNotFound, PartEntangled.
    """
    present = relations(connection)
    refuse_absent(connection, present, schemas, tables)
    edges = query(connection, "partition_edges")
    wanted = named_ones(present, edges, schemas, tables)
    keys = query(connection, "foreign_keys")
    told = [
        f"foreign key {name} is left out: it leads to a table that is not restored"
        for table, other, name in keys
        if table in wanted and other not in wanted
    ]
    told += set_free(connection, edges, wanted)
    before = shapes(connection, wanted)
    for each in present:
        if each.oid not in wanted:
            statement = sql.SQL("DROP {} IF EXISTS {} CASCADE")
            connection.execute(statement.format(sql.SQL(KINDS[each.kind]), each.identifier))
    if gone := sorted(before - shapes(connection, wanted)):
        raise TaskError(
            "PartEntangled",
            f"without the tables that are not wanted these would not be what they were: {', '.join(gone[:8])}",
            remedy="Name in target.into.databases also what they depend on, or restore the whole database, in a new "
            "RestoreRequest.",
        )
    return told


def refuse_absent(
    connection: Connection,
    present: Sequence[Relation],
    schemas: Collection[str],
    tables: Collection[tuple[str, str]],
) -> None:
    """Raises TaskError with reason PartNotFound."""
    there = {str(name) for (name,) in connection.execute("SELECT nspname FROM pg_namespace").fetchall()}
    known = {(each.schema, each.name) for each in present}
    absent = [f"schema {name!r}" for name in sorted(set(schemas) - there)]
    absent += [f"table {name!r} in schema {schema!r}" for schema, name in sorted(set(tables) - known)]
    if absent:
        raise TaskError(
            "PartNotFound",
            f"at the restored moment there is no {', no '.join(absent[:8])}",
            remedy=f"Names are exact, capitals included; choose a moment at which it was there. {NEW_REQUEST}",
        )


def others_than(
    connection: Connection, schemas: Collection[str], tables: Collection[tuple[str, str]]
) -> tuple[list[str], list[str]]:
    """What is not there of the tables named, and what is there beside them and the schemas: as SQL has their names."""
    present = relations(connection)
    wanted = named_ones(present, query(connection, "partition_edges"), schemas, tables)
    known = {(each.schema, each.name) for each in present}
    absent = [sql.Identifier(*each).as_string(connection) for each in sorted(set(tables) - known)]
    return absent, [each.quoted for each in present if each.oid not in wanted]


def named_ones(
    present: Sequence[Relation],
    edges: Sequence[Sequence[Any]],
    schemas: Collection[str],
    tables: Collection[tuple[str, str]],
) -> set[int]:
    """The relations of the schemas and those named, with their partitions and what inherits from them."""
    children: dict[int, list[int]] = {}
    for parent, child, *_ in edges:
        children.setdefault(parent, []).append(child)
    named = [each.oid for each in present if each.schema in schemas or (each.schema, each.name) in tables]
    return with_descendants(named, children)


def with_descendants(named: Iterable[int], children: dict[int, list[int]]) -> set[int]:
    """The relations, and what inherits from them."""
    found, coming = set(), list(named)
    while coming:
        if (each := coming.pop()) not in found:
            found.add(each)
            coming += children.get(each, [])
    return found


def set_free(connection: Connection, edges: Sequence[Sequence[object]], wanted: set[int]) -> list[str]:
    """Lets go of parents that are not wanted, which would take their children with them."""
    told = []
    for parent, child, parent_schema, parent_name, child_schema, child_name, partitioned in edges:
        if child not in wanted or parent in wanted:
            continue
        above = sql.Identifier(str(parent_schema), str(parent_name))
        below = sql.Identifier(str(child_schema), str(child_name))
        if partitioned:
            connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(above, below))
        else:
            connection.execute(sql.SQL("ALTER TABLE {} NO INHERIT {}").format(below, above))
        told.append(
            f"table {child_schema}.{child_name} stands by itself: {parent_schema}.{parent_name} is not restored"
        )
    return told


def shapes(connection: Connection, wanted: Collection[int]) -> set[str]:
    """What the relations are made of."""
    return {str(each) for (each,) in query(connection, "relation_shapes", (list(wanted), list(wanted)))}


def roles_named(connection: Connection) -> tuple[list[str], list[str]]:
    """Roles that own something in the database, and those that are named in privileges and policies alone."""
    rows = query(connection, "roles_named")
    return [str(role) for role, owns in rows if owns], [str(role) for role, owns in rows if not owns]


def extensions(connection: Connection) -> dict[str, str]:
    """Name and version of the extensions, but for the one that every new database has."""
    return {str(name): str(version) for name, version in query(connection, "extensions") if name != "plpgsql"}


def row_counts(connection: Connection) -> dict[str, int]:
    """Rows of every table, partitions counted with their parent, by schema and name as SQL has them."""
    tables = [each for each in relations(connection) if each.kind in "rp" and not each.partition]
    counts = {}
    for each in tables:
        rows = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(each.identifier)).fetchall()
        counts[each.quoted] = int(rows[0][0])
    return counts
