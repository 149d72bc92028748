"""The table of contents of a dump, as `pg_restore --list --verbose` prints it, and what to take of it. Pure.

An entry is a line `<id>; <catalog> <oid> <description> <schema> <name> <owner>`, beneath it what it depends on. Nothing
is quoted there, and line breaks in names are blanks (PostgreSQL, src/bin/pg_dump/pg_backup_archiver.c,
PrintTOCSummary): so names that hold blanks may be mistaken. Whoever loads by such a list compares afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.parts_contract import Part, TableName

ENTRY = re.compile(r"(?P<id>\d+); \d+ \d+ (?P<text>.*)")
DEPENDENCIES = ";\tdepends on:"
RELATIONS = ("TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE")
ABOUT_RELATIONS = ("TABLE DATA", "TABLE ATTACH", "MATERIALIZED VIEW DATA")
CREATE_ROLE = re.compile(r'^CREATE ROLE (?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^\s";]+));$', re.MULTILINE)
ATTACH = "TABLE ATTACH "
FOREIGN_KEY = "FK CONSTRAINT "
SCHEMA = "SCHEMA - "
SHOWN = 8
LARGE_OBJECTS = ("BLOB",)
# They would act in the new database before anybody has looked at it.
NEVER = ("EVENT TRIGGER ", "COMMENT - EVENT TRIGGER ")


@dataclass
class Entry:
    """One thing in a dump."""

    id: int
    line: str
    text: str
    """Description, schema, name and owner."""
    needs: list[int] = field(default_factory=list)
    """What it depends on."""

    @property
    def relation(self) -> str:
        """Schema, name and owner of a table, view or their like; empty for what is none."""
        if self.text.startswith(tuple(f"{kind} " for kind in ABOUT_RELATIONS)):
            return ""
        return next((self.text[len(kind) + 1 :] for kind in RELATIONS if self.text.startswith(f"{kind} ")), "")


def entries(listing: str) -> list[Entry]:
    """The entries of a table of contents, in order."""
    found: list[Entry] = []
    for line in listing.split("\n"):
        if match := ENTRY.fullmatch(line):
            found.append(Entry(int(match["id"]), line, match["text"]))
        elif line.startswith(DEPENDENCIES) and found:
            found[-1].needs = [int(each) for each in line[len(DEPENDENCIES) :].split()]
    return found


def chosen(listed: Sequence[Entry], part: Part) -> list[Entry]:
    """What of a dump is loaded for a part: everything but other tables and views, and what depends on these.

    Raises TaskError: PartNotFound, PartEntangled.
    """
    left_out = {each.id for each in listed if each.text.startswith(NEVER)}
    wanted: set[int] = set()
    if not part.whole:
        refuse_absent(listed, part)
        left_out |= {each.id for each in listed if each.text.startswith(LARGE_OBJECTS)}
        wanted = with_children(listed, {each.id for each in listed if is_wanted(each, part)})
        left_out |= {each.id for each in listed if each.relation and each.id not in wanted}
    left_out = with_dependents(listed, left_out)
    if lost := [each.relation for each in listed if each.id in wanted & left_out]:
        raise TaskError(
            "PartEntangled",
            f"without the tables that are not wanted these would not be what they were: {', '.join(lost[:SHOWN])}",
            remedy="Name in target.into.databases also what they depend on, or restore the whole database, in a new "
            "RestoreRequest.",
        )
    return [each for each in listed if each.id not in left_out]


def left_out_keys(listed: Iterable[Entry], taken: Iterable[Entry]) -> list[str]:
    """Foreign keys that are not taken although their table is: schema, table, name and owner."""
    kept = {each.id for each in taken}
    return [
        each.text[len(FOREIGN_KEY) :]
        for each in listed
        if each.text.startswith(FOREIGN_KEY) and each.id not in kept and kept & set(each.needs)
    ]


def refuse_absent(listed: Sequence[Entry], part: Part) -> None:
    """Raises TaskError with reason PartNotFound."""
    relations = [each.relation for each in listed if each.relation]
    names = [each.text[len(SCHEMA) :] for each in listed if each.text.startswith(SCHEMA)]
    absent = [
        f"schema {schema!r}"
        for schema in part.schemas
        if not any(each.startswith(f"{one_line(schema)} ") for each in [*names, *relations])
    ]
    absent += [
        f"table {each.table_name!r} in schema {each.schema_name!r}"
        for each in part.tables
        if not any(told.startswith(head(each)) for told in relations)
    ]
    if absent:
        raise TaskError(
            "PartNotFound",
            f"the dump of database {part.database!r} has no {', no '.join(absent[:SHOWN])}",
            remedy="Names are exact, capitals included. Correct target.into.databases in a new RestoreRequest.",
        )


def head(table: TableName) -> str:
    """How what is told of a table begins."""
    return f"{one_line(table.schema_name)} {one_line(table.table_name)} "


def is_wanted(entry: Entry, part: Part) -> bool:
    """Whether an entry may be a table or view that was named, or lie in a schema that was."""
    heads = [f"{one_line(schema)} " for schema in part.schemas]
    heads += [head(table) for table in part.tables]
    return bool(entry.relation) and entry.relation.startswith(tuple(heads))


def with_children(listed: Sequence[Entry], wanted: set[int]) -> set[int]:
    """The tables, with their partitions and what inherits from them."""
    tables = {each.id: each for each in listed if each.relation}
    edges = [(parent, each.id) for each in tables.values() for parent in each.needs if parent in tables]
    edges += attachments(listed)
    # A view needs tables as well, and is no child of theirs.
    edges = [(parent, child) for parent, child in edges if "VIEW" not in tables[child].text.split(" ", 2)[:2]]
    return grown(wanted, edges)


def attachments(listed: Sequence[Entry]) -> list[tuple[int, int]]:
    """Partitioned tables and their partitions."""
    tables = {each.id: each for each in listed if each.relation}
    found = []
    for attached in (each for each in listed if each.text.startswith(ATTACH)):
        child = next(
            (i for i in attached.needs if i in tables and tables[i].relation == attached.text[len(ATTACH) :]), 0
        )
        found += [(parent, child) for parent in attached.needs if child and parent in tables and parent != child]
    return found


def with_dependents(listed: Sequence[Entry], ids: set[int]) -> set[int]:
    """The entries, and all that depend on them. A partition is made without its parent, and attached to it later."""
    apart = set(attachments(listed))
    edges = [(needed, each.id) for each in listed for needed in each.needs]
    return grown(ids, [edge for edge in edges if edge not in apart])


def grown(ids: set[int], edges: Iterable[tuple[int, int]]) -> set[int]:
    """All that can be reached from `ids`."""
    following: dict[int, list[int]] = {}
    for one, other in edges:
        following.setdefault(one, []).append(other)
    found, coming = set(), list(ids)
    while coming:
        if (each := coming.pop()) not in found:
            found.add(each)
            coming += following.get(each, [])
    return found


def owners_of(taken: Iterable[Entry], known: Iterable[str]) -> list[str]:
    """Roles that the entries belong to; of a role that is not among those `known` the last word."""
    by_length = sorted(known, key=len, reverse=True)
    return sorted(set(_owners(taken, by_length)))


def _owners(taken: Iterable[Entry], known: Sequence[str]) -> Iterator[str]:
    for entry in taken:
        if entry.text.endswith(" "):  # it belongs to nobody
            continue
        fitting = (role for role in known if entry.text.endswith(f" {one_line(role)}"))
        owner = next(fitting, entry.text.rsplit(" ", 1)[-1])
        if not owner.startswith("pg_"):
            yield owner


def roles_in(globals_sql: str) -> list[str]:
    """Roles that pg_dumpall --globals-only makes."""
    return [
        match["quoted"].replace('""', '"') if match["quoted"] is not None else match["plain"]
        for match in CREATE_ROLE.finditer(globals_sql)
    ]


def one_line(name: str) -> str:
    """A name as the table of contents has it."""
    return name.replace("\n", " ").replace("\r", " ")
