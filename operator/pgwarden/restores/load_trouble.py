"""What keeps parts from being loaded into a live server, as sentences with what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_meanings import meaning, meaning_of
from pgwarden.restores.identifiers import quoted
from pgwarden.restores.parts_contract import Part

SHOWN = 8


# In order: the first that matches wins. The sentences stand in PostgreSQL's src/backend and src/bin/pg_dump.
MEANINGS = (
    meaning(
        "No space left on device|Disk quota exceeded|could not extend file",
        "LiveServerFull",
        "The database was deleted again. Make room on that server's volume, or name another DatabaseCluster, in a new "
        "RestoreRequest.",
    ),
    meaning(
        'role "[^"]*" does not exist',
        "RolesMissing",
        "CREATE ROLE it on that server, or set target.into.withoutOwners, in a new RestoreRequest.",
    ),
    meaning(
        "permission denied|must be (a )?(superuser|owner|member|able)|only superusers",
        "LoadNotPermitted",
        "docs/sql/restore-role.sql tells what a role needs; where only a superuser may, name one's Secret in "
        "credentials.restore of the DatabaseCluster for this restore, or set target.into.withoutOwners.",
    ),
    meaning(
        "server closed the connection|terminating connection|connection to server .* failed|connection not open"
        "|could not send data|could not receive data|shutting down",
        "LoadInterrupted",
        "It is tried again by itself. The server's log at that moment tells why the session ended.",
        retryable=True,
    ),
)


def load_failed(part: Part, where: str, said: Sequence[str]) -> TaskError:
    """The TaskError for a pg_restore that failed; `said` are the last lines of its standard error."""
    text = "; ".join(said) or "it said nothing"
    found = meaning_of(text, MEANINGS)
    return TaskError(
        found.reason if found else "LoadFailed",
        f"loading {part.database!r} as {part.new_name!r} into {where} failed: {text}",
        remedy=found.remedy if found else "Nothing of it was left. The pod's log and the server's tell more.",
        retryable=found.retryable if found else False,
    )


def roles_in_the_way(where: str, user: str, missing: Sequence[str], not_ours: Sequence[str]) -> TaskError:
    """Roles that are not there, or that our role may not hand objects over to, with the SQL that mends it."""
    said = []
    if missing:
        said.append(f"{where} has no role {', '.join(map(quoted, missing[:SHOWN]))}")
    if not_ours:
        said.append(f"role {quoted(user)} may not hand objects over to {', '.join(map(quoted, not_ours[:SHOWN]))}")
    statements = [f"CREATE ROLE {quoted(each)};" for each in missing[:SHOWN]]
    statements += [f"GRANT {quoted(each)} TO {quoted(user)};" for each in not_ours[:SHOWN]]
    return TaskError(
        "RolesMissing",
        f"{' and '.join(said)}, and what is restored belongs to them or is granted to them",
        remedy=f"Run there: {' '.join(statements)} Or set target.into.withoutOwners in a new RestoreRequest.",
    )


def not_in_backup(message: str) -> TaskError:
    """A database is named that the backup does not have."""
    return TaskError(
        "DatabaseNotInBackup",
        message,
        remedy="Names are exact, capitals included. Correct target.into.databases in a new RestoreRequest.",
    )


def refuse_others(part: Part, absent: Sequence[str], strangers: Sequence[str]) -> None:
    """Raises TaskError with reason PartNotFound unless what was loaded is what was named, and nothing else."""
    told = [f"without {', '.join(absent[:SHOWN])}"] if absent else []
    told += [f"with {', '.join(strangers[:SHOWN])} beside"] if strangers else []
    if told:
        raise TaskError(
            "PartNotFound",
            f"what was loaded as {part.new_name!r} came {' and '.join(told)}",
            remedy="The database was deleted again. Names are exact, capitals included; where two names of the dump "
            "differ in blanks only, restore the whole database. Correct target.into.databases in a new RestoreRequest.",
        )


def rows_differ(part: Part, expected: Mapping[str, int], found: Mapping[str, int]) -> TaskError:
    """What was loaded has other rows than the recovered copy."""
    tables = sorted({name for name in {*expected, *found} if expected.get(name) != found.get(name)})
    told = ", ".join(f"{name}: {found.get(name, 'not there')} of {expected.get(name, 0)}" for name in tables[:SHOWN])
    return TaskError(
        "RowsDiffer",
        f"database {part.new_name!r} has other rows than the backup: {told}",
        remedy="The database was deleted again. Look at the pod's log, and report it: this must not happen.",
    )
