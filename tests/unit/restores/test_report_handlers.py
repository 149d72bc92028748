"""The report of a restore that has ended is kept once, where nothing takes it away, and put into the store once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import TASK_ANNOTATION
from pgwarden.kube.key import Key
from pgwarden.kube.queue import Queue
from pgwarden.restores.handlers import RestoreController
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import Answer, Asked, Loopback, loopback, refusal
from tests.support.objects import (
    NAMESPACE,
    NOW,
    Body,
    attempt,
    body,
    claim_store,
    condition,
    observed_cluster,
    pod_body,
    restorable_backup,
    restore_request,
)

KEY = Key("RestoreRequest", NAMESPACE, "rescue")
ENDED: Body = {
    "attempts": [attempt(1)],
    "location": "shop/operational/0001/backups/20261123T110000Z-full-0123456789",
    "restoredTo": "0/3000110",
    "completionTime": "2026-11-23T12:00:00Z",
    "conditions": [condition("Ready", "True", "Completed", message="it answers")],
}
STUCK: Body = {
    "attempts": [attempt(1)],
    "conditions": [condition("Ready", "False", "CheckFailed"), condition("Stalled", "True", "CheckFailed")],
}
POLICY = "pgwarden-system-requested-by"
PATH = "shop/operational/0001/restores/uid-of-rescue/report.md"


@dataclass
class World:
    """A controller, and what the API server holds."""

    server: ApiServer
    controller: RestoreController
    api: Loopback
    admission: dict[str, Body]
    """Answers for cluster-wide objects, by their plural."""

    def answer(self, asked: Asked) -> Answer:
        for plural, found in self.admission.items():
            if asked.path.endswith(f"/{plural}/{POLICY}"):
                return 200, found
        if asked.path.endswith(f"/{NAMESPACE}/pods"):
            return 200, {"items": []}
        return self.server.answer(asked) if f"/{NAMESPACE}/" in asked.path else refusal(404, "NotFound")

    def put(self, made: Any, plural: str) -> None:
        full = body(made.INFO.kind, made.metadata.name, made.spec.to_json(), made.status.to_json())
        kept = self.server.keep(plural, made.metadata.name, full)
        self.controller.context.cache.put(Key(made.INFO.kind, NAMESPACE, made.metadata.name), kept)

    def put_request(self, status: Body, **spec: Any) -> None:
        self.put(restore_request(status=status, requestedBy="jane", **spec), "restorerequests")

    async def look(self) -> float | None:
        return await self.controller.reconcile(KEY)

    def objects(self, plural: str) -> dict[str, Body]:
        return {name: made for (kind, name), made in self.server.objects.items() if kind == plural}

    @property
    def report(self) -> Body:
        found: Body = self.server.objects["restorerequests", "rescue"]["status"]["report"]
        return found

    @property
    def text(self) -> str:
        return str(self.server.objects["configmaps", "rescue-report"]["data"]["report.md"])

    @property
    def changes(self) -> int:
        return sum(asked.method != "GET" for asked in self.api.asked)

    def end_job(self, message: Body | None) -> None:
        """The Job of the report ends, as the watches tell it."""
        ((name, job),) = self.objects("jobs").items()
        cache = self.controller.context.cache
        outcome = "Complete" if message and message["outcome"] == "Succeeded" else "Failed"
        ended = [{"type": outcome, "status": "True", "lastTransitionTime": NOW.isoformat()}]
        cache.put(Key("Job", NAMESPACE, name), self.server.keep("jobs", name, {**job, "status": {"conditions": ended}}))
        state = {"terminated": {"exitCode": 0, "message": json.dumps(message)}} if message else {}
        pod = pod_body(name, status={"phase": "Failed", "containerStatuses": [{"name": "agent", "state": state}]})
        cache.put(Key("Pod", NAMESPACE, pod["metadata"]["name"]), pod)


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A restore of a backup in a store that can be written to."""
    context, admission = operator_context(requesterPolicy=POLICY), dict[str, Body]()
    world = World(ApiServer(), RestoreController(context), Loopback(), admission)
    async with loopback(world.answer) as api:
        world.api, context.client = api, api.client()
        context.controllers = [world.controller]
        writable = {"conditions": [condition("Writable", "True")]}
        for made, plural in (
            (observed_cluster(), "databaseclusters"),
            (claim_store(status=writable), "backupstores"),
            (restorable_backup(), "databasebackups"),
        ):
            world.put(made, plural)
        yield world


@pytest.mark.parametrize("status", [ENDED, STUCK])
async def test_the_report_of_a_restore_is_kept_and_owned_by_nothing(it: World, status: Body) -> None:
    it.put_request(status)
    await it.look()
    (kept,) = it.objects("configmaps").values()
    assert kept["metadata"]["name"] == it.report["configMap"] == "rescue-report"
    assert "ownerReferences" not in kept["metadata"]
    assert kept["metadata"]["labels"][OWNER_UID_LABEL] == "uid-of-rescue"
    assert kept["immutable"] is True
    assert "| asked by | jane (not verified) |" in it.text


async def test_a_job_puts_the_same_text_into_the_store_and_then_nothing_is_written_any_more(it: World) -> None:
    it.put_request(ENDED)
    assert await it.look() is not None
    ((name, job),) = it.objects("jobs").items()
    task = json.loads(job["spec"]["template"]["metadata"]["annotations"][TASK_ANNOTATION])
    assert (task["operation"], task["payload"]["archive"]) == ("file-report", "shop/operational/0001")
    assert task["payload"]["text"] == it.text
    it.end_job({"outcome": "Succeeded", "reason": "Filed", "report": {"path": PATH}})
    assert await it.look() is None
    assert it.report == {
        "configMap": "rescue-report", "job": name, "path": PATH, "message": "", "complete": True,
    }  # fmt: skip
    await it.look()
    changes = it.changes
    for _ in range(3):
        await it.look()
    assert it.changes == changes


async def test_the_operator_that_died_after_making_them_adopts_config_map_and_job(it: World) -> None:
    it.put_request(ENDED)
    await it.look()
    it.put_request(ENDED)
    await it.look()
    assert (len(it.objects("configmaps")), len(it.objects("jobs"))) == (1, 1)
    assert it.report["configMap"] == "rescue-report"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"outcome": "Failed", "reason": "StoreAccessDenied", "message": "the bucket refuses"}, "the bucket refuses"),
        (None, "the report is not in the store"),
    ],
)
async def test_a_store_that_does_not_take_it_is_told_and_the_restore_stays_what_it_is(
    it: World, message: Body | None, told: str
) -> None:
    it.put_request(ENDED)
    await it.look()
    it.end_job(message)
    assert await it.look() is None
    assert it.report["complete"] is True
    assert told in it.report["message"]
    ready = it.server.objects["restorerequests", "rescue"]["status"]["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Completed")


async def test_a_store_that_cannot_be_written_to_gets_no_job(it: World) -> None:
    refused = {"conditions": [condition("Writable", "False", "StoreFull", message="no space left")]}
    it.put(claim_store(status=refused), "backupstores")
    it.put_request(ENDED)
    assert await it.look() is None
    assert not it.objects("jobs")
    assert "no space left" in it.report["message"]


async def test_a_second_request_of_the_name_does_not_touch_the_first_ones_report(it: World) -> None:
    metadata = {"name": "rescue-report", "namespace": NAMESPACE, "labels": {OWNER_UID_LABEL: "uid-of-another"}}
    it.server.keep("configmaps", "rescue-report", {"metadata": metadata, "data": {"report.md": "the first"}})
    it.put_request(ENDED)
    await it.look()
    assert it.text == "the first"
    assert it.report["configMap"].startswith("rescue-report-")
    assert it.report["configMap"] in it.objects("configmaps")


async def test_a_refused_config_map_is_told_and_the_store_has_the_report(it: World) -> None:
    it.server.refuses["POST", "configmaps"] = refusal(403, "Forbidden", "exceeded quota: configmaps")
    it.put_request(ENDED)
    await it.look()
    assert "exceeded quota" in it.report["message"]
    assert len(it.objects("jobs")) == 1


async def test_a_restore_that_never_began_has_no_report(it: World) -> None:
    it.put_request({"conditions": STUCK["conditions"]})
    await it.look()
    assert not it.objects("configmaps") and not it.objects("jobs")


async def test_what_ended_long_ago_gets_none(it: World) -> None:
    """An operator that is upgraded finds the restores of months, and no reports."""
    it.put_request({**ENDED, "completionTime": (NOW - timedelta(days=2)).isoformat()})
    await it.look()
    assert not it.objects("configmaps") and not it.objects("jobs")


async def test_who_asked_is_verified_by_the_policy_of_the_chart(it: World) -> None:
    before = {"name": POLICY, "creationTimestamp": (NOW - timedelta(days=1)).isoformat()}
    it.admission["validatingadmissionpolicies"] = {"metadata": before}
    it.admission["validatingadmissionpolicybindings"] = {
        "metadata": before,
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    }
    it.put_request(ENDED)
    await it.look()
    assert "| asked by | jane (verified) |" in it.text


class Woken(Queue):
    """A queue that only remembers who was woken."""

    def __init__(self) -> None:
        super().__init__(resync_seconds=600)
        self.keys: list[Key] = []

    def add(self, key: Key) -> None:
        self.keys.append(key)


async def test_the_end_of_a_restore_is_followed_by_its_report_at_once(it: World) -> None:
    woken = it.controller.context.queue = Woken()
    working = {"conditions": [condition("Ready", "False", "Restoring")], "attempts": [attempt(1)]}
    it.put_request(working)
    await it.look()
    assert KEY not in woken.keys
    it.put_request(working, cancel=True)
    await it.look()
    assert KEY in woken.keys
    await it.look()
    assert "failed (Cancelled)" in it.text
