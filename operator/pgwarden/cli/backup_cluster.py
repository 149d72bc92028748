"""`pgwarden backup` through a Kubernetes cluster: its objects, and Jobs that read the store in their place."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgwarden.api.conditions import READY, find, is_true
from pgwarden.api.model import API_VERSION
from pgwarden.backups.plan import RESTORABLE, finished, succeeded
from pgwarden.backups.record import BackupRecord
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.backups.task import done
from pgwarden.catalogue.contract import BackupLine, RetentionSettings, What
from pgwarden.catalogue.render import catalogue_job, task_for
from pgwarden.cli.backup_source import Answer, answer
from pgwarden.cli.waiting import waited_for
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import conclude
from pgwarden.jobs.render import Owner
from pgwarden.kube.client import Body, KubeError
from pgwarden.kube.person import BACKUPS, CLUSTERS, POLICIES, STORES, Person, as_person
from pgwarden.policies.access import retention_settings
from pgwarden.policies.render import labels_of
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import REASON_ANNOTATION, RunType
from pgwarden.stores.resource import BackupStore

IMPORTED = "pgwarden.dev/imported-from"
TYPES = {"full": "Full", "incremental": "Incremental"}
SHARED = ("clusterRef", "storeRef", "compression", "jobTemplate")
TAKEN_OVER = {
    BackupType.FULL: (*SHARED, "from", "maxRateKiB"),
    BackupType.INCREMENTAL: (*SHARED, "from", "maxRateKiB"),
    BackupType.LOGICAL: (*SHARED, "logical"),
}
"""Fields of a policy's spec that hold for a backup taken by hand as well."""


@dataclass
class ClusterSource:
    """The archive of a DatabaseCluster in a BackupStore, read by a Job beside them."""

    namespace: str | None
    cluster: str
    store: str
    seconds: float

    def ask(self, what: What, **settings: Any) -> Answer:
        return as_person(self.namespace, lambda person: self.ask_as(person, what, **settings))

    async def ask_as(self, person: Person, what: What, **settings: Any) -> Answer:
        """Runs the Job. What is being backed up now is told to it, so that nobody sweeps it away."""
        cluster = DatabaseCluster.of(await person.get(CLUSTERS, self.cluster))
        store = BackupStore.of(await person.get(STORES, self.store))
        backups = [DatabaseBackup.of(body) for body in await person.client.list(BACKUPS, person.namespace)]
        live = [each.status.backup_id for each in backups if each.status.backup_id and not finished(each)]
        payload = task_for(cluster, store, what, datetime.now(UTC)).model_copy(update={"live": live, **settings})
        nonce = secrets.token_hex(16)
        manifest = catalogue_job(
            payload,
            cluster,
            store,
            Owner("BackupStore", person.namespace, store.metadata.name, store.metadata.uid),
            await person.launch(job_name(f"{store.metadata.name}-shell", nonce), nonce),
        )
        result, log = await person.run(manifest, self.seconds)
        return answer(result, log, nonce)


@dataclass(frozen=True)
class Wish:
    """A backup that a person wants now."""

    cluster: str | None
    store: str | None
    policy: str | None
    type: BackupType

    def spec(self, policy: Body | None) -> Body:
        """The spec of its DatabaseBackup: taken as the policy takes its own, where one is named. Raises TaskError."""
        like = {} if policy is None else {key: policy[key] for key in TAKEN_OVER[self.type] if key in policy}
        named = {"clusterRef": self.cluster, "storeRef": self.store}
        spec = {**like, **{key: {"name": name} for key, name in named.items() if name}, "type": self.type.value}
        if not spec.keys() >= named.keys():
            raise TaskError(
                "ArchiveNotNamed",
                "it takes a cluster and a store to take a backup",
                remedy="Name a BackupPolicy (--policy), or --cluster and --store.",
            )
        return spec


def back_up_now(
    namespace: str | None, wish: Wish, seconds: float, *, wait: bool, begun: Callable[[str], None]
) -> DatabaseBackup:
    """Makes a DatabaseBackup, tells its name to `begun` and, if wanted, follows it to its end. Raises TaskError."""

    async def work(person: Person) -> DatabaseBackup:
        policy = await person.get(POLICIES, wish.policy) if wish.policy is not None else None
        spec = wish.spec(policy["spec"] if policy is not None else None)
        cluster = spec["clusterRef"]["name"]
        await person.get(CLUSTERS, cluster)
        await person.get(STORES, spec["storeRef"]["name"])
        name = f"{cluster[:200]}-{wish.type.lower()}-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"
        wanted = backup_object(name, person.namespace, spec)
        if policy is not None:
            wanted = counted(wanted, BackupPolicy.of(policy))
        made = await person.client.create(BACKUPS, person.namespace, wanted)
        begun(name)
        return await followed(person, name, seconds) if wait else DatabaseBackup.of(made)

    return as_person(namespace, work)


def counted(backup: Body, policy: BackupPolicy) -> Body:
    """The DatabaseBackup as one of the policy's own, where it goes into the policy's archive: it counts as the last of

    its type, is waited for by what the schedules want, and its object is cleared away like theirs.
    """
    archive = {"clusterRef": policy.spec.cluster_ref.to_json(), "storeRef": policy.spec.store_ref.to_json()}
    if not archive.items() <= backup["spec"].items():
        return backup
    mine = {
        "labels": labels_of(policy, RunType(backup["spec"]["type"])),
        "annotations": {REASON_ANNOTATION: "asked for by a person (pgwarden backup now)"},
        "ownerReferences": [Owner.of(policy).reference()],
    }
    return {**backup, "metadata": {**backup["metadata"], **mine}}


async def followed(person: Person, name: str, seconds: float) -> DatabaseBackup:
    """The DatabaseBackup once nothing more is to be done about it. Raises TaskError with reason StillRunning."""

    async def look() -> DatabaseBackup | None:
        backup = DatabaseBackup.of(await person.get(BACKUPS, name))
        return backup if finished(backup) else None

    return await waited_for(
        look,
        seconds,
        f"DatabaseBackup {person.namespace}/{name} has not ended after {seconds:.0f} s; it goes on",
        f"Follow it with: kubectl get databasebackup {name} --namespace {person.namespace} --watch",
    )


def import_backups(source: ClusterSource, wanted: list[str]) -> tuple[list[str], list[str]]:
    """Makes DatabaseBackups for physical backups of the store that have none: names of the new objects, and ids that
    were there already."""

    async def work(person: Person) -> tuple[list[str], list[str]]:
        listed = (await source.ask_as(person, What.LIST)).checked().backups
        known = {
            DatabaseBackup.of(body).status.backup_id for body in await person.client.list(BACKUPS, person.namespace)
        }
        chosen = importable(listed, wanted)
        new = [each for each in chosen if each not in known]
        if not new:
            return [], chosen
        shown = (await source.ask_as(person, What.SHOW, backups=new)).checked()
        lines = {each.backup_id: each for each in listed}
        names = [
            await imported(person, source, BackupRecord.model_validate(record), lines[record["backupId"]])
            for record in shown.records
        ]
        return names, [each for each in chosen if each in known]

    return as_person(source.namespace, work)


def importable(listed: Sequence[BackupLine], wanted: Sequence[str]) -> list[str]:
    """Ids of the physical backups to make objects for: their status will say that they can be restored, so others
    are left out. Raises TaskError: BackupNotFound, BackupNotRestorable."""
    physical = {each.backup_id: each for each in listed if each.type in TYPES}
    missing = sorted(set(wanted) - physical.keys())
    if missing:
        raise TaskError(
            "BackupNotFound",
            f"there is no physical backup {', '.join(missing)} in the store",
            remedy="pgwarden backup list names those that are there.",
        )
    flawed = [f"{each} ({physical[each].state})" for each in wanted if physical[each].state != RESTORABLE]
    if flawed:
        raise TaskError(
            "BackupNotRestorable",
            f"{', '.join(flawed)} cannot be restored",
            remedy="pgwarden backup list tells why. Import another one.",
        )
    return [name for name, each in physical.items() if each.state == RESTORABLE and (not wanted or name in wanted)]


async def imported(person: Person, source: ClusterSource, record: BackupRecord, listed: BackupLine) -> str:
    """A DatabaseBackup that stands for a backup of the store, pinned where that is.

    It is made suspended, or the operator would take a new backup before the status says that there is one.
    """
    name = re.sub(r"[^a-z0-9.-]", "-", f"{source.cluster[:180]}-{record.backup_id}".lower()).strip("-.")
    spec = {
        "clusterRef": {"name": source.cluster},
        "storeRef": {"name": source.store},
        "type": TYPES[record.type],
        "suspend": True,
        "pinned": listed.pinned,
    }
    body = backup_object(name, person.namespace, spec)
    body["metadata"]["annotations"] = {IMPORTED: listed.location}
    try:
        made = await person.client.create(BACKUPS, person.namespace, body)
    except KubeError as error:
        if not error.already_exists:
            raise
        made = await person.get(BACKUPS, name)
    backup = DatabaseBackup.of(made)
    status = backup.status.model_copy(update={"backup_id": record.backup_id})
    plan = succeeded(backup, status, done(record, listed.location, repeated=True).report)  # type: ignore[arg-type]
    after = conclude(plan, backup.status, generation=backup.metadata.generation, now=datetime.now(UTC))
    await person.client.merge_status(BACKUPS, person.namespace, name, {"status": after.to_json()})
    return name


def backup_object(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "DatabaseBackup", "metadata": metadata, "spec": spec}


def outcome(backup: DatabaseBackup) -> tuple[bool, str, str]:
    """Whether all is well with a finished backup, and the reason and the sentence that its status gives.

    One that was skipped because nothing has been written since its parent is no failure.
    """
    ready = find(backup.status.conditions, READY)
    return is_true(backup.status.conditions, READY), ready.reason if ready else "", ready.message if ready else ""


def policy(namespace: str | None, name: str) -> tuple[str, str, RetentionSettings]:
    """Cluster, store and retention of a BackupPolicy. Raises TaskError."""
    spec = BackupPolicy.of(as_person(namespace, lambda person: person.get(POLICIES, name))).spec
    return spec.cluster_ref.name, spec.store_ref.name, retention_settings(spec.retention)
