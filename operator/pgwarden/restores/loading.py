"""Puts dumps into a live server: one new database for each part, whole and checked before it gets its name.

Nothing that exists is ever changed. What an attempt left half done bears a name of the request's own, is deleted when
the attempt fails, and at the latest by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from pgwarden.api.quantities import human_bytes
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_run import ToolFailed, ToolRun
from pgwarden.jobs.tools import environment, find_tool
from pgwarden.postgres import live
from pgwarden.postgres.client_files import ClientFiles, client_files
from pgwarden.postgres.live import LiveServer, NewDatabase
from pgwarden.postgres.thinning import others_than, row_counts
from pgwarden.restores.load_trouble import load_failed, refuse_others, roles_in_the_way, rows_differ
from pgwarden.restores.parts_contract import LiveTarget, Part, PartReport, TableRows, working_name
from pgwarden.restores.steps import Steps

LOOK_SECONDS = 2.0
MARKED_COUNTS = 50
"""How many tables' rows are told by a database's comment."""


@dataclass
class Needs:
    """What a part needs of the live server."""

    encoding: str
    locale_provider: str
    collate: str
    ctype: str
    locale: str | None
    collation_version: str | None
    owner: str
    size_bytes: int
    """About how large the database will be; 0 where nothing tells."""
    owners: Sequence[str]
    roles: Sequence[str]
    """Named in privileges and policies alone."""
    extensions: Mapping[str, str]
    """Name and version."""
    grants: Sequence[tuple[str, str]] | None = None
    """Privileges on the database itself; None those of any new one."""
    rows: Mapping[str, int] | None = None
    """Rows of each table; None where nothing tells."""
    findings: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where a part comes from."""

    @property
    def needs(self) -> Needs: ...

    def options(self) -> list[str]:
        """Options of pg_restore that this source adds, the folder to read from among them."""
        ...

    def chunks(self) -> Iterator[bytes] | None:
        """The dump in custom format; None where pg_restore reads it from a folder."""
        ...


class Loader:
    """Loads the parts of one request into its live server."""

    def __init__(
        self, into: LiveTarget, request_uid: str, major: int, context: AgentContext, *, data_major: int | None = None
    ) -> None:
        self.into = into
        self.request_uid = request_uid
        self.major = major
        """Of the tools."""
        self.data_major = data_major or major
        """Of the server that the data are of."""
        self.context = context

    def working_name(self, part: Part) -> str:
        return working_name(self.request_uid, part.new_name)

    def preflight(self, sources: Sequence[tuple[Part, Source]]) -> str:
        """Whether the server can take the parts; how large they are. Waits for a person who makes missing roles.

        Raises TaskError: RolesMissing, ExtensionsUnavailable, ExtensionsForbidden, LiveServerOlder, and as `look_at`.
        """
        server = look_at(self.into, self.request_uid)
        if server.major < self.data_major:
            raise TaskError(
                "LiveServerOlder",
                f"the data are of PostgreSQL {self.data_major}, and {self.where} is PostgreSQL {server.major}, which "
                "does not understand all that a newer one dumps",
                remedy="Name a DatabaseCluster of that major version or a later one in target.into.clusterRef.",
            )
        for part, source in sources:
            self.refuse_extensions(part, source.needs.extensions, superuser=server.superuser)
        if not self.into.without_owners:
            self.wait_for_roles([source.needs for _, source in sources], server)
        size = sum(source.needs.size_bytes for _, source in sources)
        about = f"about {human_bytes(size)}" if size else "of a size that nothing tells"
        return f"{about}; how much room {self.where} has cannot be asked over SQL"

    def refuse_extensions(self, part: Part, wanted: Mapping[str, str], *, superuser: bool) -> None:
        """Raises TaskError: ExtensionsUnavailable, ExtensionsForbidden."""
        with live.talking(self.into.address) as connection:
            absent = live.unavailable_extensions(connection, list(wanted))
            forbidden = [] if superuser else live.forbidden_extensions(connection, list(wanted))
        if absent:
            raise TaskError(
                "ExtensionsUnavailable",
                f"database {part.database!r} uses extensions that {self.where} does not have: {', '.join(absent)}",
                remedy="Install their packages on that server, or name another DatabaseCluster in a new "
                "RestoreRequest.",
            )
        if forbidden:
            raise TaskError(
                "ExtensionsForbidden",
                f"database {part.database!r} uses extensions that only a superuser may make: {', '.join(forbidden)}",
                remedy="Name a superuser's Secret in credentials.restore of the DatabaseCluster for this restore.",
            )

    def wait_for_roles(self, needs: Sequence[Needs], server: LiveServer) -> None:
        """Waits until all roles are there, and the owners are ours to give to.

        Raises TaskError with reason RolesMissing.
        """
        owners = sorted({role for each in needs for role in (*each.owners, each.owner)})
        granted = {role for each in needs for role, _ in each.grants or () if role}
        others = sorted({role for each in needs for role in each.roles} | granted)
        deadline, said = time.monotonic() + self.into.patience_seconds, ""
        while True:
            with live.talking(self.into.address) as connection:
                trouble = live.role_trouble(connection, owners, others)
            if not trouble.missing and not trouble.not_ours:
                return
            # Who is no superuser has to be made a member of the owners that are yet to be made, too.
            to_join = [] if server.superuser else sorted({*trouble.not_ours, *(set(trouble.missing) & set(owners))})
            error = roles_in_the_way(self.where, server.user, trouble.missing, to_join)
            if time.monotonic() >= deadline:
                raise error
            if error.remedy != said:
                said = error.remedy
                self.context.log(f"waits: {error}. {said}")
            self.context.progress("Preflight", detail=f"waits for roles: {said}")
            if self.context.stop.wait(LOOK_SECONDS):
                self.context.check_stop()

    def load(self, part: Part, source: Source) -> None:
        """Makes the part's database under its working name and fills it. Raises TaskError."""
        name, needs = self.working_name(part), source.needs
        wanted = NewDatabase(
            name=name,
            owner=None if self.into.without_owners else needs.owner,
            encoding=needs.encoding,
            locale_provider=needs.locale_provider,
            collate=needs.collate,
            ctype=needs.ctype,
            locale=needs.locale,
        )
        with live.talking(self.into.address) as connection:
            live.drop(connection, name)
            live.make(connection, wanted)
        tool = find_tool("pg_restore", self.major)
        with client_files(self.into.address, live.OPERATION, Path(self.into.private_folder), self.major) as files:
            command = [str(tool), *self.how(name, files), *source.options()]
            self.pour(part, source, command, {**environment(), **files.environment()})

    def how(self, name: str, files: ClientFiles) -> list[str]:
        """Options of pg_restore for every source."""
        return [
            f"--dbname={files.connection(name)}",
            "--no-password",
            "--exit-on-error",
            "--verbose",
            "--no-publications",
            "--no-subscriptions",
            "--no-tablespaces",
            *(["--no-owner", "--no-privileges"] if self.into.without_owners else []),
        ]

    def pour(self, part: Part, source: Source, command: Sequence[str], variables: Mapping[str, str]) -> None:
        expected = source.needs.size_bytes
        tables = len(source.needs.rows) if source.needs.rows is not None else 0

        def tick(run: ToolRun) -> None:
            self.context.check_stop()
            of = f" of {tables}" if tables else ""
            told = f"{part.new_name}: table {run.tables}{of}"
            self.context.progress("Load", min(run.sent, expected), expected, detail=told)

        chunks = source.chunks()
        try:
            with ToolRun(command, variables, tick, fed=chunks is not None) as run:
                if chunks is None:
                    run.finish()
                else:
                    run.feed(chunks)
        except ToolFailed as error:
            raise load_failed(part, self.where, error.said) from error

    def analyze(self, part: Part) -> None:
        with live.talking(self.into.address, self.working_name(part)) as connection:
            live.analyze(connection)

    def count(self, part: Part, source: Source) -> PartReport:
        """Counts the rows of each table, and compares where the copy told them. Raises TaskError: RowsDiffer."""
        with live.talking(self.into.address, self.working_name(part)) as connection:
            if not part.whole:
                names = {(each.schema_name, each.table_name) for each in part.tables}
                refuse_others(part, *others_than(connection, part.schemas, names))
            found = row_counts(connection)
            size = live.size_of(connection)
            source.needs.findings += [
                f"{part.new_name}: {told}" for told in live.other_versions(connection, source.needs.extensions)
            ]
        for table, rows in found.items():
            self.context.log(f"{part.new_name}: {rows} rows in {table}")
        if source.needs.rows is not None and dict(source.needs.rows) != found:
            raise rows_differ(part, source.needs.rows, found)
        most = sorted(found.items(), key=lambda each: (-each[1], each[0]))
        return PartReport(
            database=part.database,
            new_name=part.new_name,
            tables=len(found),
            rows=sum(found.values()),
            size_bytes=size,
            counts=[TableRows(table=table, rows=rows) for table, rows in most],
        )

    def publish(self, part: Part, source: Source, report: PartReport, evidence: Mapping[str, Any]) -> None:
        """Opens the database as the original was, marks it, and gives it its name."""
        name, needs = self.working_name(part), source.needs
        told = report.model_copy(update={"counts": report.counts[:MARKED_COUNTS]})
        # At once: a session that came in as soon as it may would keep the database from being renamed.
        with live.talking(self.into.address) as connection, connection.transaction():
            live.open_to(connection, name, None if self.into.without_owners else needs.grants)
            here = live.present_databases(connection)[name].collation_version
            if needs.collation_version not in (None, here):
                needs.findings.append(
                    f"{part.new_name}: texts were sorted by collation version {needs.collation_version} and are by"
                    f" {here} here; all indexes were built anew, partitions by texts want a look"
                )
            mark = {"part": told.model_dump(mode="json", by_alias=True), **evidence}
            live.publish(connection, name, part.new_name, self.request_uid, mark)

    def clear_away(self, parts: Sequence[Part]) -> None:
        """Deletes what is not whole; what cannot be deleted now, the next attempt deletes."""
        with suppress(TaskError), live.talking(self.into.address) as connection:
            for part in parts:
                live.drop(connection, self.working_name(part))

    @property
    def where(self) -> str:
        return f"{self.into.address.host}:{self.into.address.port}"


def look_at(into: LiveTarget, request_uid: str) -> LiveServer:
    """The live server, unless the parts can never be put there.

    Raises TaskError: SystemIdentifierMismatch, LiveServerIsStandby, RestoreRoleCannotCreate, DatabaseExists, and what
    connecting raises.
    """
    where = f"{into.address.host}:{into.address.port}"
    with live.talking(into.address) as connection:
        server = live.look(connection)
        present = live.present_databases(connection)
        taken = [
            part.new_name
            for part in into.parts
            if part.new_name in present and live.marked_for(connection, part.new_name, request_uid) is None
        ]
    if into.expected_system_identifier and server.system_identifier not in ("", into.expected_system_identifier):
        raise TaskError(
            "SystemIdentifierMismatch",
            f"the server {where} has system identifier {server.system_identifier}, not "
            f"{into.expected_system_identifier}: it is another cluster than the DatabaseCluster told of",
            remedy="Correct the address in the DatabaseCluster, and make a new RestoreRequest.",
        )
    if server.in_recovery:
        raise TaskError(
            "LiveServerIsStandby",
            f"{where} is a standby, which nothing can be restored into",
            remedy="Correct spec.primary of the DatabaseCluster, or wait until the failover is done.",
            retryable=True,
        )
    if taken:
        raise TaskError(
            "DatabaseExists",
            f"{where} has a database {', '.join(map(repr, taken))} already, which this request did not make; a restore "
            "never overwrites anything",
            remedy="Choose another newName in a new RestoreRequest.",
        )
    if not server.creates_databases:
        raise TaskError(
            "RestoreRoleCannotCreate",
            f"the role {server.user} of {where} may not create databases",
            remedy="ALTER ROLE ... CREATEDB; docs/sql/restore-role.sql makes a role that has what restores need.",
        )
    return server


def finished_parts(into: LiveTarget, request_uid: str) -> dict[str, Mapping[str, Any]]:
    """What the comments of the request's finished databases tell, by their names."""
    with live.talking(into.address) as connection:
        found = {each.new_name: live.marked_for(connection, each.new_name, request_uid) for each in into.parts}
    return {name: told for name, told in found.items() if told is not None}


def told_part(part: Part, told: Mapping[str, Any]) -> PartReport:
    """The report of a finished part out of its comment, or as much as is known when somebody has changed that."""
    try:
        return PartReport.model_validate(told.get("part"))
    except ValidationError:
        return PartReport(database=part.database, new_name=part.new_name, tables=0, rows=0, size_bytes=0)


def load_all(
    loader: Loader, sources: Sequence[tuple[Part, Source]], steps: Steps, evidence: Mapping[str, Any]
) -> list[PartReport]:
    """Loads, analyzes, counts and publishes all parts; on failure none of those that are not published stays.

    Raises TaskError.
    """
    with steps.step("Preflight"):
        steps.detail = loader.preflight(sources)
    reports = []
    try:
        with steps.step("Load"):
            for part, source in sources:
                loader.load(part, source)
        with steps.step("Analyze"):
            for part, _ in sources:
                loader.analyze(part)
        with steps.step("CountRows"):
            reports = [loader.count(part, source) for part, source in sources]
            steps.detail = counted(reports)
        with steps.step("Publish"):
            for (part, source), report in zip(sources, reports, strict=True):
                loader.publish(part, source, report, evidence)
    except BaseException:
        loader.clear_away([part for part, _ in sources])
        raise
    return reports


def counted(reports: Sequence[PartReport]) -> str:
    """How much was restored, for people."""
    return "; ".join(f"{each.new_name}: {each.rows} rows in {each.tables} tables" for each in reports)
