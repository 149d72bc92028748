"""The controller of a restore in place of two members, over real HTTP: whose claims it marks, and who mounts them."""

from __future__ import annotations

import pytest

from pgwarden.restores.claim_note import NOTE
from pgwarden.restores.in_place_claims import MARK, PRIMARY
from tests.support.objects import Body, body
from tests.unit.restores.in_place_world import FOUND, RECOVERED, UID
from tests.unit.restores.test_in_place_handlers import HANDED_OVER, Place, it

__all__ = ["it"]

STANDBY, PRIMARYS = CLAIMS = ("data-operational-0", "data-operational-1")
SEEN = FOUND.model_copy(update={"primary": PRIMARYS}).model_dump(mode="json", by_alias=True)


@pytest.fixture
def two(it: Place) -> Place:
    """A primary, which is the second member, and its standby."""
    it.server.objects["statefulsets", "operational"]["spec"]["replicas"] = 2
    it.server.keep("persistentvolumeclaims", PRIMARYS, body("PersistentVolumeClaim", PRIMARYS, {}))
    return it


def runs(it: Place, number: int, node: str, *, ready: bool = True) -> None:
    """A member's pod is there."""
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIMS[number]}}]
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if not ready:
        status["containerStatuses"] = [{"name": "postgres", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    pod = body("Pod", f"operational-{number}", {"nodeName": node, "volumes": volumes}, status)
    pod["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "operational"}]
    it.server.keep("pods", f"operational-{number}", pod)


def stops(it: Place) -> None:
    for number in range(2):
        it.server.objects.pop(("pods", f"operational-{number}"))


async def until_stopped(it: Place, reason: str) -> None:
    """Nobody is connected any more, the servers stop, and Ready has that reason then."""
    await it.until("WaitingForConnections")
    it.finish("NobodyConnected", {})
    await it.until(reason)


def marks(it: Place, claim: str) -> Body:
    found: Body = it.server.objects["persistentvolumeclaims", claim]["metadata"].get("annotations", {})
    return {name: value for name, value in found.items() if name != NOTE}


def mounted(job: Body) -> dict[str, dict[str, str]]:
    """Where each container of a Job mounts which claim."""
    pod = job["spec"]["template"]["spec"]
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if each.get("persistentVolumeClaim", {}).get("claimName") in CLAIMS
    }
    return {
        container["name"]: {
            mount["mountPath"]: claims[mount["name"]] for mount in container["volumeMounts"] if mount["name"] in claims
        }
        for container in (*pod.get("initContainers", ()), *pod["containers"])
    }


async def test_members_on_one_node_are_looked_at_beside_the_servers_and_replaced_together(two: Place) -> None:
    for number in range(2):
        runs(two, number, "node-1")
    await two.until("Preflight")
    (preflight,) = two.jobs
    assert mounted(preflight) == {"agent": {"/pgwarden/members/0": STANDBY, "/pgwarden/members/1": PRIMARYS}}
    asked = two.task(preflight)["payload"]
    assert (asked["volumeMounted"], [each["claim"] for each in asked["members"]]) == (True, list(CLAIMS))
    two.finish("Passed", SEEN)
    await two.until("Starting")
    assert marks(two, PRIMARYS) == {MARK: UID, PRIMARY: UID}
    assert marks(two, STANDBY) == {MARK: UID}
    stops(two)
    await until_stopped(two, "Restoring")
    everywhere = {"/data": PRIMARYS, "/pgwarden/members/0": STANDBY}
    found = mounted(two.jobs[-1])
    assert found.pop("postgres") == {"/data": PRIMARYS}
    assert set(map(str, found.values())) == {str(everywhere)}
    standby = {"claim": STANDBY, "path": "/pgwarden/members/0", "serverPath": "/data"}
    assert two.task(two.jobs[-1])["payload"]["standbys"] == [standby]
    two.finish("Recovered", RECOVERED)
    await two.until("HandingOver")
    assert mounted(two.jobs[-1]) == {"agent": everywhere}
    two.finish("HandedOver", HANDED_OVER)
    await two.starts()
    assert two.replicas("statefulsets", "operational") == 2
    two.comes_up()
    runs(two, 0, "node-1")
    runs(two, 1, "node-1", ready=False)
    await two.starts()
    assert "container postgres of pod operational-1: CrashLoopBackOff" in two.said("Ready")[2]
    runs(two, 1, "node-1")
    await two.until("Completed")
    assert marks(two, PRIMARYS) == marks(two, STANDBY) == {}


async def test_members_on_several_nodes_are_looked_at_once_they_stopped(two: Place) -> None:
    for number in range(2):
        runs(two, number, f"node-{number}")
    await two.until("Preflight")
    assert two.task(two.jobs[0])["payload"]["volumeMounted"] is False
    assert mounted(two.jobs[0]) == {"agent": {}}
    two.finish("Passed", FOUND.model_dump(mode="json", by_alias=True))
    await two.until("Starting")
    assert marks(two, PRIMARYS) == marks(two, STANDBY) == {MARK: UID}
    stops(two)
    await until_stopped(two, "Looking")
    assert two.task(two.jobs[-1])["payload"]["action"] == "Look"
    assert mounted(two.jobs[-1]) == {"agent": {"/pgwarden/members/0": STANDBY, "/pgwarden/members/1": PRIMARYS}}
    two.finish("Found", {"primary": PRIMARYS})
    await two.until("Restoring")
    assert marks(two, PRIMARYS) == {MARK: UID, PRIMARY: UID}


async def test_a_member_whose_claim_is_missing_is_refused(two: Place) -> None:
    two.server.objects.pop(("persistentvolumeclaims", PRIMARYS))
    await two.look()
    assert two.said("Stalled")[1] == "ClaimNotFound"
    assert f"there is no claim {PRIMARYS}" in two.said("Stalled")[2]


async def test_a_claim_of_a_member_that_is_gone_is_told_of_and_not_touched(two: Place) -> None:
    two.server.objects["statefulsets", "operational"]["spec"]["replicas"] = 1
    await two.until("Preflight")
    two.finish("Passed", FOUND.model_dump(mode="json", by_alias=True))
    message = await two.until("Starting")
    assert f"{PRIMARYS} belonged to members" in message
    assert marks(two, PRIMARYS) == {}
    assert marks(two, STANDBY) == {MARK: UID}


async def test_old_data_are_deleted_where_each_member_runs(two: Place) -> None:
    await two.until("Preflight")
    two.finish("Passed", SEEN)
    await until_stopped(two, "Restoring")
    two.finish("Recovered", RECOVERED)
    await two.until("HandingOver")
    two.finish("HandedOver", HANDED_OVER)
    await two.starts()
    two.comes_up()
    for number in range(2):
        runs(two, number, f"node-{number}")
    message = await two.until("Completed")
    assert f"on claims {', '.join(CLAIMS)} until" in message
    two.edit(discardOld=True)
    for number, claim in enumerate(CLAIMS):
        await two.look()
        job = two.jobs[-1]
        assert mounted(job) == {"agent": {"/data": claim}}
        assert f"node-{number}" in str(job["spec"]["template"]["spec"]["affinity"])
        two.finish("Discarded", {"pgdata": "/data/pgdata"})
        await two.look()
    assert two.said("OldDataDiscarded")[:2] == ("True", "Discarded")
