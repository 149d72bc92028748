"""`pgwarden backup pin|unpin` through a Kubernetes cluster: by the backup's objects, or by a Job where it has none."""

from __future__ import annotations

from pgwarden.api.conditions import Condition
from pgwarden.backups.plan import PINNED, finished
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.catalogue.contract import What
from pgwarden.cli.backup_cluster import ClusterSource
from pgwarden.cli.waiting import answer, waited_for
from pgwarden.kube.person import BACKUPS, Person, as_person


def pin(namespace: str | None, backup: str, seconds: float, asked_by: str, *, pinned: bool) -> str | None:
    """Has a backup that there are DatabaseBackups of (`backup` is its id, or the name of one) pinned or unpinned: what
    was said; None where there is no such object.

    What an object asks for has to change with it, or the next look at the object would undo it. Raises TaskError:
    StillRunning, and what the Job raises.
    """

    async def work(person: Person) -> str | None:
        everything = [DatabaseBackup.of(body) for body in await person.client.list(BACKUPS, person.namespace)]
        mine = [each for each in everything if backup in (each.metadata.name, each.status.backup_id)]
        unlike = [each for each in mine if each.spec.pinned != pinned]
        generations = {}
        for each in unlike:
            name = each.metadata.name
            body = await person.client.merge(BACKUPS, person.namespace, name, {"spec": {"pinned": pinned}})
            generations[name] = body["metadata"]["generation"]
        if unlike:
            return "; ".join([await answered(person, each, generations, seconds) for each in unlike])
        if not mine:
            return None
        spec, found = mine[0].spec, mine[0].status.backup_id
        source = ClusterSource(person.namespace, spec.cluster_ref.name, spec.store_ref.name, seconds)
        what = What.PIN if pinned else What.UNPIN
        return (await source.ask_as(person, what, backups=[found], asked_by=asked_by)).checked().result.message

    return as_person(namespace, work)


async def answered(person: Person, backup: DatabaseBackup, generations: dict[str, int], seconds: float) -> str:
    """What the operator says of a wish. Raises TaskError with reason StillRunning."""
    name = backup.metadata.name
    if not finished(backup):
        return f"{name}: as soon as it is in the store"

    async def look() -> Condition | None:
        status = DatabaseBackup.of(await person.get(BACKUPS, name)).status
        return answer(status.conditions, PINNED, generation=generations[name])

    said = await waited_for(
        look,
        seconds,
        f"the store was not told of DatabaseBackup {person.namespace}/{name} within {seconds:.0f} s; the wish "
        "stands, and holds already for whatever prunes",
        f"Its condition Pinned says what it waits for: kubectl describe databasebackup {name} "
        f"--namespace {person.namespace}",
    )
    return f"{name}: {said.message}"
