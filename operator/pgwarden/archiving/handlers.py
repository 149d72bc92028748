"""The archivers: one Deployment for each BackupPolicy that wants WAL, and the documents they answer with."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from pydantic import ValidationError

from pgwarden.archiving.board import ArchiverBoard
from pgwarden.archiving.contract import PORT, STATUS_PATH, ArchiverReport
from pgwarden.archiving.render import DIGEST_ANNOTATION, archiver_name, manifests, wanted
from pgwarden.clusters.access import Role, credential
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.agents import account_refused
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.objects import UnreadableObject, find
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from pgwarden.policies.resource import BackupPolicy
from pgwarden.stores.resource import BackupStore

FETCH_TIMEOUT_SECONDS = 5.0
ROUND_SECONDS = 1.0
STARTING_SECONDS = 60.0
WAKE_SECONDS = 60.0
TYPES = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS}

log = structlog.get_logger()


@dataclass
class Kept:
    """What is known about one policy's archiver."""

    name: str
    """Of Deployment, Service and ConfigMap."""
    seen: tuple[Any, ...] = ()
    """Versions of the objects it was last made for."""
    digests: tuple[str, ...] = ()
    """Of the manifests that were last applied."""
    made_at: float = -math.inf
    """When they were last changed: an archiver needs time to start."""
    compared_at: float = -math.inf
    """When what is there was last compared with them."""
    next_look: float = -math.inf
    woken_at: float = -math.inf
    """When the policy was last looked at because of what moves all the time."""
    answered: bool = False


class ArchiverKeeper:
    """Keeps each policy's archiver as it should be, and reads what it says."""

    def __init__(self, context: OperatorContext, board: ArchiverBoard) -> None:
        self.context = context
        self.board = board
        self._kept: dict[Key, Kept] = {}

    async def run(self) -> None:
        """Works until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)) as session:
            while True:
                await self.round(session)
                await asyncio.sleep(ROUND_SECONDS)

    async def round(self, session: aiohttp.ClientSession) -> None:
        """One look at every policy whose turn it is."""
        keys = self.context.cache.keys("BackupPolicy")
        for gone in set(self._kept) - set(keys):
            # What belonged to it goes with it, by its ownerReferences.
            self._kept.pop(gone)
            self.board.forget(gone)
        now = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for key in keys:
                policy = self.readable(key)
                if policy is None:
                    continue
                kept = self._kept.setdefault(key, Kept(archiver_name(policy)))
                if kept.next_look <= now or kept.seen != self.versions(key, policy):
                    group.create_task(self.look_after(session, key, policy, kept))

    def readable(self, key: Key) -> BackupPolicy | None:
        """The policy, unless it says what nobody here understands: it is told about that elsewhere."""
        try:
            return find(self.context, BackupPolicy, key.namespace, key.name)
        except UnreadableObject:
            return None

    def versions(self, key: Key, policy: BackupPolicy) -> tuple[Any, ...]:
        """Changes when the archiver may have to."""
        found: list[Any] = [policy.metadata.uid, policy.metadata.generation]
        for kind, name in (
            ("DatabaseCluster", policy.spec.cluster_ref.name),
            ("BackupStore", policy.spec.store_ref.name),
        ):
            body = self.context.cache.get(Key(kind, key.namespace, name)) or {}
            metadata = body.get("metadata", {})
            found += [
                metadata.get("uid"),
                metadata.get("generation"),
                (body.get("status") or {}).get("systemIdentifier"),
            ]
        return tuple(found)

    async def look_after(self, session: aiohttp.ClientSession, key: Key, policy: BackupPolicy, kept: Kept) -> None:
        """Makes one archiver as it should be, and reads its document; nothing here ends the others."""
        kept.seen = self.versions(key, policy)
        where = f"the archiver Deployment {key.namespace}/{kept.name}"
        try:
            if policy.spec.wal.enabled:
                await self.keep(key, policy, kept)
                await self.fetch(session, key, kept)
            else:
                await self.remove(key, kept)
        except UnreadableObject as error:
            self.tell(key, f"{where} is left as it is: {error}")
        except KubeError as error:
            if not error.namespace_terminating and not error.not_found:
                self.tell(key, f"{where} cannot be made: {error.message}")
        except Exception as error:
            log.exception("looking after an archiver failed", policy=str(key))
            self.tell(key, f"{where} cannot be looked after: {error}")
        kept.next_look = time.monotonic() + self.pause(policy, kept)

    def pause(self, policy: BackupPolicy, kept: Kept) -> float:
        """Seconds to the next look, unless something changes before: short while an archiver is starting."""
        if not policy.spec.wal.enabled:
            return self.context.config.resync_interval
        starting = not kept.answered and time.monotonic() - kept.made_at < STARTING_SECONDS
        return ROUND_SECONDS if starting else self.context.config.monitor_interval

    async def keep(self, key: Key, policy: BackupPolicy, kept: Kept) -> None:
        """Applies the archiver's manifests where they differ from what is there."""
        config = self.context.config
        cluster = find(self.context, DatabaseCluster, key.namespace, policy.spec.cluster_ref.name)
        store = find(self.context, BackupStore, key.namespace, policy.spec.store_ref.name)
        if cluster is None or store is None or credential(cluster, Role.BACKUP) is None:
            # The policy itself says what is missing; an archiver that runs goes on.
            return
        refused = account_refused(config, policy.spec.job_template.service_account_name)
        if refused:
            self.tell(key, refused)
            return
        made = manifests(
            policy,
            cluster,
            store,
            image=config.images.monitor,
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=config.image_pull_secrets,
        )
        digests = tuple(manifest["metadata"]["annotations"][DIGEST_ANNOTATION] for manifest in made)
        now = time.monotonic()
        if kept.digests == digests and now - kept.compared_at < config.resync_interval:
            return
        absent = await missing(self.context.client, key.namespace, wanted(cluster, store))
        if absent:
            self.tell(key, "; ".join(absent))
        for manifest in made:
            if not await self.same(policy, manifest):
                await self.context.client.apply(TYPES[manifest["kind"]], key.namespace, manifest)
                kept.made_at, kept.answered = now, False
        kept.digests, kept.compared_at = digests, now

    async def same(self, policy: BackupPolicy, manifest: dict[str, Any]) -> bool:
        """Whether what is there was made from this very manifest. Raises KubeError when it is somebody else's."""
        type_, name = TYPES[manifest["kind"]], manifest["metadata"]["name"]
        body = await self.context.client.get(type_, policy.metadata.namespace, name)
        if body is None:
            return False
        if (body["metadata"].get("labels") or {}).get(OWNER_UID_LABEL) != policy.metadata.uid:
            where = f"{policy.metadata.namespace}/{name}"
            message = f"there is a {type_.kind} {where} that is not this policy's; rename or remove it"
            raise KubeError(409, "NameTaken", message)
        annotations = body["metadata"].get("annotations") or {}
        return bool(annotations.get(DIGEST_ANNOTATION) == manifest["metadata"]["annotations"][DIGEST_ANNOTATION])

    async def remove(self, key: Key, kept: Kept) -> None:
        """The policy wants no WAL: its archiver goes."""
        for type_ in (DEPLOYMENTS, SERVICES):
            body = await self.context.client.get(type_, key.namespace, kept.name)
            if body is not None:
                await self.context.client.delete(type_, key.namespace, kept.name, body["metadata"]["uid"])
        kept.digests = ()
        self.board.forget(key)

    async def fetch(self, session: aiohttp.ClientSession, key: Key, kept: Kept) -> None:
        """Reads the archiver's document and has the policy looked at when it tells something new, or now and then."""
        url = f"http://{kept.name}.{key.namespace}.svc:{PORT}{STATUS_PATH}"
        now = time.monotonic()
        try:
            async with session.get(url) as answer:
                answer.raise_for_status()
                report = ArchiverReport.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            # Somebody may have changed or deleted what we made: it is compared with what it should be once a minute.
            if now - kept.compared_at > STARTING_SECONDS:
                kept.digests = ()
            if now - kept.made_at > STARTING_SECONDS:
                where = f"the archiver Deployment {key.namespace}/{kept.name}"
                self.tell(key, f"{where} does not answer: {await self.why(key, kept, error)}")
            return
        kept.answered = True
        if self.board.take(key, report) or now - kept.woken_at > WAKE_SECONDS:
            kept.woken_at = now
            self.context.wake(key)

    async def why(self, key: Key, kept: Kept, error: Exception) -> str:
        """What the Deployment says of itself, for somebody who wonders why its archiver does not answer."""
        body = await self.context.client.get(DEPLOYMENTS, key.namespace, kept.name)
        if body is None:
            return "it was deleted; it is made again"
        if (body.get("spec") or {}).get("replicas") == 0:
            return "it is scaled to 0 replicas; scale it to 1"
        for condition in (body.get("status") or {}).get("conditions") or []:
            if condition["status"] == "False" or condition["type"] == "ReplicaFailure":
                return f"{condition.get('message', '')} Look at its pods"
        return f"{type(error).__name__}. Look at its pods and at the NetworkPolicies"

    def tell(self, key: Key, problem: str) -> None:
        """Remembers why there is nothing new."""
        if self.board.fail(key, problem):
            self.context.wake(key)
