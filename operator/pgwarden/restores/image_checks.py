"""Checks of whether the server's image suits the restored data. What does not suit is told and hands over all the same:
the data are whole, and in another image, or with their indexes rebuilt, all of it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgwarden.postgres.connection import Connection
from pgwarden.postgres.errors import Error
from pgwarden.postgres.image_fit import (
    MOST_INDEXES,
    StaleCollation,
    missing_extensions,
    missing_libraries,
    stale_collations,
)
from pgwarden.postgres.restored import RestoredServer, one_line
from pgwarden.restores.contract import CheckResult

DETAIL_CHARACTERS = 200


def image_checks(server: RestoredServer, databases: Sequence[str]) -> tuple[list[CheckResult], list[str]]:
    """The checks, and a finding for each thing that a person has to see to.

    Raises TaskError: DatabaseNotConnectable.
    """
    extensions: list[str] = []
    collations: list[str] = []
    for database in databases:
        with server.connect(database) as connection:
            extensions += [f"database {database}: {each}" for each in looked(connection, without_files)]
            collations += [f"database {database}: {each}" for each in looked(connection, in_another_order)]
    return [
        result("extensions", extensions, "the server's image has all of them, and their libraries"),
        result("collations", collations, "indexes are in the order of the collations that the server has"),
    ], [*extensions, *collations]


def looked(connection: Connection, look: Callable[[Connection], list[str]]) -> list[str]:
    """What a look finds; one that fails is told, and keeps no restore from being handed over."""
    try:
        return look(connection)
    except Error as error:
        return [f"whether the image suits could not be looked at: {one_line(error)}"]


def without_files(connection: Connection) -> list[str]:
    return [
        *(f"extension {each} is not in the server's image" for each in missing_extensions(connection)),
        *(f"library {each} of functions in C is not in the server's image" for each in missing_libraries(connection)),
    ]


def in_another_order(connection: Connection) -> list[str]:
    return [sentence for stale in stale_collations(connection) for sentence in in_words(stale)]


def in_words(stale: StaleCollation) -> list[str]:
    """A collation and its indexes, then the statements that mend them, each by itself: status cuts long sentences."""
    has = f"has {stale.actual}" if stale.actual else "does not have it"
    used = f"{len(stale.indexes)} indexes" if len(stale.indexes) > MOST_INDEXES else ", ".join(stale.indexes)
    return [
        f"another version of collation {stale.name} ({stale.recorded}; the server {has}) ordered {used}",
        *(f"rebuild: {statement}" for statement in stale.rebuild),
        f"then: {stale.refresh}",
    ]


def result(name: str, problems: Sequence[str], well: str) -> CheckResult:
    """A check that tells what is wrong, and refuses nothing."""
    detail = "; ".join(problems)[:DETAIL_CHARACTERS] if problems else well
    return CheckResult(name=name, passed=not problems, detail=detail, built_in=True, advisory=True)
