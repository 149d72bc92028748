"""Names as a person pastes them into psql or a shell. What pgwarden runs itself is quoted by psycopg. Pure."""

from __future__ import annotations

import shlex

LONGEST = 63
"""Bytes, PostgreSQL documentation: "SQL Syntax > Identifiers and Key Words"."""


def quoted(name: str) -> str:
    """A name as SQL has it, quoted whether it must be or not."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def with_ending(name: str, ending: str) -> str:
    """`name` cut to leave room for `ending` within what PostgreSQL keeps of a name."""
    kept = name.encode()[: LONGEST - len(ending.encode())].decode(errors="ignore")
    return f"{kept}{ending}"


def database_argument(name: str) -> str:
    """--dbname=... for a shell: a connection string, as a name with = in it would be taken for one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return shlex.quote(f"--dbname=dbname='{escaped}'")


def pattern(*names: str) -> str:
    """Names as a pattern of pg_dump that matches nothing else (PostgreSQL documentation: "psql > Patterns")."""
    return ".".join(map(quoted, names))
