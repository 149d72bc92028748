"""The controller of a restore in place, over real HTTP: what it patches, which Jobs it makes, and what it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.api.model import Resource
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import TASK_ANNOTATION, Outcome, Result
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.restores.claim_note import NOTE
from pgwarden.restores.handlers import RestoreController
from pgwarden.restores.in_place_claims import MARK
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.stopping import RECORD
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import Loopback, loopback, refusal
from tests.support.objects import (
    NAMESPACE,
    NOW,
    Body,
    body,
    claim_store,
    condition,
    observed_cluster,
    restorable_backup,
)
from tests.unit.restores.in_place_world import RECOVERED, TOKEN, UID, in_place_request
from tests.unit.restores.test_fence import stateful_set

KEY = Key("RestoreRequest", NAMESPACE, "rescue")
CLAIM = "data-operational-0"
HANDED_OVER = {"pgdata": "/data/pgdata", "oldData": "/data/pgdata.before-0"}


@dataclass
class Place:
    """A controller, what the API server holds, and the time."""

    server: ApiServer
    context: OperatorContext
    controller: RestoreController
    api: Loopback

    def put(self, made: Resource) -> None:
        full = body(made.INFO.kind, made.metadata.name, made.spec.to_json(), made.status.to_json())  # type: ignore[attr-defined]
        kept = self.server.keep(made.INFO.plural, made.metadata.name, full)
        self.context.cache.put(Key(made.INFO.kind, NAMESPACE, made.metadata.name), kept)

    def edit(self, **spec: Any) -> None:
        found = self.server.objects["restorerequests", "rescue"]
        kept = self.server.keep("restorerequests", "rescue", {**found, "spec": {**found["spec"], **spec}})
        self.context.cache.put(KEY, kept)

    async def look(self) -> None:
        await self.controller.reconcile(KEY)
        moved = self.context.clock() + timedelta(seconds=1)
        self.context.clock = lambda: moved

    async def until(self, reason: str) -> str:
        """Looks until Ready has that reason; returns what it says."""
        for _ in range(12):
            await self.look()
            if self.said("Ready")[1] == reason:
                return self.said("Ready")[2]
        raise AssertionError(f"{reason} was not said: {self.said('Ready')}")

    @property
    def request(self) -> RestoreRequest:
        return RestoreRequest.of(self.server.objects["restorerequests", "rescue"])

    def said(self, type_: str) -> tuple[str, str, str]:
        found = next((each for each in self.request.status.conditions if each.type == type_), None)
        return (found.status.value, found.reason, found.message) if found is not None else ("", "", "")

    @property
    def jobs(self) -> list[Body]:
        return [made for (plural, _), made in self.server.objects.items() if plural == "jobs"]

    def task(self, job: Body) -> Body:
        found: Body = json.loads(job["spec"]["template"]["metadata"]["annotations"][TASK_ANNOTATION])
        return found

    def finish(self, reason: str, report: Body, *, failed: bool = False) -> Body:
        """The last Job ends; the watches tell of it and of its pod."""
        job = self.jobs[-1]
        result = Result(
            outcome=Outcome.FAILED if failed else Outcome.SUCCEEDED, reason=reason, message=reason, report=report
        )
        ended = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": NOW.isoformat()}
        name = job["metadata"]["name"]
        kept = self.server.keep("jobs", name, {**job, "status": {"conditions": [ended]}})
        self.context.cache.put(Key("Job", NAMESPACE, name), kept)
        state = {"terminated": {"exitCode": int(failed), "message": result.to_message()}}
        pod = body("Pod", f"{name}-x", {}, {"containerStatuses": [{"name": "agent", "state": state}]})
        pod["metadata"]["labels"] = {JOB_NAME_LABEL: name, OWNER_UID_LABEL: UID}
        self.context.cache.put(Key("Pod", NAMESPACE, f"{name}-x"), pod)
        return job

    def replicas(self, plural: str, name: str) -> int:
        return int(self.server.objects[plural, name]["spec"]["replicas"])

    async def starts(self) -> None:
        """The server is scaled up, one look after it stands in the status that the data are in their place."""
        await self.until("StartingServer")
        await self.look()

    def comes_up(self) -> None:
        """The server's pod is ready."""
        found = self.server.objects["statefulsets", "operational"]
        status = {"replicas": 1, "readyReplicas": 1, "observedGeneration": found["metadata"]["generation"]}
        self.server.keep("statefulsets", "operational", {**found, "status": status})


@pytest.fixture
async def it() -> AsyncIterator[Place]:
    """A server of one member with a service, a backup of it, and a request that replaces its data."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        place = Place(server, context, RestoreController(context), api)
        cluster = observed_cluster(
            workloadRef={"name": "operational"}, image="postgres:17", dependentServices=[{"name": "api"}]
        )
        cluster.status.restore_token = TOKEN
        writable = {"conditions": [condition("Writable", "True")]}
        for made in (cluster, claim_store(status=writable), restorable_backup(), in_place_request()):
            place.put(made)
        workload = {**stateful_set(), "apiVersion": "apps/v1"}
        server.keep("statefulsets", "operational", body("StatefulSet", "operational", workload["spec"], {}))
        server.keep("deployments", "api", body("Deployment", "api", {"replicas": 3}, {}))
        server.keep("persistentvolumeclaims", CLAIM, body("PersistentVolumeClaim", CLAIM, {}))
        yield place


async def begun(it: Place) -> None:
    """The preflight passed, services and server are stopped, and the long Job runs."""
    await it.until("Preflight")
    it.finish("Passed", {})
    await it.until("Starting")
    await it.until("WaitingForConnections")
    assert it.replicas("statefulsets", "operational") == 1
    it.finish("NobodyConnected", {})
    await it.until("Restoring")


async def test_a_restore_goes_all_its_way(it: Place) -> None:
    await begun(it)
    assert it.replicas("statefulsets", "operational") == it.replicas("deployments", "api") == 0
    marked = it.server.objects["persistentvolumeclaims", CLAIM]["metadata"]["annotations"]
    assert marked[MARK] == UID
    assert f"{NAMESPACE}/rescue" in marked[NOTE]
    assert ("networkpolicies" in {plural for plural, _ in it.server.objects}) is True
    it.finish("Recovered", RECOVERED)
    await it.until("HandingOver")
    it.finish("HandedOver", HANDED_OVER)
    await it.starts()
    assert it.replicas("statefulsets", "operational") == 1
    assert it.replicas("deployments", "api") == 0
    it.comes_up()
    message = await it.until("Completed")
    assert "The old data are in /data/pgdata.before-0 on claim data-operational-0" in message
    assert it.replicas("deployments", "api") == 3
    for plural, name in (("statefulsets", "operational"), ("deployments", "api"), ("persistentvolumeclaims", CLAIM)):
        assert it.server.objects[plural, name]["metadata"]["annotations"] == {}
    # Finished Jobs get their time to live; then nothing is left to write.
    await it.look()
    before = len(it.api.asked)
    await it.look()
    assert [asked.method for asked in it.api.asked[before:] if asked.method != "GET"] == []


async def test_the_jobs_run_as_the_server_does_on_its_claim_and_where_it_mounts_it(it: Place) -> None:
    await begun(it)
    preflight, _, restore = it.jobs
    assert it.task(preflight)["payload"]["action"] == "Preflight"
    payload = it.task(restore)["payload"]
    assert (payload["pgdata"], payload["replaces"]) == ("/data/pgdata", TOKEN)
    pod = restore["spec"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}} in pod["volumes"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert pod["securityContext"]["runAsUser"] == 999
    assert "fsGroup" not in pod["securityContext"]
    assert restore["metadata"]["labels"]["pgwarden.dev/system-identifier"] == "7301"


async def test_who_is_connected_is_asked_as_the_monitor_asks(it: Place) -> None:
    await it.until("Preflight")
    it.finish("Passed", {})
    await it.until("WaitingForConnections")
    job = it.jobs[-1]
    payload = it.task(job)["payload"]
    assert payload["server"]["host"] == "db.example.com"
    assert payload["timeoutSeconds"] == 60
    assert not any("persistentVolumeClaim" in volume for volume in job["spec"]["template"]["spec"]["volumes"])
    it.finish("ConnectionsRemain", {}, failed=True)
    await it.until("ConnectionsRemain")
    assert it.said("Stalled")[0] == "True"
    assert (it.replicas("statefulsets", "operational"), it.replicas("deployments", "api")) == (1, 3)
    assert it.server.objects["persistentvolumeclaims", CLAIM]["metadata"]["annotations"] == {}


def on_node(it: Place, **pod: Any) -> None:
    """The server's own pod runs, on a node that not every pod may run on."""
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}]
    running = body("Pod", "operational-0", {"nodeName": "node-1", "volumes": volumes}, {"phase": "Running"})
    running["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "operational"}]
    it.server.keep("pods", "operational-0", running)
    it.server.objects["statefulsets", "operational"]["spec"]["template"]["spec"] |= pod


async def test_a_preflight_looks_at_the_claim_beside_the_server_where_that_runs(it: Place) -> None:
    on_node(it, tolerations=[{"key": "databases", "operator": "Exists"}])
    await it.until("Preflight")
    pod = it.jobs[0]["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
    assert {"key": "databases", "operator": "Exists"} in pod["tolerations"]
    assert it.task(it.jobs[0])["payload"]["volumeMounted"] is True


async def test_a_claim_for_one_pod_only_is_not_mounted_beside_the_server(it: Place) -> None:
    on_node(it)
    it.server.objects["persistentvolumeclaims", CLAIM]["spec"]["accessModes"] = ["ReadWriteOncePod"]
    await it.until("Preflight")
    pod = it.jobs[0]["spec"]["template"]["spec"]
    assert all(volume["name"] != "data" for volume in pod["volumes"])
    assert it.task(it.jobs[0])["payload"]["volumeMounted"] is False


async def test_a_pod_of_somebody_else_on_the_claim_is_named(it: Place) -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": CLAIM}}]
    it.server.keep("pods", "shell", body("Pod", "shell", {"volumes": volumes}, {"phase": "Running"}))
    await it.look()
    assert it.said("Stalled")[:2] == ("True", "ClaimShared")
    assert "mount claim data-operational-0: shell" in it.said("Stalled")[2]


async def test_a_cancelled_restore_puts_everything_back(it: Place) -> None:
    await begun(it)
    it.edit(cancel=True)
    await it.until("PuttingBack")
    (deleted,) = (asked.path.rsplit("/", 1)[-1] for asked in it.api.asked if asked.method == "DELETE")
    it.context.cache.drop(Key("Job", NAMESPACE, deleted))
    await it.look()
    assert it.task(it.jobs[-1])["payload"]["action"] == "PutBack"
    assert it.replicas("statefulsets", "operational") == 0
    it.finish("PutBack", {"pgdata": "/data/pgdata"})
    message = await it.until("Cancelled")
    assert "as they were before" in message
    assert (it.replicas("statefulsets", "operational"), it.replicas("deployments", "api")) == (1, 3)
    assert RECORD not in it.server.objects["deployments", "api"]["metadata"]["annotations"]


async def test_a_workload_that_was_changed_meanwhile_is_looked_at_again_before_it_is_stopped(it: Place) -> None:
    await it.until("Preflight")
    it.finish("Passed", {})
    await it.until("Starting")
    it.server.refuses["PATCH", "deployments"] = refusal(409, "Conflict")
    await it.look()
    assert it.replicas("statefulsets", "operational") == 1
    assert it.said("Ready")[1] == "Starting"
    it.server.refuses.clear()
    await it.until("WaitingForConnections")


async def test_a_long_job_that_the_api_server_refuses_ends_in_everything_put_back(it: Place) -> None:
    await it.until("Preflight")
    it.finish("Passed", {})
    await it.until("Starting")
    await it.until("WaitingForConnections")
    it.finish("NobodyConnected", {})
    await it.until("Stopping")
    it.server.refuses["POST", "jobs"] = refusal(422, "Invalid")
    await it.until("JobRefused")
    assert it.replicas("statefulsets", "operational") == 0
    it.server.refuses.clear()
    await it.until("PuttingBack")
    it.finish("PutBack", {"pgdata": "/data/pgdata"})
    await it.until("JobRefused")
    assert it.said("Stalled")[0] == "True"
    assert (it.replicas("statefulsets", "operational"), it.replicas("deployments", "api")) == (1, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it.server.objects.pop(("deployments", "api")), "ServiceNotFound"),
        (lambda it: it.server.objects.pop(("statefulsets", "operational")), "WorkloadNotFound"),
        (lambda it: it.server.objects.pop(("persistentvolumeclaims", CLAIM)), "ClaimNotFound"),
        (lambda it: it.server.objects["statefulsets", "operational"]["spec"].update(replicas=17), "TooManyMembers"),
        (lambda it: it.context.config.__setattr__("in_place_restores", False), "InPlaceDisabled"),
    ],
)
async def test_what_cannot_be_stopped_is_refused_before_anything_is_touched(
    it: Place, change: Any, reason: str
) -> None:
    change(it)
    await it.look()
    assert it.said("Stalled")[:2] == ("True", reason)
    assert not it.jobs
    assert [
        asked.path for asked in it.api.asked if asked.method == "PATCH" and "restorerequests" not in asked.path
    ] == []


async def test_old_data_are_deleted_beside_the_server_that_runs(it: Place) -> None:
    await begun(it)
    it.finish("Recovered", RECOVERED)
    await it.until("HandingOver")
    it.finish("HandedOver", HANDED_OVER)
    await it.starts()
    it.comes_up()
    await it.until("Completed")
    it.edit(discardOld=True)
    server = body(
        "Pod",
        "operational-0",
        {"nodeName": "node-1", "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}]},
        {"phase": "Running"},
    )
    it.server.keep("pods", "operational-0", server)
    await it.look()
    job = it.jobs[-1]
    assert it.task(job)["payload"]["action"] == "DiscardOld"
    assert "node-1" in json.dumps(job["spec"]["template"]["spec"]["affinity"])
    assert it.said("Ready")[1] == "Completed"
    it.finish("Discarded", {"pgdata": "/data/pgdata"})
    await it.look()
    assert it.said("OldDataDiscarded")[:2] == ("True", "Discarded")
    place = it.request.status.in_place
    assert place is not None and place.old_data == ""
