"""Restores into a server that runs: one Job, nothing made beside it, and what it loaded is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pgwarden.jobs.attempts import MAX_ATTEMPTS, AttemptOutcome
from pgwarden.jobs.names import OPERATION_LABEL, SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import TASK_ANNOTATION, Task
from pgwarden.kube.key import Key
from pgwarden.restores.handlers import RestoreController
from pgwarden.restores.parts_contract import LoadDumpTask, PartsTask, RecoverPartsTask, working_name
from pgwarden.restores.plan import ObservedRestore, finished, plan
from pgwarden.restores.resource import RestoreRequest
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import loopback
from tests.support.objects import (
    IN_FORCE,
    NAMESPACE,
    NOW,
    STUCK,
    WORKING,
    Body,
    attempt,
    backup,
    claim_store,
    cluster,
    condition,
    ended_job,
    failure,
    job_state,
    kstatus,
    observed_cluster,
    parts_request,
    restorable_backup,
    said,
    success,
    written,
)
from tests.unit.policies.bodies import policy
from tests.unit.restores.test_drill_handlers import KEY, World, condition_of

OPEN: Body = {"attempts": [{**attempt(), "startTime": "2026-11-23T11:50:00Z"}], "startTime": "2026-11-23T11:50:00Z"}
CREDENTIALS: Body = {"monitor": {"secretName": "monitor-role"}}
LAST: Body = {"attempts": [attempt(MAX_ATTEMPTS, AttemptOutcome.FAILED, ago=999)]}
PART: Body = {
    "database": "shop",
    "newName": "shop_then",
    "tables": 1,
    "rows": 520,
    "sizeBytes": 8_000_000,
    "counts": [{"table": "billing.invoices", "rows": 520}],
}
REPORT: Body = {
    "endLsn": "0/6000000",
    "timeline": 2,
    "systemIdentifier": "7301",
    "findings": ["shop_then: foreign key invoices_account_fkey is left out"],
    "steps": [{"name": "Load", "started": "2026-11-23T11:52:00Z", "finished": "2026-11-23T11:53:00Z"}],
    "parts": [PART],
}


def seen(job: JobState = ABSENT, **more: Any) -> ObservedRestore:
    return ObservedRestore(backup=None, job=job, **more)


def over(**report: Any) -> JobState:
    told = success("PartsRestored", **REPORT | report)
    return ended_job(told, told={"agent": told})


@pytest.mark.parametrize(
    ("before", "observed", "triple", "reason", "starts"),
    [
        (parts_request(), seen(), WORKING, "Starting", 1),
        (parts_request(suspend=True), seen(), WORKING, "Suspended", None),
        (parts_request(status=OPEN), seen(job_state(JobPhase.RUNNING)), WORKING, "Restoring", None),
        (parts_request(status=OPEN), seen(over()), IN_FORCE, "Completed", None),
        (parts_request(status=OPEN), seen(ended_job(failure("DatabaseExists"))), STUCK, "DatabaseExists", None),
        (parts_request(status=OPEN), seen(ended_job(success(a=1))), STUCK, "ReportUnreadable", None),
        (parts_request(status=LAST), seen(), STUCK, "Ended", None),
        (parts_request(status=OPEN, cancel=True), seen(job_state(JobPhase.RUNNING)), STUCK, "Cancelled", None),
    ],
)
def test_each_state_has_its_step_and_its_words(
    before: RestoreRequest, observed: ObservedRestore, triple: tuple[str, ...], reason: str, starts: int | None
) -> None:
    result = plan(before, observed, NOW)
    assert (kstatus(result.judgments), said(result.judgments)[1]) == (triple, reason)
    assert (result.attempt, result.make_instance) == (starts, False)
    assert finished(parts_request(status=written(result, before))) == (triple != WORKING)


def test_what_was_loaded_is_told_with_what_puts_it_in_place() -> None:
    status = written(plan(parts_request(status=OPEN), seen(over()), NOW), parts_request())
    (loaded,) = status["loaded"]
    assert {name: loaded[name] for name in PART} == PART
    assert "pg_dump" in loaded["swap"] and "psql" in loaded["swap"]
    assert (status["restoredTo"], status["restoredTime"]) == ("0/6000000", "2026-11-23T11:30:00Z")
    assert (status["durationSeconds"], status["step"], status["findings"]) == (600.0, "Done", REPORT["findings"])
    assert not status.get("host") and not status.get("secretName")
    steps = {step["name"]: step["state"] for step in status["steps"]}
    assert steps["Load"] == "Done" and "HandOver" not in steps and "StartInstance" not in steps
    message = next(each["message"] for each in status["conditions"] if each["type"] == "Ready")
    assert '"shop_then" has 520 rows in 1 tables' in message
    assert "kubectl pgwarden restore show exercise" in message


def test_a_repeat_that_knows_no_more_where_recovery_ended_is_done_all_the_same() -> None:
    status = written(plan(parts_request(status=OPEN), seen(over(endLsn="", timeline=0)), NOW), parts_request())
    assert "restoredTo" not in status
    assert [each["newName"] for each in status["loaded"]] == ["shop_then"]


def test_a_cancelled_one_names_what_a_killed_pod_may_have_left() -> None:
    request = parts_request(status=OPEN, cancel=True)
    result = plan(request, seen(job_state(JobPhase.RUNNING)), NOW)
    message = next(each.message for each in result.judgments if each.type == "Stalled")
    assert f'DROP DATABASE IF EXISTS "{working_name(request.metadata.uid, "shop_then")}";' in message
    assert result.delete_job == "job-1"


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A table of a policy's archive wanted in another server, and all that refers to."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        world = World(server, context, RestoreController(context), api)
        context.controllers = [world.controller]
        for made in (
            observed_cluster(image="postgres:17"),
            live(),
            claim_store(),
            policy(storeRef={"name": "claims"}),
            restorable_backup(),
            parts_request(),
        ):
            world.put(made)
        yield world


def live(version: str = "18.1", **spec: Any) -> Any:
    """The server to load into."""
    status = {"version": version, "systemIdentifier": "99", "conditions": [condition("Reachable", "True")]}
    return cluster("live", status, primary={"host": "live.example.com", "port": 6543}, **spec)


async def test_it_is_one_job_that_keeps_others_off_the_live_server_and_may_reach_it(it: World) -> None:
    await it.look()
    assert it.made() == ["networkpolicies", "jobs"]
    labels = it.job["metadata"]["labels"]
    assert (labels[OPERATION_LABEL], labels[SYSTEM_IDENTIFIER_LABEL]) == ("restore-parts", "99")
    (made,) = (made for (plural, _), made in it.server.objects.items() if plural == "networkpolicies")
    pod_labels = it.job["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["podSelector"]["matchLabels"].items() <= pod_labels.items()
    ports = [(each["protocol"], each["port"]) for rule in made["spec"]["egress"] for each in rule["ports"]]
    assert ports == [("UDP", 53), ("TCP", 53), ("TCP", 6543)]


async def test_both_agents_know_the_live_server_and_the_recovered_one_does_not(it: World) -> None:
    await it.look()
    annotations = it.job["spec"]["template"]["metadata"]["annotations"]
    first = PartsTask.model_validate(Task.model_validate_json(annotations[TASK_ANNOTATION]).payload)
    second = RecoverPartsTask.model_validate(json.loads(annotations[f"{TASK_ANNOTATION}-recover"])["payload"])
    assert first.into == second.into
    assert (first.into.address.host, first.into.address.port) == ("live.example.com", 6543)
    assert (first.into.expected_system_identifier, second.superuser_password_file) == ("99", None)
    assert [each.new_name for each in first.into.parts] == ["shop_then"]
    pod = it.job["spec"]["template"]["spec"]
    secret = next(each for each in pod["volumes"] if each["name"] == "database")["projected"]["sources"][0]["secret"]
    assert secret["name"] == "restore-role"
    assert "ephemeral" in next(each for each in pod["volumes"] if each["name"] == "data")
    sees = {
        each["name"]: {mount["name"] for mount in each["volumeMounts"]}
        for each in [*pod["initContainers"], *pod["containers"]]
    }
    assert {name for name, mounts in sees.items() if "database" in mounts} == {"restore", "agent"}


async def test_one_that_went_well_leaves_no_job_and_a_report(it: World) -> None:
    await it.look()
    it.end("Complete", agent=success("PartsRestored", **REPORT))
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    assert it.job["spec"]["ttlSecondsAfterFinished"] == 0
    it.put(RestoreRequest.of(it.server.objects["restorerequests", "exercise"]))
    await it.look()
    (report,) = (made for (plural, _), made in it.server.objects.items() if plural == "configmaps")
    assert "DatabaseCluster live" in report["data"]["report.md"]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (live(credentials=CREDENTIALS), "CredentialsMissing"),
        (live(credentials={**CREDENTIALS, "restore": {"secretName": "x", "passwordKey": "pw"}}), "SecretMissing"),
        (live(version="16.4"), "LiveServerOlder"),
        (live(suspend=True), "ClusterSuspended"),
    ],
)
async def test_a_server_that_nothing_can_be_loaded_into_is_told(it: World, server: Any, reason: str) -> None:
    it.put(server)
    await it.look()
    assert condition_of(it.status)[1] == reason
    assert it.made() == []


async def test_a_server_that_is_not_there_is_waited_for_and_wakes_it(it: World) -> None:
    it.context.cache.drop(Key("DatabaseCluster", NAMESPACE, "live"))
    await it.look()
    assert condition_of(it.status) == ("False", "ClusterNotFound")
    assert it.controller.dependents(Key("DatabaseCluster", NAMESPACE, "live")) == [KEY]


def dump(logical_format: str = "Custom") -> Any:
    """A logical backup that is finished."""
    done = restorable_backup("dump", plainBytes=5 << 30).status.to_json()
    return backup("dump", done, type="Logical", logical={"format": logical_format})


OUT_OF_A_DUMP: Body = {"source": {"backupRef": {"name": "dump"}}}
LOADED: Body = {"backupId": "20261123T110000Z-logical-0123456789", "parts": [PART], "steps": REPORT["steps"]}


@pytest.mark.parametrize(("logical_format", "kind"), [("Custom", "emptyDir"), ("Directory", "ephemeral")])
async def test_out_of_a_dump_it_is_one_agent_alone(it: World, logical_format: str, kind: str) -> None:
    it.put(live(version="17.9"))
    it.put(dump(logical_format))
    it.put(parts_request(**OUT_OF_A_DUMP))
    await it.look()
    assert it.made() == ["networkpolicies", "jobs"]
    labels = it.job["metadata"]["labels"]
    assert (labels[OPERATION_LABEL], labels[SYSTEM_IDENTIFIER_LABEL]) == ("load-dump", "99")
    (made,) = (made for (plural, _), made in it.server.objects.items() if plural == "networkpolicies")
    template = it.job["spec"]["template"]
    assert made["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    pod = template["spec"]
    assert [each["name"] for each in pod["containers"]] == ["agent"] and "initContainers" not in pod
    task = Task.model_validate_json(template["metadata"]["annotations"][TASK_ANNOTATION])
    payload = LoadDumpTask.model_validate(task.payload)
    assert (payload.into.address.host, payload.location) == ("live.example.com", dump().status.location)
    assert kind in next(each for each in pod["volumes"] if each["name"] == "data")


async def test_a_dump_is_loaded_by_the_tools_of_the_server_that_it_goes_into(it: World) -> None:
    it.put(dump())
    it.put(parts_request(**OUT_OF_A_DUMP))
    await it.look()
    assert condition_of(it.status) == ("False", "AgentImageMissing")
    assert "no agent image for PostgreSQL 18" in it.status["conditions"][0]["message"]


def test_what_came_out_of_a_dump_is_told_with_its_own_steps() -> None:
    told = success("PartsRestored", **LOADED)
    before = parts_request(status=OPEN, **OUT_OF_A_DUMP)
    observed = ObservedRestore(backup=dump(), job=ended_job(told, told={"agent": told}))
    status = written(plan(before, observed, NOW), before)
    assert kstatus(plan(before, observed, NOW).judgments) == IN_FORCE
    names = [step["name"] for step in status["steps"]]
    assert names == ["LookAtTarget", "Resolve", "Select", "Preflight", "Load", "Analyze", "CountRows", "Publish"]
    assert status["loaded"][0]["rows"] == 520 and "restoredTo" not in status
