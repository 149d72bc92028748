"""A RestoreRequest is deleted while it replaces data in place: everything becomes what it was, without a hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.cluster import Cluster
from tests.support.place import Place, condition, is_ready, is_stalled, thing

from .conftest import SERVICE
from .test_in_place import MARK, at_step, in_place, notes_on, runs_as_before

pytestmark = pytest.mark.timeout(900)

CONCLUDED = "RestoresConcluded"


@contextmanager
def away(cluster: Cluster, operator: str) -> Iterator[None]:
    """No operator runs meanwhile."""
    (deployment,) = cluster.get("deployments", "-n", operator, "-l", "app.kubernetes.io/name=pgwarden")["items"]
    scale = ("scale", "deployment", deployment["metadata"]["name"], "-n", operator)
    cluster.kubectl(*scale, "--replicas=0")
    pods = ("pods", "-n", operator, "-l", "app.kubernetes.io/name=pgwarden")
    try:
        cluster.wait(lambda: not cluster.get(*pods)["items"], "the operator to go")
        yield
    finally:
        cluster.kubectl(*scale, f"--replicas={deployment['spec']['replicas']}")


def written_since(premises: Place) -> None:
    """What the old data alone have: no restore point knows it."""
    premises.ask("analytics-0", "DROP TABLE IF EXISTS since_then; CREATE TABLE since_then (id int)", "analytics")


def still_written(premises: Place) -> bool:
    return premises.ask("analytics-0", "SELECT to_regclass('since_then') IS NOT NULL", "analytics") == "t"


@pytest.mark.long
def test_a_request_that_is_deleted_while_it_fetches_is_put_back(premises: Place) -> None:
    written_since(premises)
    premises.apply(in_place(premises, "deleted", "analytics", inspect={}))
    premises.until("restorerequest", "deleted", at_step("Fetch", "Verify", "MakeHarmless", "Recover", "Inspect"))
    uid = premises.get("restorerequest", "deleted")["metadata"]["uid"]
    assert premises.get("deployment", SERVICE)["spec"]["replicas"] == 0
    premises.kubectl("delete", "restorerequest", "deleted")
    message = premises.said("databasecluster", "analytics", CONCLUDED, "PutBack")
    assert f"RestoreRequest {premises.namespace}/deleted (UID {uid}) was deleted on the way" in message
    runs_as_before(premises)
    assert still_written(premises)
    (said,) = [each["note"] for each in premises.list("events.events.k8s.io") if each["reason"] == "PutBack"]
    assert "the old data are in their place" in said


def test_one_that_is_deleted_and_made_again_while_no_operator_runs_is_not_confused(
    premises: Place, cluster: Cluster, operator: str
) -> None:
    written_since(premises)
    request = in_place(premises, "again", "analytics", inspect={})
    premises.apply(request)
    premises.said("restorerequest", "again", "Ready", "Inspecting", seconds=400)
    claim = ("persistentvolumeclaim", "data-analytics-0")
    with away(cluster, operator):
        uid = notes_on(premises, *claim)[MARK]
        premises.kubectl("delete", "restorerequest", "again")
        premises.apply(thing("RestoreRequest", "again", request["spec"]))
        assert premises.get("restorerequest", "again")["metadata"]["uid"] != uid
    premises.until("databasecluster", "analytics", lambda body: uid in condition(body, CONCLUDED).get("message", ""))
    premises.said("databasecluster", "analytics", CONCLUDED, "PutBack")
    premises.said("restorerequest", "again", "Ready", "Inspecting", seconds=400)
    assert notes_on(premises, *claim)[MARK] == premises.get("restorerequest", "again")["metadata"]["uid"]
    premises.patch("restorerequest", "again", {"spec": {"cancel": True}})
    body = premises.until("restorerequest", "again", lambda b: is_ready(b) or is_stalled(b))
    assert condition(body, "Stalled")["reason"] == "Cancelled"
    runs_as_before(premises)
    assert still_written(premises)
