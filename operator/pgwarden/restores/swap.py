"""What a person runs to put restored databases, schemas or tables in the place of the originals. Pure.

pgwarden runs none of it: only people know when nothing writes to the original any more, and which rows are to stay.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pgwarden.restores.identifiers import database_argument, pattern, quoted, with_ending
from pgwarden.restores.resource import RestoredDatabase

OLD = "_before_restore"
LONGEST = 32768
"""Characters that a status has room for."""


def swap_of(wanted: RestoredDatabase) -> str:
    """SQL for psql where a whole database was restored, else a line for a shell."""
    text = copied_back(wanted) if wanted.schemas or wanted.tables else renamed(wanted)
    return text if len(text) <= LONGEST else ""


def renamed(wanted: RestoredDatabase) -> str:
    """Exchanges the two databases by name."""
    name, old = wanted.database, with_ending(wanted.database, OLD)
    return "\n".join(
        (
            "-- connected to neither of the two, once nothing else is; the original is kept",
            f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(old)};",
            f"ALTER DATABASE {quoted(wanted.new_name)} RENAME TO {quoted(name)};",
        )
    )


def copied_back(wanted: RestoredDatabase) -> str:
    """Copies what was restored into the original, where it is not there any more, all or nothing."""
    told = "# for what is gone; rename first what is there under its name (ALTER ... RENAME TO): nothing is overwritten"
    schemas = [f"--schema={pattern(each)}" for each in wanted.schemas]
    tables = [f"--table={pattern(each.schema_name, each.table_name)}" for each in wanted.tables]
    # Apart: where pg_dump is told of tables it leaves schemas out of account.
    return "\n".join([told, *(piped(wanted, options) for options in (schemas, tables) if options)])


def piped(wanted: RestoredDatabase, options: Sequence[str]) -> str:
    dump = ["pg_dump", database_argument(wanted.new_name), *map(shlex.quote, options)]
    load = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--single-transaction", database_argument(wanted.database)]
    return f"{' '.join(dump)} | {' '.join(load)}"
