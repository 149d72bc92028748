"""SQL that is long enough to be read on its own stands in files beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, LiteralString

import psycopg

from pgwarden.jobs.errors import TaskError


class PermissionDenied(Exception):
    """The role may not run a statement."""


@cache
def statement(name: str) -> LiteralString:
    """The statement in `sql/<name>.sql`; the file is part of the program, so its text is as trusted as a literal."""
    return (resources.files("pgwarden.postgres") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def query(
    connection: psycopg.Connection[tuple[Any, ...]], name: str, parameters: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """All rows of the statement `name`.

    Raises PermissionDenied, and TaskError with reason QueryFailed for any other error.
    """
    try:
        return connection.execute(statement(name), parameters or None).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise PermissionDenied(str(error)) from error
    except psycopg.Error as error:
        raise TaskError(
            "QueryFailed",
            f"the query {name} failed: {' '.join(str(error).split())} (SQLSTATE {error.sqlstate or 'unknown'})",
            remedy="The server's log tells more.",
            retryable=True,
        ) from error
