"""The controller of BackupPolicies, over real HTTP: makes backups, survives refusals and crashes, clears away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pgwarden.api.model import Resource
from pgwarden.archiving.board import ArchiverBoard
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.cli.backup_cluster import Wish, backup_object, counted
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import TASK_ANNOTATION
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.policies.handlers import PolicyController
from pgwarden.policies.judgments import STUCK_SECONDS
from pgwarden.policies.stalls import StallWatch
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import Loopback, loopback, refusal
from tests.support.objects import (
    NAMESPACE,
    NOW,
    Body,
    attempt,
    body,
    claim_store,
    condition,
    observed_cluster,
    restore_request,
)
from tests.unit.policies.bodies import gap, policy, streaming

KEY = Key("BackupPolicy", NAMESPACE, "operational")
UID = "uid-of-operational"


@dataclass
class World:
    """A controller, what the API server holds, and the time."""

    server: ApiServer
    context: OperatorContext
    controller: PolicyController
    api: Loopback
    now: datetime = NOW

    def put(self, made: Resource) -> None:
        content: Any = made
        full = body(made.INFO.kind, made.metadata.name, content.spec.to_json(), content.status.to_json())
        full["metadata"] |= {key: value for key, value in made.metadata.to_json().items() if value}
        kept = self.server.keep(made.INFO.plural, made.metadata.name, full)
        self.context.cache.put(Key(made.INFO.kind, NAMESPACE, made.metadata.name), kept)

    async def look(self) -> float | None:
        return await self.controller.reconcile(KEY)

    @property
    def backups(self) -> dict[str, Body]:
        return {name: made for (plural, name), made in self.server.objects.items() if plural == "databasebackups"}

    @property
    def status(self) -> Body:
        found: Body = self.server.objects["backuppolicies", "operational"]["status"]
        return found

    def said(self, type_: str) -> tuple[str, str]:
        (found,) = (each for each in self.status["conditions"] if each["type"] == type_)
        return found["status"], found["reason"]

    def finish(self, name: str, restorable: str = "True", reason: str = "Completed") -> None:
        """A backup ends; the watch tells of it."""
        made = self.server.objects["databasebackups", name]
        status = {
            "backupID": f"id-of-{name}",
            "completionTime": self.now.isoformat(),
            "conditions": [condition("Restorable", restorable, reason), condition("Ready", restorable, reason)],
        }
        kept = self.server.keep("databasebackups", name, {**made, "status": status})
        self.context.cache.put(Key("DatabaseBackup", NAMESPACE, name), kept)


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A policy with a daily full and hourly incrementals, and all it refers to."""
    async for made in world(observed_cluster(), policy()):
        yield made


async def world(*objects: Resource) -> AsyncIterator[World]:
    """A controller and a writable store beside these objects."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        made = World(server, context, PolicyController(context, ArchiverBoard()), api)
        context.clock = lambda: made.now
        context.controllers = [made.controller]
        made.put(claim_store(status={"conditions": [condition("Writable", "True")]}))
        for each in objects:
            made.put(each)
        yield made


async def test_the_first_full_is_made_and_stands_in_the_status(it: World) -> None:
    await it.look()
    (made,) = it.backups.values()
    assert made["spec"]["type"] == "Full"
    assert made["metadata"]["labels"][OWNER_UID_LABEL] == UID
    await it.look()
    assert it.status["running"] == [made["metadata"]["name"]]
    assert it.said("Ready") == ("True", "InForce")
    assert it.status["retention"].startswith("every moment of 30d")


async def test_a_second_look_makes_nothing_and_writes_nothing(it: World) -> None:
    await it.look()
    await it.look()
    before = len(it.api.asked)
    await it.look()
    assert [asked.method for asked in it.api.asked[before:] if asked.method != "GET"] == []
    assert len(it.backups) == 1


async def test_a_crash_before_the_status_is_written_makes_no_second_backup(it: World) -> None:
    it.server.refuses["PATCH", "backuppolicies"] = refusal(500, "InternalError")
    with pytest.raises(KubeError):
        await it.look()
    assert len(it.backups) == 1
    it.server.refuses.clear()
    it.context.cache.drop(Key("DatabaseBackup", NAMESPACE, *it.backups), uid="another")
    await it.look()
    assert len(it.backups) == 1


async def test_a_backup_that_the_api_server_refuses_is_not_taken_for_made(it: World) -> None:
    it.server.refuses["POST", "databasebackups"] = refusal(403, "Forbidden", "exceeded quota")
    assert await it.look() is not None
    assert it.said("Ready") == ("False", "BackupForbidden")
    it.server.refuses.clear()
    await it.look()
    assert len(it.backups) == 1
    assert it.said("Ready") == ("True", "InForce")


async def test_a_finished_full_shows_and_the_archive_is_looked_after(it: World) -> None:
    await it.look()
    (name,) = it.backups
    it.finish(name)
    it.now += timedelta(minutes=2)
    await it.look()
    assert it.status["lastFull"]["name"] == name
    assert it.said("LastBackupSucceeded") == ("True", "Succeeded")
    (job,) = (made for (plural, _), made in it.server.objects.items() if plural == "jobs")
    assert job["metadata"]["labels"]["pgwarden.dev/operation"] == "catalogue"
    assert it.status["catalogue"]["what"] == "prune"
    assert it.status["attempts"][0]["job"] == job["metadata"]["name"]


async def test_a_full_taken_by_hand_is_the_last_full_and_moves_no_schedule(it: World) -> None:
    nightly = policy()
    spec = Wish(None, None, "operational", BackupType.FULL).spec(nightly.spec.to_json())
    made = counted(backup_object("by-hand", NAMESPACE, spec), nightly)
    it.put(DatabaseBackup.of({**made, "metadata": {**made["metadata"], "creationTimestamp": it.now.isoformat()}}))
    it.finish("by-hand")
    await it.look()
    assert list(it.backups) == ["by-hand"]
    assert it.status["lastFull"]["name"] == "by-hand"
    assert it.said("LastBackupSucceeded") == ("True", "Succeeded")
    assert {each["name"]: each["nextRunTime"][:13] for each in it.status["schedules"]} == {
        "Full": "2026-11-24T01",
        "Incremental": "2026-11-23T12",
    }


async def test_in_another_store_the_archive_begins_with_a_full(it: World) -> None:
    """What lies in the store that the policy had before promises nothing in the new one."""
    await it.look()
    (old,) = it.backups
    it.finish(old)
    it.put(claim_store("elsewhere", status={"conditions": [condition("Writable", "True")]}))
    it.put(policy(status=it.status, storeRef={"name": "elsewhere"}))
    it.now += timedelta(hours=2)
    await it.look()
    (new,) = (made for name, made in it.backups.items() if name != old)
    assert (new["spec"]["type"], new["spec"]["storeRef"]) == ("Full", {"name": "elsewhere"})


async def test_a_full_store_is_looked_after_all_the_same(it: World) -> None:
    await it.look()
    it.finish(*it.backups)
    it.now += timedelta(minutes=2)
    it.put(claim_store(status={"conditions": [condition("Writable", "False", "StoreUnreachable")]}))
    await it.look()
    assert not it.status.get("attempts")
    it.put(claim_store(status={"conditions": [condition("Writable", "False", "StoreFull")]}))
    await it.look()
    assert it.status["catalogue"]["what"] == "prune"
    assert len(it.status["attempts"]) == 1


async def test_a_look_that_is_refused_makes_the_policy_no_less_ready(it: World) -> None:
    await it.look()
    it.finish(*it.backups)
    it.now += timedelta(minutes=2)
    it.server.refuses["POST", "jobs"] = refusal(403, "Forbidden", "exceeded quota")
    await it.look()
    assert it.said("Ready") == ("True", "InForce")
    assert "attempts" not in it.status or it.status["attempts"] == []


async def test_nothing_is_deleted_from_the_archive_while_a_restore_is_looking_for_its_backups(it: World) -> None:
    await it.look()
    it.finish(*it.backups)
    it.now += timedelta(minutes=2)
    it.put(restore_request(source={"policyRef": {"name": "operational"}, "target": {"latest": True}}))
    await it.look()
    assert not [plural for plural, _ in it.server.objects if plural == "jobs"]


async def test_what_is_read_now_is_told_to_the_look_also_when_its_object_is_gone(it: World) -> None:
    """A restore whose DatabaseBackup somebody deleted, and the named parent of a backup that is being taken."""
    await it.look()
    it.finish(*it.backups)
    it.now += timedelta(minutes=2)
    place = f"{NAMESPACE}/operational/0001/backups/the-old-one"
    reading = {"backupID": "the-old-one", "location": place, "conditions": [condition("Ready", "False", "Restoring")]}
    it.put(restore_request(status=reading))
    upon = {"clusterRef": {"name": "operational"}, "storeRef": {"name": "claims"}, "type": "Incremental"}
    it.put(DatabaseBackup.of(body("DatabaseBackup", "mine", {**upon, "parent": "the-parent"})))
    await it.look()
    (job,) = (made for (plural, _), made in it.server.objects.items() if plural == "jobs")
    task = json.loads(job["spec"]["template"]["metadata"]["annotations"][TASK_ANNOTATION])
    assert task["payload"]["inUse"] == ["the-old-one", "the-parent"]


async def test_a_backup_that_does_not_get_on_loses_its_job_and_keeps_its_object(it: World) -> None:
    passed = [0.0]
    it.controller.stalls = StallWatch(lambda: passed[0])
    await it.look()
    (name,) = it.backups
    status = {"attempts": [attempt(job="the-job")], "conditions": [condition("Ready", "False", "BackingUp")]}
    kept = it.server.keep("databasebackups", name, {**it.backups[name], "status": status})
    it.context.cache.put(Key("DatabaseBackup", NAMESPACE, name), kept)
    it.server.keep("jobs", "the-job", {"metadata": {"uid": "uid-of-the-job"}})
    await it.look()
    assert ("jobs", "the-job") in it.server.objects
    passed[0] = STUCK_SECONDS + 1
    await it.look()
    assert ("jobs", "the-job") not in it.server.objects
    assert name in it.backups


async def test_an_operator_that_is_restarted_every_few_minutes_ends_a_stuck_backup_all_the_same(it: World) -> None:
    await it.look()
    (name,) = it.backups
    began = it.now
    passed = [0.0]
    while ("jobs", "the-job") in it.server.objects or it.now == began:
        it.controller.stalls = StallWatch(lambda: passed[0])
        status = {
            "attempts": [attempt(job="the-job") | {"startTime": began.isoformat()}],
            "conditions": [condition("Ready", "False", "BackingUp")],
        }
        kept = it.server.keep("databasebackups", name, {**it.backups[name], "status": status})
        it.context.cache.put(Key("DatabaseBackup", NAMESPACE, name), kept)
        it.server.keep("jobs", "the-job", {"metadata": {"uid": "uid-of-the-job"}})
        for passed[0] in (0.0, 200.0, 240.0):
            await it.look()
        it.now += timedelta(minutes=5)
        assert it.now < began + timedelta(seconds=STUCK_SECONDS) + timedelta(minutes=15)
    assert it.now > began + timedelta(seconds=STUCK_SECONDS)


async def test_objects_whose_time_is_over_go(it: World) -> None:
    await it.look()
    (name,) = it.backups
    it.finish(name, "False", "StoreFull")
    it.now += timedelta(days=8)
    await it.look()
    assert name not in it.backups


async def test_the_younger_of_two_policies_of_one_archive_stands_back(it: World) -> None:
    elder = policy("elder")
    elder.metadata.creation_timestamp = NOW - timedelta(days=1)
    it.put(elder)
    await it.look()
    assert it.said("Stalled") == ("True", "PolicyDuplicate")
    assert it.backups == {}
    it.context.cache.drop(Key("BackupPolicy", NAMESPACE, "elder"))
    assert KEY in it.controller.dependents(Key("BackupPolicy", NAMESPACE, "elder"))
    await it.look()
    assert len(it.backups) == 1


@pytest.mark.parametrize(("kind", "reason"), [("DatabaseCluster", "ClusterNotFound"), ("BackupStore", "StoreNotFound")])
async def test_what_is_missing_is_waited_for(it: World, kind: str, reason: str) -> None:
    name = "operational" if kind == "DatabaseCluster" else "claims"
    missing = Key(kind, NAMESPACE, name)
    it.context.cache.drop(missing)
    await it.look()
    assert it.said("Ready") == ("False", reason)
    assert KEY in it.controller.dependents(missing)
    assert it.backups == {}


async def test_a_policys_own_backups_wake_it_and_others_do_not(it: World) -> None:
    await it.look()
    (name,) = it.backups
    assert it.controller.dependents(Key("DatabaseBackup", NAMESPACE, name)) == [KEY]
    it.put(DatabaseBackup.of(body("DatabaseBackup", "mine", {"clusterRef": {"name": "a"}, "storeRef": {"name": "b"}})))
    assert it.controller.dependents(Key("DatabaseBackup", NAMESPACE, "mine")) == []


async def test_metrics_tell_of_the_last_success_and_go_with_the_policy(it: World) -> None:
    await it.look()
    it.finish(*it.backups)
    await it.look()
    labels = {"namespace": NAMESPACE, "policy": "operational"}
    success = "pgwarden_backup_last_success_timestamp_seconds"
    assert REGISTRY.get_sample_value(success, {**labels, "type": "full"}) == NOW.timestamp()
    condition_ = {**labels, "condition": "Recoverable", "status": "true"}
    assert REGISTRY.get_sample_value("pgwarden_backup_condition", condition_) == 1
    it.context.cache.drop(KEY)
    await it.look()
    assert REGISTRY.get_sample_value(success, {**labels, "type": "full"}) is None


@pytest.mark.parametrize("missing", [False, True])
async def test_the_recovery_point_that_is_exported_lies_before_a_gap(it: World, missing: bool) -> None:
    """An alert on its age would else stay silent while the status says that nothing behind the gap can be had."""
    await it.look()
    (name,) = it.backups
    it.finish(name)
    made = it.server.objects["databasebackups", name]
    made["status"] |= {"timeline": 1, "startLSN": "0/2000028", "stopLSN": "0/2000158"}
    kept = it.server.keep("databasebackups", name, made)
    it.context.cache.put(Key("DatabaseBackup", NAMESPACE, name), kept)
    it.put(policy(status=it.status, wal={"enabled": True}))
    it.now += timedelta(hours=1)
    report = streaming(it.now, gaps=[gap()] if missing else [], gaps_total=int(missing)).report
    assert report is not None
    it.controller.board.take(KEY, report)
    await it.look()
    point = REGISTRY.get_sample_value(
        "pgwarden_backup_recovery_point_timestamp_seconds", {"namespace": NAMESPACE, "policy": "operational"}
    )
    assert point == (NOW if missing else it.now - timedelta(seconds=4)).timestamp()


async def test_with_another_store_the_status_begins_anew(it: World) -> None:
    await it.look()
    it.finish(*it.backups)
    await it.look()
    assert it.status["store"] == "claims"
    assert "earliestRecoverable" in it.status
    writable = {"conditions": [condition("Writable", "True")]}
    it.put(claim_store("other", status=writable))
    it.put(policy(status=it.status, storeRef={"name": "other"}))
    await it.look()
    assert it.status["store"] == "other"
    assert it.status.get("earliestRecoverable") is None
    assert it.said("Recoverable") == ("False", "NothingYet")


async def test_a_secret_of_the_backup_role_that_is_gone_is_told_at_the_next_look(it: World) -> None:
    await it.look()
    assert it.said("Ready") == ("True", "InForce")
    it.server.refuses["GET", "secrets"] = refusal(404, "NotFound")
    again = await it.look()
    assert it.said("Ready") == ("False", "CredentialsMissing")
    assert f"Secret {NAMESPACE}/backup-role" in it.status["message"]
    del it.server.refuses["GET", "secrets"]
    assert again is not None and again <= 60
    await it.look()
    assert it.said("Ready") == ("True", "InForce")
