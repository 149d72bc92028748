"""The Job that deletes a backup, over real HTTP: what it is told, and what a refusal of it does to the backup."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from pgwarden.api.model import Resource
from pgwarden.backups.handlers import BackupController
from pgwarden.catalogue.contract import CatalogueTask
from pgwarden.jobs.task import TASK_ANNOTATION
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import loopback, refusal
from tests.support.objects import (
    NAMESPACE,
    Body,
    claim_store,
    condition,
    observed_cluster,
    restorable_backup,
    restore_request,
)
from tests.unit.policies.bodies import policy

KEY = Key("DatabaseBackup", NAMESPACE, "nightly")
ID = "20261123T110000Z-full-0123456789"
DONE = [condition("Ready", "True"), condition("Restorable", "True")]


@dataclass
class World:
    """A controller, and what the API server holds."""

    server: ApiServer
    context: OperatorContext
    controller: BackupController

    def put(self, made: Resource, **spec: Any) -> None:
        whole = made.to_json()
        full = {
            "apiVersion": "pgwarden.dev/v1alpha1",
            "kind": made.INFO.kind,
            **whole,
            "spec": {**whole["spec"], **spec},
        }
        kept = self.server.keep(made.INFO.plural, made.metadata.name, full)
        self.context.cache.put(Key(made.INFO.kind, NAMESPACE, made.metadata.name), kept)

    async def look(self) -> Body:
        """One look; the conditions afterwards, by type."""
        await self.controller.reconcile(KEY)
        status = self.server.objects["databasebackups", "nightly"]["status"]
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}

    @property
    def task(self) -> CatalogueTask:
        """What the one Job that was made is told."""
        (job,) = (made for (plural, _), made in self.server.objects.items() if plural == "jobs")
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        return CatalogueTask.model_validate(json.loads(annotations[TASK_ANNOTATION])["payload"])

    @property
    def jobs(self) -> int:
        return sum(plural == "jobs" for plural, _ in self.server.objects)


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A finished backup that a person wants deleted, without a policy."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        world = World(server, context, BackupController(context))
        context.controllers = [world.controller]
        writable = {"conditions": [condition("Writable", "True")]}
        for made in (observed_cluster(), claim_store(status=writable)):
            world.put(made)
        world.put(restorable_backup(), expire=True)
        yield world


async def test_without_a_policy_a_job_of_its_own_deletes_it(it: World) -> None:
    said = await it.look()
    assert said["Expired"] == ("Unknown", "Expiring")
    assert (it.task.what, it.task.backups, it.task.promised) == ("expire", [ID], False)
    assert it.task.archive.cluster_uid == "uid-of-operational"
    await it.look()
    assert it.jobs == 1, "a second look adopts what the first has made"


async def test_the_policys_promise_is_told_and_all_that_is_to_go_with_it(it: World) -> None:
    it.put(policy(retention={"window": "7d", "minimumFulls": 3}))
    it.put(restorable_backup("hourly", backupID="hourly-1"), expire=True)
    it.put(restorable_backup("weekly", backupID="weekly-1"))
    await it.look()
    assert it.task.promised
    assert (it.task.retention.window_seconds, it.task.retention.minimum_fulls) == (7 * 86400, 3)
    assert it.task.backups == [ID, "hourly-1"]


async def test_what_a_restore_reads_is_told_and_one_that_does_not_know_yet_is_waited_for(it: World) -> None:
    it.put(restore_request(source={"policyRef": {"name": "operational"}, "target": {"latest": True}}))
    assert (await it.look())["Expired"] == ("Unknown", "RestoreUndecided")
    assert it.jobs == 0
    it.put(restore_request(status={"backupID": ID}))
    await it.look()
    assert it.task.in_use == [ID]


async def test_a_store_that_is_full_can_be_emptied(it: World) -> None:
    it.put(claim_store(status={"conditions": [condition("Writable", "False", "StoreFull")]}))
    assert (await it.look())["Expired"] == ("Unknown", "Expiring")
    assert it.jobs == 1


async def test_a_job_that_the_api_server_refuses_makes_the_backup_no_worse(it: World) -> None:
    it.server.refuses["POST", "jobs"] = refusal(403, "Forbidden", "exceeded quota")
    said = await it.look()
    assert said["Expired"] == ("Unknown", "JobForbidden")
    assert (said["Ready"][0], said["Restorable"][0]) == ("True", "True")
    it.server.refuses.clear()
    assert (await it.look())["Expired"] == ("Unknown", "Expiring")


async def test_without_its_cluster_nobody_says_whose_archive_it_is(it: World) -> None:
    it.context.cache.drop(Key("DatabaseCluster", NAMESPACE, "operational"), uid="uid-of-operational")
    assert (await it.look())["Expired"] == ("Unknown", "ClusterNotFound")


async def test_a_wish_to_pin_is_told_to_the_store_and_to_whoever_deletes_meanwhile(it: World) -> None:
    it.put(restorable_backup("weekly", backupID="weekly-1"), pinned=True)
    await it.look()
    assert (it.task.what, it.task.pinned) == ("expire", ["weekly-1"])


async def test_a_job_pins_it(it: World) -> None:
    it.put(restorable_backup(), pinned=True)
    said = await it.look()
    assert said["Pinned"] == ("Unknown", "Pinning")
    assert (it.task.what, it.task.backups, it.task.asked_by) == ("pin", [ID], f"DatabaseBackup {NAMESPACE}/nightly")
    await it.look()
    assert it.jobs == 1, "a second look adopts what the first has made"


async def test_a_job_takes_away_a_pin_that_is_not_wanted_any_more(it: World) -> None:
    it.put(restorable_backup(conditions=[*DONE, condition("Pinned", "True")]))
    await it.look()
    assert (it.task.what, it.task.backups) == ("unpin", [ID])


async def test_a_pin_that_the_api_server_refuses_makes_the_backup_no_worse(it: World) -> None:
    it.put(restorable_backup(), pinned=True)
    it.server.refuses["POST", "jobs"] = refusal(403, "Forbidden", "exceeded quota")
    said = await it.look()
    assert said["Pinned"] == ("Unknown", "JobForbidden")
    assert (said["Ready"][0], said["Restorable"][0]) == ("True", "True")
    it.server.refuses.clear()
    assert (await it.look())["Pinned"] == ("Unknown", "Pinning")
