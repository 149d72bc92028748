"""`pgwarden migrate status|plan|up|down`: the same engine as in a Job, for a shell and without a cluster.

Nothing costly is imported before it is needed: a run that finds nothing to do should be over at once.
"""

from __future__ import annotations

import getpass
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pgwarden.cli import migrate_output as output
from pgwarden.cli.errors import DIFFERS
from pgwarden.jobs.errors import TaskError
from pgwarden.migrations import history
from pgwarden.migrations import source as files
from pgwarden.migrations.files import Direction, Migration
from pgwarden.migrations.overview import State, overview
from pgwarden.migrations.runner import Request, Standing, migrate, preview
from pgwarden.migrations.steps import Step, count, parse_version
from pgwarden.postgres.session import ScriptSettings, Session, open_dsn

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Brings a database's schema to a version.")

Dsn = Annotated[
    str,
    typer.Option(
        help="Connection string or URI, as libpq takes it. What it leaves out comes from PGHOST, PGDATABASE, PGUSER, "
        "PGSERVICE, ...; the password best from PGPASSFILE or PGPASSWORD."
    ),
]
Source = Annotated[
    list[Path],
    typer.Option(
        help="Directory with <version>_<title>.up.sql and .down.sql files, or a folder for each source. Repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
To = Annotated[str | None, typer.Option(help="Version to arrive at; 0 is before the first. By default the latest.")]
Role = Annotated[str | None, typer.Option(help="Role to SET before each migration.")]
LockTimeout = Annotated[int, typer.Option(help="Milliseconds a statement waits for a lock; 0 is for ever.")]
StatementTimeout = Annotated[int, typer.Option(help="Milliseconds a statement may take; 0 is for ever.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait while somebody else migrates the same database.")]


@app.command()
def status(
    source: Source,
    dsn: Dsn = "",
    json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="End with 3 unless every file is applied unchanged.")] = False,
) -> None:
    """Shows each migration: applied or not, when, how long it took, and whether its file still is what was applied."""
    migrations = files.read(*source)
    with open_dsn(dsn) as session:
        lines = overview(migrations, history.read(session, history.look_up(session)))
        where = str(session.server)
    output.show_status(where, lines, as_json=json)
    if check and any(line.state is not State.APPLIED or line.checksum_matches is False for line in lines):
        raise typer.Exit(DIFFERS)


@app.command()
def plan(
    source: Source,
    dsn: Dsn = "",
    to: To = None,
    json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="End with 3 when there is something to do.")] = False,
) -> None:
    """Shows what `up` or `down` would run, refuses what they would refuse, and writes nothing."""
    migrations = files.read(*source)
    with open_dsn(dsn) as session:
        request = Request(migrations, target=parse_version(to), allow_down=True)
        steps = preview(session, request, Standing(migrations))
        where = str(session.server)
    output.show_plan(where, steps, as_json=json)
    if check and steps.steps:
        raise typer.Exit(DIFFERS)


@app.command()
def up(
    source: Source,
    dsn: Dsn = "",
    to: To = None,
    role: Role = None,
    lock_timeout: LockTimeout = 5000,
    statement_timeout: StatementTimeout = 0,
    wait: Wait = 300,
    json: Json = False,
) -> None:
    """Applies what is not applied yet, in order, each file in one transaction."""
    migrations = files.read(*source)
    request = make_request(
        migrations, parse_version(to), False, ScriptSettings(role, lock_timeout, statement_timeout), wait, quiet=json
    )
    with open_dsn(dsn) as session:
        carry_out(session, request, as_json=json)


@app.command()
def down(
    source: Source,
    to: Annotated[str, typer.Option(help="Version to go down to; 0 is before the first.")],
    dsn: Dsn = "",
    role: Role = None,
    lock_timeout: LockTimeout = 5000,
    statement_timeout: StatementTimeout = 0,
    wait: Wait = 300,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Reverts what is above a version, the latest first; asks before, because what is reverted takes its data along."""
    migrations = files.read(*source)
    request = make_request(
        migrations, parse_version(to), True, ScriptSettings(role, lock_timeout, statement_timeout), wait, quiet=json
    )
    with open_dsn(dsn) as session:
        standing = Standing(migrations)
        steps = preview(session, request, standing)
        if steps.direction is Direction.UP and steps.steps:
            raise TaskError(
                "NotBelow",
                f"{session.server} stands at version {standing.current or 0}; version {to} is above it",
                remedy="Use `pgwarden migrate up`.",
            )
        if steps.steps and not yes:
            ask(session, [step.migration for step in steps.steps])
        carry_out(session, request, as_json=json)


def make_request(
    migrations: list[Migration],
    target: int | None,
    allow_down: bool,
    settings: ScriptSettings,
    wait: float,
    *,
    quiet: bool,
) -> Request:
    """The request of a person at a shell, which rolls back at once when told to stop."""

    def progress(done: int, total: int, step: Step) -> None:
        if done < total and not quiet:
            verb = "applying" if step.direction is Direction.UP else "reverting"
            print(f"{verb} {step.migration} ({done + 1} of {total})", file=sys.stderr, flush=True)

    return Request(
        migrations=migrations,
        target=target,
        allow_down=allow_down,
        settings=settings,
        advisory_lock_wait_seconds=wait,
        applied_by=person(),
        stop_grace_seconds=0,
        progress=progress,
    )


def carry_out(session: Session, request: Request, *, as_json: bool) -> None:
    """Migrates and says where the database stands, also when it fails; Ctrl-C and SIGTERM stop it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: request.stop.set())
    standing = Standing(request.migrations)
    try:
        migrate(session, request, standing)
    except TaskError as error:
        if as_json:
            output.show_result(str(session.server), standing, error=error)
        elif standing.failure and standing.failure.detail:
            print(f"detail: {standing.failure.detail}", file=sys.stderr)
        raise
    if as_json:
        output.show_result(str(session.server), standing)
    else:
        print(summary(session, standing))


def summary(session: Session, standing: Standing) -> str:
    at = f"{session.server} is at version {standing.current or 0}"
    if not standing.ran:
        return f"nothing to do: {at}"
    done = "applied" if standing.direction is Direction.UP else "reverted"
    return f"{done} {count(len(standing.ran), 'migration')}: {at}"


def ask(session: Session, doomed: list[Migration]) -> None:
    """Asks a person at a terminal; raises TaskError with reason NotConfirmed when nobody says yes."""
    names = ", ".join(str(migration) for migration in doomed)
    question = f"Revert {count(len(doomed), 'migration')} in {session.server}: {names}?"
    if not sys.stdin.isatty():
        raise TaskError(
            "NotConfirmed",
            f"nobody confirmed that {count(len(doomed), 'migration')} in {session.server} may be reverted: {names}; "
            "nothing was changed",
            remedy="Run it in a terminal and answer yes, or add --yes.",
        )
    if not typer.confirm(question, err=True):
        raise TaskError("NotConfirmed", f"the answer was no, so nothing was changed in {session.server}")


def person() -> str:
    """Who asks, for the history: user@host."""
    user = "unknown"
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
