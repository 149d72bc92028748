"""Which databases are dumped, and which options say so to pg_dump. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pgwarden.jobs.errors import TaskError
from pgwarden.logical.contract import LogicalBackupTask, Selection
from pgwarden.logical.record import LeftOut
from pgwarden.postgres.databases import ServerDatabase

# Databases of RDS and Aurora, Cloud SQL, AlloyDB and Azure that nobody but the provider may connect to.
PROVIDERS_OWN = frozenset(
    {"rdsadmin", "cloudsqladmin", "alloydbadmin", "alloydbmetadata", "azure_maintenance", "azure_sys"}
)


def chosen(databases: Sequence[ServerDatabase], wanted: Selection) -> tuple[list[ServerDatabase], list[LeftOut]]:
    """The databases to dump, and those left out, each with the reason.

    Raises TaskError: DatabaseNotFound when one that is named does not exist or cannot be dumped, NothingToDump.
    """
    names = {database.name for database in databases}
    absent = [name for name in wanted.include if name not in names]
    if absent:
        raise TaskError(
            "DatabaseNotFound",
            f"the server has no database {', '.join(absent)}",
            remedy="Correct spec.logical.databases.include of the DatabaseBackup.",
        )
    taken, left_out = [], []
    for database in databases:
        why = why_not(database, wanted)
        if why and database.name in wanted.include and database.name not in wanted.exclude:
            raise TaskError(
                "DatabaseNotFound",
                f"the database {database.name} cannot be dumped: {why}",
                remedy="Take it out of spec.logical.databases.include of the DatabaseBackup.",
            )
        if why:
            left_out.append(LeftOut(name=database.name, why=why))
        else:
            taken.append(database)
    if not taken:
        raise TaskError(
            "NothingToDump",
            "no database is left to be dumped",
            remedy="Look at spec.logical.databases of the DatabaseBackup.",
        )
    return taken, left_out


def why_not(database: ServerDatabase, wanted: Selection) -> str:
    """Why a database is not dumped; empty when it is."""
    if database.name in wanted.exclude:
        return "excluded"
    if not database.allows_connections:
        return "it allows no connections"
    if database.half_dropped:
        return "a DROP DATABASE of it was interrupted"
    if wanted.include:
        return "" if database.name in wanted.include else "not included"
    if database.template:
        return "a template"
    if database.name in PROVIDERS_OWN:
        return "the cloud provider's own"
    return ""


def dump_options(task: LogicalBackupTask) -> list[str]:
    """Options of pg_dump that choose what is dumped."""
    flags = (
        ("--schema", task.schemas.include),
        ("--exclude-schema", task.schemas.exclude),
        ("--table", task.tables.include),
        ("--exclude-table", task.tables.exclude),
    )
    return [f"{flag}={pattern}" for flag, patterns in flags for pattern in patterns]
