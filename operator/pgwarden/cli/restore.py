"""`pgwarden restore drill`: restores that are asked for at a shell."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from pgwarden.cli.errors import FAILED
from pgwarden.jobs.errors import TaskError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Makes drills.")


@app.callback()
def restore() -> None:
    """Makes drills: restores that are measured and thrown away."""


@app.command()
def drill(
    policy: Annotated[str | None, typer.Option(help="BackupPolicy: what its archive holds, as its drills do.")] = None,
    backup: Annotated[str | None, typer.Option(help="DatabaseBackup to begin with; alone, its end.")] = None,
    at: Annotated[
        str | None, typer.Option(help="A moment, as 2026-11-23T11:42:00Z; else the latest of the policy's archive.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the volume, as 20Gi; else what the backup needs.")] = None,
    storage_class: Annotated[
        str | None, typer.Option(help='StorageClass of the volume; "" takes the node\'s own disk.')
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; by default the kubeconfig's.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for its end.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 86400,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Restores into a scratch volume, checks and measures, and throws away; ends with 1 when that failed."""
    from pgwarden.cli import restore_drill

    moment = parse_time(at) if at is not None else None
    wish = restore_drill.DrillWish(policy, backup, moment, size, storage_class)
    tell = restore_drill.StepTeller(sys.stderr if json else sys.stdout)
    request = restore_drill.drill_now(namespace, wish, timeout, wait=wait, tell=tell)
    good = restore_drill.show_outcome(request, as_json=json, ended=wait)
    if wait and not good:
        raise typer.Exit(FAILED)


def parse_time(text: str) -> datetime:
    """A moment with its zone. Raises TaskError with reason NotATime."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise TaskError(
            "NotATime",
            f"{text!r} is no moment with a time zone",
            remedy="Write it as 2026-11-23T11:42:00Z, or with +01:00 in place of Z.",
        )
    return found.astimezone(UTC)
