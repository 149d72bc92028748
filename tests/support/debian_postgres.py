"""PostgreSQL as Debian packages it, for what the wheels' releases are too old for: incremental backups.

programs = debian_programs()      # initdb, postgres, pg_combinebackup, ... of 17.12 or later
server = PostgresServer.create(17, programs=programs)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .debian import unpacked

PACKAGE = "postgresql-17"
PROGRAMS = "usr/lib/postgresql/17/bin"


@cache
def debian_programs() -> Path:
    """Folder with the programs of PostgreSQL 17; raises RuntimeError with what to install where a tool is missing."""
    return unpacked(PACKAGE, [PACKAGE], [f"{PROGRAMS}/*"]) / PROGRAMS
