"""A RestoreRequest for two members, deleted on the way: both are put back by one Job, and every mark goes."""

from __future__ import annotations

from tests.support.objects import body

from .test_abandoned_handlers import Deleted
from .test_in_place_handlers import Place, it
from .test_in_place_members_handlers import PRIMARYS, SEEN, STANDBY, marks, mounted, stops, two, until_stopped

__all__ = ["it", "two"]


async def test_both_members_are_put_back_by_one_job(two: Place) -> None:
    await two.until("Preflight")
    two.finish("Passed", SEEN)
    await until_stopped(two, "Restoring")
    deleted = Deleted(two)
    assert (await deleted.look())[:2] == ("False", "PuttingBack")
    (job,) = two.jobs
    assert mounted(job) == {"agent": {"/data": PRIMARYS, "/pgwarden/members/0": STANDBY}}
    restore = two.task(job)["payload"]["restore"]
    assert [each["claim"] for each in restore["standbys"]] == [STANDBY]
    deleted.finish("PutBack")
    await deleted.look()
    assert deleted.replicas == (2, 3)
    assert (await deleted.look(60))[:2] == ("True", "PutBack")
    assert marks(two, PRIMARYS) == marks(two, STANDBY) == {}


async def test_where_nobody_had_found_the_primary_there_is_nothing_to_put_back(two: Place) -> None:
    for number, claim in enumerate((STANDBY, PRIMARYS)):
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        pod = body("Pod", f"operational-{number}", {"nodeName": f"node-{number}", "volumes": volumes}, {})
        pod["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "operational"}]
        two.server.keep("pods", f"operational-{number}", pod)
    await two.until("Preflight")
    two.finish("Passed", SEEN | {"primary": ""})
    await two.until("Starting")
    stops(two)
    await until_stopped(two, "Looking")
    deleted = Deleted(two)
    await deleted.look()
    assert deleted.replicas == (2, 3)
    assert two.jobs == []
    await deleted.look(60)
    assert marks(two, PRIMARYS) == marks(two, STANDBY) == {}
