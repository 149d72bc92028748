"""SQL that is long enough to be read on its own stands in files beside this one."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The statement in `sql/<name>.sql`; the file is part of the program, so its text is as trusted as a literal."""
    return (resources.files("pgwarden.postgres") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
