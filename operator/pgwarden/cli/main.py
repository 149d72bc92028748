"""The command `pgwarden`, also `kubectl pgwarden`. Each verb is a module of its own, imported only when it is called.

Exit codes are in pgwarden.cli.errors.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pgwarden.cli.errors import tell
from pgwarden.jobs.errors import TaskError

# verb -> (module with a typer app called `app`, what the list of verbs says)
VERBS = {
    "migrate": ("pgwarden.cli.migrate", "Bring a database's schema to a version, or look where it stands."),
    "backup": ("pgwarden.cli.backup", "List, show, check, import and take backups."),
    "restore": ("pgwarden.cli.restore", "See what can be recovered, make drills, follow restores, discard old data."),
    "agent": ("pgwarden.cli.agent", "Carry out one task inside a Job's pod."),
    "operator": ("pgwarden.cli.operator", "Watch pgwarden's objects and start Jobs for them."),
    "archive-wal": ("pgwarden.cli.archive_wal", "Stream the WAL of one cluster into a store."),
    "monitor": ("pgwarden.cli.monitor", "Measure the databases of one namespace."),
    "version": ("pgwarden.cli.version", "Print the version."),
}


class Verbs(TyperGroup):
    """The group of all verbs. It lists them without importing them; only the one that is called is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=VERBS[cmd_name][1]) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in VERBS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def load(verb: str) -> Any:
    """The command of a verb, imported now."""
    command = typer.main.get_command(importlib.import_module(VERBS[verb][0]).app)
    command.name = verb
    return command


app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def pgwarden() -> None:
    """Runs migrations, backups and restores of PostgreSQL clusters that it does not own."""


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    try:
        app()
    except TaskError as error:
        sys.exit(tell(error))
