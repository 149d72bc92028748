"""A RestoreRequest deleted on the way, over real HTTP: what the look at the DatabaseCluster patches, makes and says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from pgwarden.clusters.handlers import ClusterController
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.task import Outcome, Result
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.kube.key import Key
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.restores.abandoned_handlers import AbandonedRestores
from pgwarden.restores.claim_note import NOTE
from pgwarden.restores.in_place_claims import MARK
from tests.support.loopback import refusal
from tests.support.objects import NAMESPACE, NOW, Body, body

from .in_place_world import UID, in_place_request
from .test_in_place_handlers import CLAIM, HANDED_OVER, KEY, Place, begun, it

__all__ = ["it"]

CLUSTER = Key("DatabaseCluster", NAMESPACE, "operational")
MARKED = ("persistentvolumeclaims", CLAIM)


class Deleted:
    """The place after its RestoreRequest was deleted, and Kubernetes has collected what belonged to it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.restores = AbandonedRestores(place.context)
        self.controller = ClusterController(place.context, ObservationBoard(), self.restores)
        for kind in ("restorerequests", "jobs"):
            for plural, name in [found for found in place.server.objects if found[0] == kind]:
                gone = place.server.objects.pop((plural, name))
                place.context.cache.drop(Key(gone["kind"], NAMESPACE, name), gone["metadata"]["uid"])

    async def look(self, seconds: int = 1) -> tuple[str, str, str]:
        """What the DatabaseCluster says of it after one look."""
        place = self.place
        moved = place.context.clock() + timedelta(seconds=seconds)
        place.context.clock = lambda: moved
        await self.controller.reconcile(CLUSTER)
        said = place.server.objects["databaseclusters", "operational"]["status"]["conditions"]
        found: Body = next((each for each in said if each["type"] == "RestoresConcluded"), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def finish(self, reason: str, report: Body | None = None, *, failed: bool = False) -> None:
        """The Job that puts back ends."""
        (job,) = self.place.jobs
        name = job["metadata"]["name"]
        outcome = Outcome.FAILED if failed else Outcome.SUCCEEDED
        result = Result(outcome=outcome, reason=reason, message=reason, report=report or {})
        now = self.place.context.clock().isoformat()
        ended = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": now}
        kept = self.place.server.keep("jobs", name, {**job, "status": {"conditions": [ended]}})
        self.place.context.cache.put(Key("Job", NAMESPACE, name), kept)
        state = {"terminated": {"exitCode": int(failed), "message": result.to_message()}}
        pod = body("Pod", f"{name}-x", {}, {"containerStatuses": [{"name": "agent", "state": state}]})
        pod["metadata"]["labels"] = {JOB_NAME_LABEL: name, OWNER_UID_LABEL: "uid-of-operational"}
        self.place.context.cache.put(Key("Pod", NAMESPACE, f"{name}-x"), pod)

    @property
    def replicas(self) -> tuple[int, int]:
        return self.place.replicas("statefulsets", "operational"), self.place.replicas("deployments", "api")


@pytest.fixture
async def deleted(it: Place) -> AsyncIterator[Deleted]:
    """The request was deleted while the data were restored."""
    await begun(it)
    yield Deleted(it)


async def test_everything_is_put_back_without_the_request(deleted: Deleted) -> None:
    assert deleted.replicas == (0, 0)
    assert (await deleted.look())[:2] == ("False", "PuttingBack")
    (job,) = deleted.place.jobs
    assert deleted.place.task(job)["payload"]["action"] == "PutBack"
    assert deleted.place.task(job)["payload"]["restore"]["requestUid"] == UID
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("DatabaseCluster", "operational")
    pod = job["spec"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}} in pod["volumes"]
    assert {"name": "data", "mountPath": "/data"} in pod["containers"][0]["volumeMounts"]
    assert pod["securityContext"]["runAsUser"] == 999
    await deleted.look()
    assert (len(deleted.place.jobs), deleted.replicas) == (1, (0, 0))
    deleted.finish("PutBack")
    await deleted.look()
    assert deleted.replicas == (1, 3)
    status, reason, message = await deleted.look(60)
    assert (status, reason) == ("True", "PutBack")
    assert f"RestoreRequest {NAMESPACE}/rescue (UID {UID}) was deleted on the way" in message
    for plural, name in (("statefulsets", "operational"), ("deployments", "api"), MARKED):
        assert deleted.place.server.objects[plural, name]["metadata"]["annotations"] == {}
    assert (await deleted.look())[2] == message
    assert deleted.place.jobs[0]["spec"]["ttlSecondsAfterFinished"] > 0


async def test_what_took_its_place_stays_and_is_brought_up(deleted: Deleted) -> None:
    await deleted.look()
    deleted.finish("AlreadyHandedOver", HANDED_OVER, failed=True)
    await deleted.look()
    assert deleted.replicas == (1, 3)
    status, reason, message = await deleted.look(60)
    assert (status, reason) == ("True", "HandedOver")
    assert "the old ones are in /data/pgdata.before-0" in message


async def test_a_request_that_is_there_is_left_to_itself(it: Place) -> None:
    await begun(it)
    kept = {found: dict(made) for found, made in it.server.objects.items() if found[0] in ("restorerequests", "jobs")}
    at_work = Deleted(it)
    # Not yet in the cache of an operator that has just begun, and seen by the API server.
    it.server.objects |= kept
    assert await at_work.look() == ("", "", "")
    assert at_work.replicas == (0, 0)
    assert it.server.objects[MARKED]["metadata"]["annotations"][MARK] == UID


async def test_services_that_only_the_request_named_are_started_too(it: Place) -> None:
    it.server.keep("cronjobs", "nightly", body("CronJob", "nightly", {"suspend": False}, {}))
    target = {"inPlace": {"replaces": "7301-1", "stop": [{"kind": "CronJob", "name": "nightly"}]}}
    it.edit(target=target)
    await begun(it)
    assert it.server.objects["cronjobs", "nightly"]["spec"]["suspend"] is True
    deleted = Deleted(it)
    await deleted.look()
    deleted.finish("PutBack")
    await deleted.look()
    assert it.server.objects["cronjobs", "nightly"]["spec"]["suspend"] is False


async def test_a_note_that_somebody_broke_costs_the_services_it_named_and_no_more(deleted: Deleted) -> None:
    deleted.place.server.objects[MARKED]["metadata"]["annotations"][NOTE] = '{"services": 1}'
    await deleted.look()
    deleted.finish("PutBack")
    await deleted.look()
    assert deleted.replicas == (1, 3)
    assert "a RestoreRequest (UID" in (await deleted.look(60))[2]


async def test_the_same_manifest_applied_again_waits_until_all_is_put_back(deleted: Deleted) -> None:
    again = in_place_request()
    again.metadata.uid = "uid-of-another"
    place = deleted.place
    full = body("RestoreRequest", "rescue", again.spec.to_json(), {})
    full["metadata"]["uid"] = "uid-of-another"
    place.context.cache.put(KEY, place.server.keep("restorerequests", "rescue", full))
    await place.look()
    assert place.said("Ready")[1] == "Queued"
    assert UID in place.said("Ready")[2]
    assert place.jobs == []
    await deleted.look()
    deleted.finish("PutBack")
    await deleted.look()
    assert (await deleted.look(60))[1] == "PutBack"
    await place.look()
    assert place.said("Ready")[1] == "Preflight"


async def test_what_the_api_server_refuses_is_told_and_tried_again(deleted: Deleted) -> None:
    deleted.place.server.refuses["POST", "jobs"] = refusal(403, "Forbidden")
    status, reason, message = await deleted.look()
    assert (status, reason) == ("False", "PutBackFailed")
    assert "the API server refuses that" in message
    deleted.place.server.refuses.clear()
    assert (await deleted.look())[1] == "PuttingBack"
    assert len(deleted.place.jobs) == 1


async def test_an_operator_that_begins_looks_and_then_only_when_a_request_goes(it: Place) -> None:
    restores = AbandonedRestores(it.context)
    controller = ClusterController(it.context, ObservationBoard(), restores)

    async def looked() -> bool:
        before = len(it.api.asked)
        await controller.reconcile(CLUSTER)
        return any("persistentvolumeclaims" in asked.path for asked in it.api.asked[before:])

    assert await looked()
    assert not await looked()
    assert controller.dependents(KEY) == []
    it.context.cache.drop(KEY, UID)
    assert controller.dependents(KEY) == [CLUSTER]
    assert await looked()
    it.context.clock = lambda: NOW + timedelta(minutes=16)
    assert await looked()


async def test_where_workloads_may_not_be_stopped_nothing_is_looked_at(deleted: Deleted) -> None:
    deleted.place.context.config.in_place_restores = False
    before = len(deleted.place.api.asked)
    assert await deleted.look() == ("", "", "")
    assert not any("persistentvolumeclaims" in asked.path for asked in deleted.place.api.asked[before:])


async def test_an_operator_that_died_after_the_last_write_says_so_at_the_next_look(deleted: Deleted) -> None:
    await deleted.look()
    del deleted.place.server.objects[MARKED]["metadata"]["annotations"]
    status, reason, message = await deleted.look()
    assert (status, reason) == ("True", "PutBack")
    assert "is started again" in message
