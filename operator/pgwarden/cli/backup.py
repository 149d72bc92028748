"""`pgwarden backup list|show|verify|prune|expire|pin|unpin|now|import|adopt`: what a store holds, backups on demand.

`--store` names a bucket (s3://bucket/prefix) or a folder, which is opened here and needs no cluster; or a BackupStore,
whose archive a Job reads beside it.
"""

from __future__ import annotations

import getpass
import socket
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from pgwarden.backups.resource import BackupType
from pgwarden.catalogue.contract import VerifySettings, What
from pgwarden.cli import backup_output as output
from pgwarden.cli.backup_place import Place, placed
from pgwarden.cli.backup_source import parse_age
from pgwarden.cli.errors import FAILED
from pgwarden.cli.output import print_json, printable
from pgwarden.jobs.errors import TaskError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Lists, shows, checks, imports and takes backups.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
@placed
def list_(place: Place, json: Json = False) -> None:
    """Lists every backup: what it is worth, why it is kept; and what can be recovered, with its gaps."""
    with place.open() as (source, retention):
        answer = source.ask(What.LIST, retention=retention).checked()
    output.show_list(answer, as_json=json, now=datetime.now(UTC))


@app.command()
@placed
def show(place: Place, backup: Annotated[str, typer.Argument(help="Id of the backup.")], json: Json = False) -> None:
    """Shows one backup's record, and the commands that restore it by hand."""
    with place.open() as (source, _):
        answer = source.ask(What.SHOW, backups=[backup]).checked()
    for record, backup_line in zip(answer.records, answer.backups, strict=True):
        output.show_record(record, backup_line, as_json=json)


@app.command()
@placed
def verify(
    place: Place,
    backups: Annotated[
        list[str] | None, typer.Argument(help="Ids; else of those that nobody has read for longest.")
    ] = None,
    at_most: Annotated[int, typer.Option(help="So many backups, where none is named.")] = 1,
    max_rate_kib: Annotated[int, typer.Option(help="Most KiB read a second; 0 is unlimited.")] = 0,
    json: Json = False,
) -> None:
    """Reads every byte of backups again and compares it with what was written; ends with 1 when one has changed."""
    settings = VerifySettings(at_most=at_most, max_rate_kib=max_rate_kib)
    with place.open() as (source, _):
        answer = source.ask(What.VERIFY, backups=backups or [], verify=settings)
    if json:
        output.show_result(answer)
    answer.checked()
    if not json:
        print(answer.result.message)


@app.command()
@placed
def prune(
    place: Place,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; nothing is.")] = False,
    window: Annotated[str | None, typer.Option(help="Another recovery window than the policy's: 30d.")] = None,
    minimum_fulls: Annotated[int | None, typer.Option(help="Another least number of full backups.")] = None,
    json: Json = False,
) -> None:
    """Says what retention would delete. Deleting is the policy's to do: only it knows what is in use."""
    if not dry_run:
        raise TaskError(
            "DryRunOnly",
            "backups are deleted by their BackupPolicy only: it knows which are being taken or restored",
            remedy="Add --dry-run to see what would be deleted. To delete more, change the policy's retention.",
        )
    changes = {"window_seconds": parse_age(window), "grace_seconds": 0} if window is not None else {}
    changes |= {"minimum_fulls": minimum_fulls} if minimum_fulls is not None else {}
    with place.open() as (source, retention):
        answer = source.ask(What.PRUNE, dry_run=True, retention=retention.model_copy(update=changes)).checked()
    if json:
        output.show_result(answer)
    else:
        output.show_prune(answer)


@app.command()
@placed
def expire(
    place: Place,
    backup: Annotated[str, typer.Argument(help="DatabaseBackup; of a bucket or folder: id of the backup.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, or why not.")] = False,
) -> None:
    """Deletes a backup before retention would; ends with 1 when something needs it.

    Where it lies its object says; --cluster, --store and --policy only make sure that it is the one that is meant.
    """
    if not place.is_direct:
        from pgwarden.cli import backup_expire

        gone, said = backup_expire.expire(place, backup, dry_run=dry_run)
    elif dry_run:
        with place.open() as (source, _):
            answer = source.ask(What.EXPIRE, backups=[backup], promised=False, dry_run=True).checked()
        gone, said = output.expiry(answer)
    else:
        raise TaskError(
            "DryRunOnly",
            "backups are deleted through their DatabaseBackup only: the operator knows which are being restored or "
            "built upon, and what a policy promises",
            remedy="Add --dry-run to see what would be deleted, or name the DatabaseBackup without --store; pgwarden "
            "backup import makes one.",
        )
    print(said)
    if not gone:
        raise typer.Exit(FAILED)


@app.command()
@placed
def pin(
    place: Place, backup: Annotated[str, typer.Argument(help="Id of the backup, or name of its DatabaseBackup.")]
) -> None:
    """Keeps a backup, with all it builds upon, until somebody unpins it: no retention lets it go."""
    change_pin(place, backup, pinned=True)


@app.command()
@placed
def unpin(
    place: Place, backup: Annotated[str, typer.Argument(help="Id of the backup, or name of its DatabaseBackup.")]
) -> None:
    """Takes a pin away: retention lets the backup go in its time."""
    change_pin(place, backup, pinned=False)


def change_pin(place: Place, backup: str, *, pinned: bool) -> None:
    """Pins or unpins, where the backup's objects say it lies, or else in the place that is named."""
    said = None
    if not place.is_direct:
        from pgwarden.cli import backup_pin

        said = backup_pin.pin(place.namespace, backup, place.timeout, this_person(), pinned=pinned)
    if said is None:
        with place.open() as (source, _):
            what = What.PIN if pinned else What.UNPIN
            said = source.ask(what, backups=[backup], asked_by=this_person()).checked().result.message
    print(printable(said))


def this_person() -> str:
    """Who sits at this shell, as far as it tells."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@app.command()
def now(
    cluster: Annotated[str | None, typer.Option(help="DatabaseCluster.")] = None,
    store: Annotated[str | None, typer.Option(help="BackupStore.")] = None,
    policy: Annotated[str | None, typer.Option(help="BackupPolicy: cluster, store and how it takes backups.")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; by default the kubeconfig's.")
    ] = None,
    type_: Annotated[BackupType, typer.Option("--type", case_sensitive=False, help="What to take.")] = BackupType.FULL,
    wait: Annotated[bool, typer.Option(help="Wait for its end.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 86400,
    json: Json = False,
) -> None:
    """Takes a backup now: makes a DatabaseBackup and follows it to its end; ends with 1 when it failed."""
    from pgwarden.cli import backup_cluster

    def begun(name: str) -> None:
        where = sys.stderr if json else sys.stdout
        print(f"databasebackup.pgwarden.dev/{name} created", file=where, flush=True)

    wish = backup_cluster.Wish(cluster, store, policy, type_)
    backup = backup_cluster.back_up_now(namespace, wish, timeout, wait=wait, begun=begun)
    good, reason, said = backup_cluster.outcome(backup)
    if json:
        output.show_backup(backup, reason, said)
    elif wait:
        print(f"{backup.metadata.name}: {said}", file=sys.stdout if good else sys.stderr)
    if wait and not good:
        raise typer.Exit(FAILED)


@app.command("import")
@placed
def import_(
    place: Place,
    backups: Annotated[list[str] | None, typer.Argument(help="Ids; else of all physical ones.")] = None,
    json: Json = False,
) -> None:
    """Makes DatabaseBackup objects for what lies in a BackupStore, so that RestoreRequests can name it."""
    from pgwarden.cli import backup_cluster

    with place.open() as (source, _):
        if not isinstance(source, backup_cluster.ClusterSource):
            raise TaskError(
                "NeedsCluster",
                "objects are made in a Kubernetes cluster, from a BackupStore there",
                remedy="Apply a BackupStore that leads to this place, and name it: --store <name> --cluster <name>.",
            )
        made, known = backup_cluster.import_backups(source, backups or [])
    if json:
        print_json({"imported": made, "known": known})
        return
    for name in made:
        print(f"databasebackup.pgwarden.dev/{name} created")
    print(f"{len(made)} imported, {len(known)} were there already")


@app.command()
@placed
def adopt(
    place: Place,
    previous: Annotated[str, typer.Option("--from", help="UID of the DatabaseCluster that is gone for good.")],
    uid: Annotated[str, typer.Option(help="Of a bucket or folder: UID of the DatabaseCluster in its place.")] = "",
    json: Json = False,
) -> None:
    """Has an archive belong to a DatabaseCluster that was made anew in the place of the one that it was written for."""
    if place.is_direct and not uid:
        raise TaskError(
            "UIDMissing",
            "nothing says which DatabaseCluster the archive shall belong to",
            remedy="kubectl get databasecluster <name> -o jsonpath={.metadata.uid} tells it; name it with --uid.",
        )
    with place.open(uid) as (source, _):
        answer = source.ask(What.ADOPT, adopt_from=previous, asked_by=this_person()).checked()
    if json:
        output.show_result(answer)
    else:
        print(answer.result.message)
