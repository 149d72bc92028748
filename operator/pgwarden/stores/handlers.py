"""BackupStore: observe its Secrets and the probe's Job, plan, start the probe, write the status."""

from __future__ import annotations

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.kube.agents import account_refused, agent_image, launch
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import named
from pgwarden.kube.key import Key
from pgwarden.kube.objects import all_of, read
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import BACKUP_STORES, CLAIMS, PODS, SECRETS, STATEFUL_SETS
from pgwarden.kube.work import apply, bury_all, observe_job
from pgwarden.policies.resource import BackupPolicy
from pgwarden.storage.catalogue_key import new_catalogue_key
from pgwarden.stores.access import catalogue_key_name, wanted
from pgwarden.stores.claims import SHARED, has_template, is_shared, kept_by, possible_owners
from pgwarden.stores.full import STORE_FULL, SaidFull, said_full
from pgwarden.stores.plan import ObservedStore, due, open_attempts, plan, probe_job, probed_spec
from pgwarden.stores.render import catalogue_key_secret, probe
from pgwarden.stores.resource import BackupStore

WRITERS = ("BackupPolicy", "DatabaseBackup")


class StoreController:
    """Looks at BackupStores."""

    type = BACKUP_STORES

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def reconcile(self, key: Key) -> float | None:
        context, config = self.context, self.context.config
        body = context.cache.get(key)
        if body is None:
            return None
        store = read(BackupStore, body)
        attempts = open_attempts(store)
        number = attempts[-1].number if attempts else 1
        state = await observe_job(context, key.namespace, probe_job(store, number), recorded=bool(attempts))
        observed = ObservedStore(
            job=state,
            obstacle=await self.obstacle(store, key.namespace),
            full=self.said_full(store),
            probe_interval_seconds=config.store_probe_interval,
        )
        result = plan(store, observed, context.clock())
        if result.attempt is not None:
            name = probe_job(store, result.attempt)
            result.start = probe(store, launch(config, name, result.attempt, agent_image(config)))
        again = await apply(context, self.type, body, store.status, result)
        # Jobs of earlier probes, or of probes of an earlier spec, have nothing more to tell.
        now = read(BackupStore, context.cache.get(key) or body)
        await bury_all(context, key.namespace, store.metadata.uid, but=state.name if self.is_due(now) else "")
        return again

    def said_full(self, store: BackupStore) -> SaidFull | None:
        """What backups and archivers that write into the store say of its room."""
        context, namespace = self.context, store.metadata.namespace
        backups, policies = all_of(context, DatabaseBackup, namespace), all_of(context, BackupPolicy, namespace)
        return said_full(store, backups, policies, context.clock())

    def is_due(self, store: BackupStore) -> bool:
        return due(store, self.said_full(store), self.context.clock())

    async def obstacle(self, store: BackupStore, namespace: str) -> Obstacle | None:
        """What the probe's pod would mount and is not there, or may not be named."""
        client = self.context.client
        absent = await missing(client, namespace, wanted(store))
        if absent:
            return Obstacle("SecretMissing", "; ".join(absent))
        claim = store.spec.claim
        if claim is not None:
            obstacle = await self.claim_obstacle(store, claim.name, namespace)
            if obstacle is not None:
                return obstacle
        refused = account_refused(self.context.config, store.spec.job_template.service_account_name)
        if refused:
            return Obstacle("ServiceAccountRefused", refused)
        return await self.keep_catalogue_key(store, namespace)

    async def claim_obstacle(self, store: BackupStore, name: str, namespace: str) -> Obstacle | None:
        """Why a claim cannot be the store. Whose it is, is asked before it is first written to."""
        claim = await self.context.client.get(CLAIMS, namespace, name)
        if claim is None:
            return Obstacle("ClaimMissing", f"PersistentVolumeClaim {namespace}/{name} does not exist; create it")
        if claim["metadata"].get("deletionTimestamp"):
            return Obstacle(
                "ClaimBeingDeleted",
                f"PersistentVolumeClaim {namespace}/{name} is being deleted, and its volume may go with it: it stays"
                " only until the last pod on it has ended, and no other one starts. Copy what must not be lost now,"
                " from a pod that mounts it; then make a claim of that name anew",
            )
        if store.status.probed_spec == probed_spec(store) or is_shared(claim):
            return None
        taken = await self.taken(name, namespace)
        if not taken:
            return None
        return Obstacle(
            "ClaimInUse",
            f"PersistentVolumeClaim {namespace}/{name} {taken}, and backups beside a database go when it goes; "
            f'give the store a claim of its own, or annotate this one with {SHARED}: "true"',
        )

    async def taken(self, claim: str, namespace: str) -> str:
        """Who else a claim belongs to; empty when nobody."""
        client = self.context.client
        pod = kept_by(claim, await client.list(PODS, namespace))
        if pod:
            return f"is mounted by pod {pod}"
        for template, owner in possible_owners(claim):
            stateful_set = await client.get(STATEFUL_SETS, namespace, owner)
            if stateful_set is not None and has_template(stateful_set, template):
                return f"holds the data of StatefulSet {owner}"
        return ""

    async def keep_catalogue_key(self, store: BackupStore, namespace: str) -> Obstacle | None:
        """Makes the store's catalogue key where there is none; one that is there is never touched."""
        client, name = self.context.client, catalogue_key_name(store.metadata.name)
        if await client.get(SECRETS, namespace, name) is not None:
            return None
        try:
            await client.create(SECRETS, namespace, catalogue_key_secret(store, new_catalogue_key()))
        except KubeError as error:
            if error.passing:
                raise
            if not error.already_exists:
                return Obstacle("CatalogueKeyRefused", f"Secret {namespace}/{name} cannot be made: {error.message}")
        return None

    def dependents(self, changed: Key) -> list[Key]:
        """The store that a backup, an archiver or a look into an archive has found full."""
        body = self.context.cache.get(changed)
        if changed.kind not in WRITERS or body is None or not calls_full(body):
            return []
        return [Key("BackupStore", changed.namespace, named(body, ("storeRef",)))]


def calls_full(body: Body) -> bool:
    """Whether the status of an object names a want of room; when that was, the plan asks."""
    status = body.get("status") or {}
    told = [*(status.get("attempts") or []), *(status.get("conditions") or [])]
    return any(each.get("reason") == STORE_FULL for each in told)
