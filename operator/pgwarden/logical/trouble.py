"""What pg_dump's complaints mean and what to do about them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_meanings import meaning, meaning_of

SCRIPT = "docs/sql/logical-backup-role.sql makes a role that may read everything."


# In order: the first that matches wins. The sentences stand in PostgreSQL's src/bin/pg_dump and src/backend.
MEANINGS = (
    meaning(
        r"canceling statement due to (lock|statement) timeout.*LOCK TABLE|could not obtain lock on relation",
        "TableLocked",
        "It is tried again by itself. End the session that holds the lock, or raise lockTimeoutSeconds.",
        retryable=True,
    ),
    meaning(
        "query would be affected by row-level security policy",
        "RowSecurity",
        "A dump with rows missing is no backup: ALTER ROLE ... BYPASSRLS for the backup role, or exclude the table.",
    ),
    meaning("permission denied", "DumpNotPermitted", f"Grant what is missing, or exclude it. {SCRIPT}"),
    meaning(
        "no matching (tables|schemas) were found",
        "NothingMatches",
        "Correct spec.logical.schemas and tables: in each database that is dumped something has to match, and "
        "patterns of tables name the schema (public.orders, *.orders).",
    ),
    meaning(
        "server version mismatch",
        "AgentImageMismatch",
        "Set the chart's value images.agent to the agent image of the server's major version.",
    ),
    meaning(
        "No space left on device|could not write to (output )?file|Disk quota exceeded",
        "ScratchFull",
        "Raise spec.logical.scratch.size in a new DatabaseBackup; it has to hold the largest database's dump.",
    ),
    meaning(
        "server closed the connection|terminating connection|connection to server .* failed|could not receive data"
        "|connection not open|shutting down|invalid snapshot identifier|could not import the requested snapshot",
        "DumpInterrupted",
        "It is tried again by itself. The server's log at that moment tells why the session ended.",
        retryable=True,
    ),
)


def dump_failed(tool: str, database: str, said: Sequence[str], blockers: Sequence[str]) -> TaskError:
    """The TaskError for a tool that failed on a database; `said` are the last lines of its standard error."""
    text = "; ".join(said) or "it said nothing"
    found = meaning_of(text, MEANINGS)
    in_the_way = f" (in the way: {', '.join(blockers)})" if blockers and found and found.retryable else ""
    return TaskError(
        found.reason if found else "DumpFailed",
        f"{tool} of database {database} failed{in_the_way}: {text}",
        remedy=found.remedy if found else "The server's log at that moment tells more.",
        retryable=found.retryable if found else True,
    )
