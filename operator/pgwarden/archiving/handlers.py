"""The archivers: one Deployment for each BackupPolicy that wants WAL, and the documents they answer with."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from pgwarden.archiving.board import ArchiverBoard
from pgwarden.archiving.contract import PORT, STATUS_PATH, ArchiverReport, ArchiverState
from pgwarden.archiving.render import archiver_name, manifests, settings_manifest, wanted
from pgwarden.clusters.access import Role, credential
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.agents import account_refused
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.keeper import Keeper, Kept, Purpose
from pgwarden.kube.key import Key
from pgwarden.kube.objects import UnreadableObject, find
from pgwarden.kube.secrets import missing
from pgwarden.kube.types import DEPLOYMENTS
from pgwarden.policies.resource import BackupPolicy
from pgwarden.stores.resource import BackupStore

WAKE_SECONDS = 60.0
RETIREMENT_SECONDS = 300.0
"""What an archiver has to drop its slots, beginning when its settings say so."""


class ArchiverKeeper(Keeper[Key]):
    """Keeps each policy's archiver as it should be, and reads what it says."""

    WHAT = "archiver"
    MARK = OWNER_UID_LABEL
    OWNER = "this policy's"
    PORT = PORT
    PATH = STATUS_PATH

    def __init__(self, context: OperatorContext, board: ArchiverBoard) -> None:
        super().__init__(context)
        self.board = board
        self._retired: dict[Key, bool] = {}
        """Policies that want no WAL any more and whose archiver is still there -> whether it has dropped its slots."""
        self._woken: dict[Key, float] = {}
        """When each policy was last looked at because of what moves all the time."""

    def purposes(self) -> Mapping[Key, Purpose | None]:
        """Every policy; of one that says what nobody here understands it is told elsewhere, and for one that is being
        deleted nothing is made any more."""
        return {key: self.purpose(key) for key in self.context.cache.keys("BackupPolicy")}

    def purpose(self, key: Key) -> Purpose | None:
        try:
            policy = self.policy(key)
        except UnreadableObject:
            return None
        if policy is None or policy.metadata.deletion_timestamp is not None:
            return None
        return Purpose(key.namespace, archiver_name(policy), self.versions(policy))

    def policy(self, key: Key) -> BackupPolicy | None:
        return find(self.context, BackupPolicy, key.namespace, key.name)

    def versions(self, policy: BackupPolicy) -> tuple[Any, ...]:
        """Of the policy and of what it names."""
        metadata = policy.metadata
        found: list[Any] = [metadata.uid, metadata.generation]
        for kind, name in (
            ("DatabaseCluster", policy.spec.cluster_ref.name),
            ("BackupStore", policy.spec.store_ref.name),
        ):
            body = self.context.cache.get(Key(kind, metadata.namespace, name)) or {}
            of_it = body.get("metadata", {})
            system = (body.get("status") or {}).get("systemIdentifier")
            found += [of_it.get("uid"), of_it.get("generation"), system]
        return tuple(found)

    async def keep(self, whose: Key, kept: Kept) -> bool:
        """Applies the archiver's manifests where they differ from what is there; retires it where no WAL is wanted."""
        policy = self.policy(whose)
        if policy is None or not policy.spec.wal.enabled:
            return policy is not None and await self.retire(whose, policy, kept)
        self._retired.pop(whose, None)
        config = self.context.config
        cluster = find(self.context, DatabaseCluster, whose.namespace, policy.spec.cluster_ref.name)
        store = find(self.context, BackupStore, whose.namespace, policy.spec.store_ref.name)
        if cluster is None or store is None or credential(cluster, Role.BACKUP) is None:
            # The policy itself says what is missing; an archiver that runs goes on.
            return True
        refused = account_refused(config, policy.spec.job_template.service_account_name)
        if refused:
            self.tell(whose, refused)
            return True
        made = manifests(
            policy,
            cluster,
            store,
            image=config.images.monitor,
            image_pull_policy=config.image_pull_policy,
            image_pull_secrets=config.image_pull_secrets,
        )
        if self.up_to_date(kept, made):
            return True
        absent = await missing(self.context.client, whose.namespace, wanted(cluster, store))
        if absent:
            self.tell(whose, "; ".join(absent))
        await self.apply(kept, made)
        return True

    async def retire(self, whose: Key, policy: BackupPolicy, kept: Kept) -> bool:
        """Has an archiver drop its slots, and removes it when it has, or has had the time to; whether it is there."""
        body = await self.context.client.get(DEPLOYMENTS, kept.namespace, kept.name)
        cluster = find(self.context, DatabaseCluster, whose.namespace, policy.spec.cluster_ref.name)
        store = find(self.context, BackupStore, whose.namespace, policy.spec.store_ref.name)
        if whose not in self._retired:
            self._retired[whose], kept.made_at = False, time.monotonic()
        late = time.monotonic() - kept.made_at > RETIREMENT_SECONDS
        if body is None or cluster is None or store is None or late or self._retired[whose]:
            # A slot that is left is told by the condition SlotsInUse of the DatabaseCluster.
            await self.remove(kept)
            self._retired.pop(whose)
            self.board.forget(whose)
            return False
        made = [settings_manifest(policy, cluster, store)]
        if not self.up_to_date(kept, made):
            await self.apply(kept, made)
        return True

    def take(self, whose: Key, kept: Kept, content: bytes) -> bool:
        """Has the policy looked at when the document tells something new, or now and then."""
        report = ArchiverReport.model_validate_json(content)
        if whose in self._retired:
            # The pod learns of it when the kubelet writes its settings anew, after a minute or so.
            self._retired[whose] = report.state is ArchiverState.RETIRED
            return False
        now = time.monotonic()
        if self.board.take(whose, report) or now - self._woken.get(whose, -math.inf) > WAKE_SECONDS:
            self._woken[whose] = now
            self.context.wake(whose)
        return True

    def tell(self, whose: Key, problem: str) -> None:
        if self.board.fail(whose, problem):
            self.context.wake(whose)

    async def leave(self, whose: Key, kept: Kept) -> None:
        """What belonged to the policy goes with it, by its ownerReferences."""
        self._woken.pop(whose, None)
        self._retired.pop(whose, None)
        self.board.forget(whose)
