"""`pgwarden backup expire` through a Kubernetes cluster: sets the wish and waits for the operator's answer to it."""

from __future__ import annotations

from pgwarden.api.conditions import Condition, Truth
from pgwarden.backups.plan import EXPIRED, finished
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.catalogue.contract import What
from pgwarden.cli.backup_cluster import ClusterSource
from pgwarden.cli.backup_output import expiry
from pgwarden.cli.backup_place import Place
from pgwarden.cli.waiting import answer, waited_for
from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import BACKUPS, POLICIES, Person, as_person
from pgwarden.policies.access import governing, retention_settings
from pgwarden.policies.resource import BackupPolicy


def expire(place: Place, name: str, *, dry_run: bool) -> tuple[bool, str]:
    """Has a DatabaseBackup's data deleted: whether it is gone, and what was said. With `dry_run` a Job only judges.

    Raises TaskError: ObjectNotFound, OfAnotherArchive, NotFinished, StillRunning.
    """
    seconds = place.timeout

    async def work(person: Person) -> tuple[bool, str]:
        policy = BackupPolicy.of(await person.get(POLICIES, place.policy)) if place.policy is not None else None
        backup = DatabaseBackup.of(await person.get(BACKUPS, name))
        check_archive(backup, place, policy)
        if not finished(backup):
            raise TaskError(
                "NotFinished",
                f"DatabaseBackup {person.namespace}/{name} is being taken",
                remedy="Wait for its end, or cancel it (spec.cancel) first.",
            )
        if dry_run:
            return await judged(person, backup, seconds)
        said = answer(backup.status.conditions, EXPIRED)
        generation = backup.metadata.generation
        if not backup.spec.expire:
            body = await person.client.merge(BACKUPS, person.namespace, name, {"spec": {"expire": True}})
            generation = body["metadata"]["generation"]
        elif said is not None:
            return said.status == Truth.TRUE, f"{name}: {said.message}"
        return await answered(person, name, generation, seconds)

    return as_person(place.namespace, work)


def check_archive(backup: DatabaseBackup, place: Place, policy: BackupPolicy | None) -> None:
    """Raises TaskError with reason OfAnotherArchive for a backup of another cluster or store than are named."""
    cluster, store = backup.spec.cluster_ref.name, backup.spec.store_ref.name
    meant = (policy.spec.cluster_ref.name, policy.spec.store_ref.name) if policy is not None else (cluster, store)
    asked = (place.cluster or meant[0], place.store or meant[1])
    if asked == (cluster, store):
        return
    raise TaskError(
        "OfAnotherArchive",
        f"DatabaseBackup {backup.metadata.namespace}/{backup.metadata.name} is one of cluster {cluster} in store "
        f"{store}, not of cluster {asked[0]} in store {asked[1]}: nothing was deleted",
        remedy="Name another DatabaseBackup; or leave --cluster, --store and --policy out when this is the one.",
    )


async def answered(person: Person, name: str, generation: int, seconds: float) -> tuple[bool, str]:
    """Whether a DatabaseBackup is gone, once the operator has said. Raises TaskError with reason StillRunning."""

    async def look() -> Condition | None:
        status = DatabaseBackup.of(await person.get(BACKUPS, name)).status
        return answer(status.conditions, EXPIRED, generation=generation)

    said = await waited_for(
        look,
        seconds,
        f"DatabaseBackup {person.namespace}/{name} has not been deleted after {seconds:.0f} s; the wish stands",
        f"Its condition Expired says what it waits for: kubectl describe databasebackup {name} "
        f"--namespace {person.namespace}",
    )
    return said.status == Truth.TRUE, f"{name}: {said.message}"


async def judged(person: Person, backup: DatabaseBackup, seconds: float) -> tuple[bool, str]:
    """Whether a backup could be deleted now, by the policy of its archive; what is in use only the operator knows."""
    spec = backup.spec
    source = ClusterSource(person.namespace, spec.cluster_ref.name, spec.store_ref.name, seconds)
    policies = [BackupPolicy.of(body) for body in await person.client.list(POLICIES, person.namespace)]
    policy = governing(policies, spec.cluster_ref, spec.store_ref)
    promise = {"retention": retention_settings(policy.spec.retention)} if policy is not None else {}
    settings = {"backups": [backup.status.backup_id], "promised": policy is not None, "dry_run": True, **promise}
    return expiry((await source.ask_as(person, What.EXPIRE, **settings)).checked())
