"""What is looked at, and put right, in the recovered server before it is handed over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pgwarden.jobs.errors import TaskError
from pgwarden.postgres import restored as sql
from pgwarden.postgres.connection import Connection
from pgwarden.postgres.restored import Answer, RestoredServer
from pgwarden.restores.contract import CheckResult, SQLCheck
from pgwarden.restores.image_checks import image_checks

ANSWER_CHARACTERS = 200


@dataclass
class Inspection:
    """What was found."""

    system_identifier: str
    timeline: int
    superuser: str
    last_commit: datetime | None = None
    """When the last replayed transaction was committed; None where none was."""
    databases: list[str] = field(default_factory=list)
    libraries: set[str] = field(default_factory=set)
    """Libraries in the server's image."""
    findings: list[str] = field(default_factory=list)
    """What a person should know: disabled subscriptions, foreign servers, invalid indexes, ..."""
    checks: list[CheckResult] = field(default_factory=list)


def inspect(
    server: RestoredServer,
    checks: Sequence[SQLCheck],
    request_uid: str,
    password_file: Path | None,
    *,
    in_place: bool = False,
) -> Inspection:
    """Looks into every database, disables what would reach outside, runs the user's checks, sets the password.

    In place nothing is disabled: these data are the original, and go on with its subscriptions.
    Raises TaskError: NotRecovered, DatabaseNotConnectable, CredentialsMissing.
    """
    with server.connect() as connection:
        if sql.in_recovery(connection):
            raise TaskError("NotRecovered", "the server is still in recovery", remedy="See the container `postgres`.")
        databases = sql.databases(connection)
        inspection = Inspection(
            system_identifier=sql.system_identifier(connection),
            timeline=sql.current_timeline(connection),
            superuser=sql.superuser_name(connection),
            last_commit=sql.last_replayed_commit(connection),
            databases=[database.name for database in databases],
            libraries=sql.present_libraries(connection),
        )
        inspection.findings += named("prepared transaction", sql.prepared_transactions(connection))
        for database in databases:
            if database.connectable:
                inspect_database(server, database.name, inspection, in_place=in_place)
        checks_of_image, findings = image_checks(server, [each.name for each in databases if each.connectable])
        inspection.findings += findings
        inspection.checks.append(
            CheckResult(name="databases", passed=True, detail=f"{len(databases)} databases", built_in=True)
        )
        inspection.checks += checks_of_image
        run_checks(server, connection, checks, request_uid, inspection)
        if password_file is not None:
            sql.set_password(connection, inspection.superuser, password_file)
    return inspection


def inspect_database(server: RestoredServer, database: str, inspection: Inspection, *, in_place: bool) -> None:
    """Disables the database's subscriptions, unless in place; notes what else may reach outside, or does not work."""
    subscriptions: tuple[str, Callable[[Connection], list[str]]] = (
        ("subscription goes on where its publisher is, without what came since the restored moment:", sql.subscriptions)
        if in_place
        else ("subscription disabled, its slot left to the original:", sql.disable_subscriptions)
    )
    with server.connect(database) as connection:
        looks: list[tuple[str, Callable[[Connection], list[str]]]] = [
            subscriptions,
            ("foreign server, as on the original:", sql.foreign_servers),
            ("invalid index, as on the original:", sql.invalid_indexes),
        ]
        for what, look in looks:
            inspection.findings += named(f"database {database}: {what}", look(connection))
        if jobs := sql.scheduled_jobs(connection):
            fate = "which run again as on the original" if in_place else "which is not loaded in the new instance"
            inspection.findings.append(f"database {database}: {jobs} jobs of pg_cron, {fate}")


def run_checks(
    server: RestoredServer,
    connection: Connection,
    checks: Sequence[SQLCheck],
    request_uid: str,
    inspection: Inspection,
) -> None:
    """Runs the user's checks as a role of their own that can only read."""
    if not checks:
        return
    role = f"pgwarden_check_{hashlib.sha256(request_uid.encode()).hexdigest()[:8]}"
    wanted = sorted({check.database for check in checks} & set(inspection.databases))
    with sql.check_role(connection, role, wanted):
        for check in checks:
            answer = server.ask(check.database, role, check.query)
            inspection.checks.append(judge(check, answer))


def judge(check: SQLCheck, answer: Answer) -> CheckResult:
    """Whether the answer is the expected one. Pure."""
    if answer.error:
        return CheckResult(name=check.name, passed=False, detail=cut(answer.error))
    if check.expect is None:
        return CheckResult(name=check.name, passed=True, detail=f"{answer.rows} rows")
    if not answer.rows:
        return CheckResult(name=check.name, passed=False, detail=f"no row, expected {cut(check.expect)!r}")
    if answer.value is None:
        return CheckResult(name=check.name, passed=False, detail=f"NULL, expected {cut(check.expect)!r}")
    if answer.value != check.expect:
        detail = f"{cut(answer.value)!r}, expected {cut(check.expect)!r}"
        return CheckResult(name=check.name, passed=False, detail=detail)
    return CheckResult(name=check.name, passed=True, detail=cut(answer.value))


def named(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what} {name}" for name in names]


def cut(text: str) -> str:
    return text if len(text) <= ANSWER_CHARACTERS else f"{text[: ANSWER_CHARACTERS - 1]}…"
