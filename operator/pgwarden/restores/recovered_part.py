"""A part of a recovered copy: thinned to what is wanted, asked for what it needs, and dumped over the copy's socket."""

from __future__ import annotations

from collections.abc import Iterator

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_run import ToolFailed, ToolRun
from pgwarden.jobs.tools import environment, find_tool
from pgwarden.postgres import live, thinning
from pgwarden.postgres.databases import list_databases
from pgwarden.postgres.restored import RestoredServer
from pgwarden.restores.load_trouble import not_in_backup
from pgwarden.restores.loading import Needs
from pgwarden.restores.parts_contract import Part


class RecoveredPart:
    """One database of the copy, ready to be dumped."""

    def __init__(self, part: Part, server: RestoredServer, needs: Needs, major: int, context: AgentContext) -> None:
        self.part = part
        self.server = server
        self.needs = needs
        self.major = major
        self.context = context

    def options(self) -> list[str]:
        return []

    def chunks(self) -> Iterator[bytes]:
        """What pg_dump writes. Raises TaskError: DumpFailed, Stopped."""
        command = [
            str(find_tool("pg_dump", self.major)),
            f"--dbname={self.server.connection_string(self.part.database)}",
            "--no-password",
            "--format=custom",
            "--compress=0",
            "--no-publications",
            "--no-subscriptions",
            *([] if self.part.whole else ["--no-blobs"]),
            "--verbose",
        ]
        variables = {**environment(), **self.server.variables()}
        try:
            with ToolRun(command, variables, lambda _: self.context.check_stop()) as run:
                yield from run.chunks()
        except ToolFailed as error:
            raise TaskError(
                "DumpFailed",
                f"pg_dump of the recovered database {self.part.database!r} failed: {error}",
                remedy="See the log of the container `postgres`; restore another moment if the data are at fault.",
            ) from error


def recovered_part(part: Part, server: RestoredServer, major: int, context: AgentContext) -> RecoveredPart:
    """Takes away what is not wanted of the copy's database, and asks what the rest needs.

    Raises TaskError: DatabaseNotInBackup, PartNotFound, PartEntangled, DatabaseNotConnectable.
    """
    with server.connect() as connection:
        present = {each.name: each for each in list_databases(connection)}
        facts = present.get(part.database)
        if facts is None:
            there = ", ".join(name for name in present if not present[name].template)
            raise not_in_backup(f"at the restored moment there is no database {part.database!r}; there are {there}")
        grants = live.grants_on(connection, part.database)
        settings = live.settings_of(connection, part.database)
    with server.connect(part.database) as connection:
        findings = [
            f"{part.new_name}: event trigger {name} is left out" for name in thinning.drop_event_triggers(connection)
        ]
        if not part.whole:
            tables = {(each.schema_name, each.table_name) for each in part.tables}
            told = thinning.keep_only(connection, set(part.schemas), tables)
            findings += [f"{part.new_name}: {each}" for each in told]
        findings += [f"{part.new_name}: not taken over: ALTER DATABASE ... SET {each}" for each in settings]
        owners, roles = thinning.roles_named(connection)
        needs = Needs(
            encoding=facts.encoding,
            locale_provider=facts.locale_provider,
            collate=facts.collate,
            ctype=facts.ctype,
            locale=facts.locale,
            collation_version=facts.collation_version,
            owner=facts.owner,
            size_bytes=live.size_of(connection),
            owners=owners,
            roles=roles,
            extensions=thinning.extensions(connection),
            grants=grants,
            rows=thinning.row_counts(connection),
            findings=findings,
        )
    return RecoveredPart(part, server, needs, major, context)
