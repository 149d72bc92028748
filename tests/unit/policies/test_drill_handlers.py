"""The controller of BackupPolicies over real HTTP, where drills are wanted: made once, told, cleared away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.key import Key
from pgwarden.restores.resource import RestoreRequest
from tests.support.loopback import refusal
from tests.support.objects import NAMESPACE, Body, claim_store, condition, observed_cluster
from tests.unit.policies.bodies import policy
from tests.unit.policies.test_handlers import KEY, UID, World, world

HOURLY = {"schedule": "0 * * * *", "jitterSeconds": 0, "keepLast": 1}
LABELS = {"namespace": NAMESPACE, "policy": "operational"}


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A policy with a restorable full and hourly drills, one of which is due."""
    async for made in world(observed_cluster(image="postgres:17"), policy(drill=HOURLY)):
        await made.look()
        made.finish(*made.backups)
        made.now += timedelta(minutes=61)
        yield made


def drills(it: World) -> dict[str, Body]:
    return {name: made for (plural, name), made in it.server.objects.items() if plural == "restorerequests"}


def end(it: World, name: str, status: str = "True", reason: str = "Completed") -> None:
    """A drill ends; the watch tells of it."""
    stalled = "False" if status == "True" else "True"
    told = {
        "completionTime": it.now.isoformat(),
        "recoverySeconds": 42,
        "dataLossSeconds": 3,
        "conditions": [
            condition("Ready", status, reason, message="it ended"),
            condition("Stalled", stalled, reason, lastTransitionTime=it.now.isoformat()),
        ],
    }
    kept = it.server.keep("restorerequests", name, {**drills(it)[name], "status": told})
    it.context.cache.put(Key("RestoreRequest", NAMESPACE, name), kept)


async def test_a_drill_is_made_once_and_the_policy_is_woken_by_it(it: World) -> None:
    await it.look()
    ((name, made),) = drills(it).items()
    assert made["metadata"]["labels"][OWNER_UID_LABEL] == UID
    assert RestoreRequest.of(made).spec.target.drill is not None
    assert it.status["drill"]["running"] == name
    assert it.controller.dependents(Key("RestoreRequest", NAMESPACE, name)) == [KEY]
    await it.look()
    assert list(drills(it)) == [name]


async def test_a_crash_before_the_status_is_written_makes_no_second_drill(it: World) -> None:
    it.server.refuses["PATCH", "backuppolicies"] = refusal(500, "InternalError")
    with pytest.raises(Exception, match="InternalError"):
        await it.look()
    it.server.refuses.clear()
    it.context.cache.drop(Key("RestoreRequest", NAMESPACE, *drills(it)), uid="another")
    await it.look()
    assert len(drills(it)) == 1


async def test_a_drill_that_the_api_server_refuses_is_told_and_holds_up_nothing(it: World) -> None:
    it.server.refuses["POST", "restorerequests"] = refusal(403, "Forbidden", "exceeded quota")
    before = len(it.backups)
    assert await it.look() is not None
    assert it.said("DrillsPossible") == ("False", "DrillForbidden")
    assert it.said("Ready") == ("True", "InForce")
    assert len(it.backups) == before + 1, "the incremental that is due with it"
    it.server.refuses.clear()
    await it.look()
    assert it.said("DrillsPossible") == ("True", "Possible")
    assert len(drills(it)) == 1


async def test_what_it_measured_is_exported_and_older_objects_go(it: World) -> None:
    await it.look()
    (first,) = drills(it)
    end(it, first)
    await it.look()
    assert it.said("LastDrillSucceeded") == ("True", "Succeeded")
    ended = REGISTRY.get_sample_value("pgwarden_drill_last_success_timestamp_seconds", LABELS)
    assert ended == it.now.timestamp()
    assert REGISTRY.get_sample_value("pgwarden_drill_recovery_seconds", LABELS) == 42
    assert REGISTRY.get_sample_value("pgwarden_drill_data_loss_seconds", LABELS) == 3
    it.now += timedelta(hours=1)
    await it.look()
    (second,) = set(drills(it)) - {first}
    end(it, second, "False", "CheckFailed")
    await it.look()
    assert list(drills(it)) == [second]
    assert it.said("LastDrillSucceeded") == ("False", "CheckFailed")
    failed = {**LABELS, "condition": "LastDrillSucceeded", "status": "false"}
    assert REGISTRY.get_sample_value("pgwarden_backup_condition", failed) == 1
    it.context.cache.drop(KEY)
    await it.look()
    assert REGISTRY.get_sample_value("pgwarden_drill_recovery_seconds", LABELS) is None


async def test_without_an_identity_no_drill_of_an_encrypted_archive_is_made(it: World) -> None:
    writable = {"conditions": [condition("Writable", "True")]}
    it.put(claim_store(status=writable, encryption={"recipients": [f"age1{'q' * 58}"]}))
    await it.look()
    assert it.said("DrillsPossible") == ("False", "IdentityMissing")
    assert drills(it) == {}
