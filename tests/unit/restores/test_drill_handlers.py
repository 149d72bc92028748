"""The controller of RestoreRequests over real HTTP: a drill is one Job with its own volume, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from pgwarden.api.model import Resource
from pgwarden.jobs.names import OPERATION_LABEL, SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.task import TASK_ANNOTATION, Result, Task
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.restores.contract import DrillTask, RecoverTask
from pgwarden.restores.handlers import RestoreController
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import Loopback, loopback
from tests.support.objects import (
    NAMESPACE,
    NOW,
    Body,
    body,
    claim_store,
    drill_request,
    failure,
    observed_cluster,
    restorable_backup,
    success,
)
from tests.unit.policies.bodies import policy
from tests.unit.restores.test_drills import REPORT, laid_out

KEY = Key("RestoreRequest", NAMESPACE, "exercise")


@dataclass
class World:
    """A controller, and what the API server holds."""

    server: ApiServer
    context: OperatorContext
    controller: RestoreController
    api: Loopback

    def put(self, made: Resource) -> None:
        content: Any = made
        full = body(made.INFO.kind, made.metadata.name, content.spec.to_json(), content.status.to_json())
        kept = self.server.keep(made.INFO.plural, made.metadata.name, full)
        self.context.cache.put(Key(made.INFO.kind, NAMESPACE, made.metadata.name), kept)

    async def look(self) -> None:
        await self.controller.reconcile(KEY)

    def made(self) -> list[str]:
        """What was created, by kind."""
        return [asked.path.rsplit("/", 1)[-1] for asked in self.api.asked if asked.method == "POST"]

    @property
    def job(self) -> Body:
        (found,) = (made for (plural, _), made in self.server.objects.items() if plural == "jobs")
        return found

    @property
    def status(self) -> Body:
        found: Body = self.server.objects["restorerequests", "exercise"]["status"]
        return found

    def end(self, condition_: str, **told: Result) -> None:
        """The Job ends, and its pod's containers have told something."""
        job = self.job
        name = job["metadata"]["name"]
        ended = {"conditions": [{"type": condition_, "status": "True", "lastTransitionTime": NOW.isoformat()}]}
        kept = self.server.keep("jobs", name, {**job, "status": ended})
        self.context.cache.put(Key("Job", NAMESPACE, name), kept)
        statuses = [
            {"name": container, "state": {"terminated": {"exitCode": 0, "message": result.to_message()}}}
            for container, result in told.items()
        ]
        pod = {"name": f"{name}-x", "namespace": NAMESPACE, "uid": "uid-of-pod", "labels": {JOB_NAME_LABEL: name}}
        pod_body = {"metadata": {**pod, "resourceVersion": "1"}, "status": {"containerStatuses": statuses}}
        self.context.cache.put(Key("Pod", NAMESPACE, f"{name}-x"), pod_body)


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A drill of a policy's archive, and all it refers to."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        world = World(server, context, RestoreController(context), api)
        context.controllers = [world.controller]
        cluster = observed_cluster(image="postgres:17")
        for made in (cluster, claim_store(), policy(storeRef={"name": "claims"}), restorable_backup(), drill_request()):
            world.put(made)
        yield world


async def test_a_drill_is_one_job_whose_data_go_with_its_pod(it: World) -> None:
    await it.look()
    assert it.made() == ["networkpolicies", "jobs"]
    pod = it.job["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "ephemeral" in volumes["data"] and "superuser" not in volumes
    assert volumes["store"]["persistentVolumeClaim"]["claimName"] == "backups"
    mounts = {m["name"]: m for c in [*pod["initContainers"], *pod["containers"]] for m in c["volumeMounts"]}
    assert mounts["store"]["readOnly"] is True
    labels = it.job["metadata"]["labels"]
    assert (labels[OPERATION_LABEL], labels[SYSTEM_IDENTIFIER_LABEL]) == ("drill", "7301")


async def test_its_agents_are_told_that_it_is_a_drill(it: World) -> None:
    await it.look()
    annotations = it.job["spec"]["template"]["metadata"]["annotations"]
    first = Task.model_validate_json(annotations[TASK_ANNOTATION])
    assert DrillTask.model_validate(first.payload).target is not None
    second = RecoverTask.model_validate(json.loads(annotations[f"{TASK_ANNOTATION}-recover"])["payload"])
    assert (second.drill, second.superuser_password_file) == (True, None)


async def test_its_pods_reach_the_store_alone(it: World) -> None:
    await it.look()
    (made,) = (made for (plural, _), made in it.server.objects.items() if plural == "networkpolicies")
    labels = it.job["spec"]["template"]["metadata"]["labels"]
    selector = made["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= labels.items()
    assert (made["spec"]["ingress"], made["spec"]["egress"]) == ([], [])


async def test_one_that_went_well_leaves_no_job(it: World) -> None:
    await it.look()
    it.end("Complete", restore=laid_out(), agent=success("Recovered", **REPORT))
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    assert it.job["spec"]["ttlSecondsAfterFinished"] == 0


async def test_one_that_failed_keeps_its_log_for_people(it: World) -> None:
    await it.look()
    it.end("Failed", agent=failure("CheckFailed"))
    await it.look()
    assert condition_of(it.status) == ("False", "CheckFailed")
    assert it.job["spec"]["ttlSecondsAfterFinished"] == it.context.config.job_seconds_to_live


async def test_a_second_drill_of_the_same_cluster_waits(it: World) -> None:
    await it.look()
    it.put(drill_request("another"))
    await it.controller.reconcile(Key("RestoreRequest", NAMESPACE, "another"))
    status = it.server.objects["restorerequests", "another"]["status"]
    assert condition_of(status) == ("False", "Queued")
    assert it.made().count("jobs") == 1


async def test_without_any_backup_to_size_it_by_the_volume_has_to_be_named(it: World) -> None:
    it.context.cache.drop(Key("DatabaseBackup", NAMESPACE, "nightly"))
    await it.look()
    assert condition_of(it.status) == ("False", "VolumeSizeUnknown")
    it.put(drill_request(target={"drill": {"storage": {"size": "9Gi"}}}))
    await it.look()
    assert it.made() == ["networkpolicies", "jobs"]


def condition_of(status: Body, type_: str = "Ready") -> tuple[str, str]:
    (found,) = (each for each in status["conditions"] if each["type"] == type_)
    return found["status"], found["reason"]
