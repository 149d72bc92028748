"""`pgwarden restore points|list|show|report|drill|proceed|cancel|discard-old`: what can be recovered, and restores."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from pgwarden.catalogue.contract import What
from pgwarden.cli import restore_output as output
from pgwarden.cli.backup_place import Place, placed
from pgwarden.cli.errors import FAILED
from pgwarden.jobs.errors import TaskError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Shows what can be recovered and what became of restores, tells them to go on or to stop; makes drills.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; by default the kubeconfig's.")]
Name = Annotated[str, typer.Argument(help="RestoreRequest.")]


@app.command()
@placed
def points(
    place: Place,
    at: Annotated[
        str | None, typer.Option(help="A moment, as 2026-11-23T11:42:00Z: whether it can be recovered, and how.")
    ] = None,
    timeline: Annotated[int | None, typer.Option(help="The timeline that --at is meant on; else the newest.")] = None,
    json: Json = False,
) -> None:
    """Lists what can be recovered of every timeline, and the gaps; with --at ends with 1 when that moment cannot be."""
    moment = parse_time(at) if at is not None else None
    with place.open() as (source, _):
        answer = source.ask(What.POINTS, at=moment, timeline=timeline).checked()
    output.show_points(answer, as_json=json)
    if answer.way is not None and not answer.way.reachable:
        raise typer.Exit(FAILED)


@app.command("list")
def list_(namespace: Namespace = None, json: Json = False) -> None:
    """Lists the restores of a namespace: what to, where they stand, who asked."""
    from pgwarden.cli import restore_cluster

    output.show_list(restore_cluster.requests(namespace), as_json=json, now=datetime.now(UTC))


@app.command()
def show(name: Name, namespace: Namespace = None, json: Json = False) -> None:
    """Shows one restore with its steps: when each began, how long it took, what came of it."""
    from pgwarden.cli import restore_cluster

    output.show_request(restore_cluster.request(namespace, name), as_json=json)


@app.command()
def report(name: Name, namespace: Namespace = None) -> None:
    """Prints the incident report of a restore that has ended, also of one whose RestoreRequest was deleted."""
    from pgwarden.cli import restore_cluster

    print(restore_cluster.report(namespace, name), end="")


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


@app.command()
def proceed(
    name: Annotated[str, typer.Argument(help="RestoreRequest whose copy was looked at.")],
    namespace: Namespace = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 300,
) -> None:
    """Has a restore go on whose recovered copy waits to be looked at; ends with 1 when it fails instead."""
    from pgwarden.cli import restore_decide

    conclude(*restore_decide.proceed(namespace, name, timeout))


@app.command()
def cancel(
    name: Name,
    namespace: Namespace = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 3600,
) -> None:
    """Ends a restore, and waits until what it replaces is as it was; ends with 1 when it was too late for that."""
    from pgwarden.cli import restore_decide

    conclude(*restore_decide.cancel(namespace, name, timeout))


@app.command("discard-old")
def discard_old(
    name: Annotated[str, typer.Argument(help="RestoreRequest of a finished restore in place.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; by default the kubeconfig's.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 3600,
) -> None:
    """Deletes the data that a restore in place has replaced; ends with 1 when that failed."""
    from pgwarden.cli import restore_discard

    conclude(*restore_discard.discard(namespace, name, timeout))


def conclude(good: bool, said: str) -> None:
    """Prints what came of a wish; ends with 1 where that is not what was wished for."""
    print(said)
    if not good:
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
