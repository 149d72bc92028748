"""The DatabaseCluster of a new instance: made when the instance answers, and never what a restore fails over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.restores.handlers import RestoreController
from pgwarden.restores.new_cluster import database_cluster
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import loopback, refusal
from tests.support.objects import (
    NAMESPACE,
    Body,
    body,
    claim_store,
    observed_cluster,
    restorable_backup,
    restore_request,
)
from tests.unit.restores.test_drill_handlers import KEY, World, condition_of
from tests.unit.restores.test_plan import RECOVERED

INSTANCE = "operational-restored"
MADE = ("databaseclusters", INSTANCE)


def asked_for(*, wanted: bool = True) -> Body:
    return {"newInstance": {"name": INSTANCE, "storage": {"size": "2Gi"}, "databaseCluster": wanted}}


@pytest.fixture
async def it() -> AsyncIterator[World]:
    """A restore whose data are recovered, and whose new instance answers."""
    context, server = operator_context(), ApiServer()
    async with loopback(server.answer) as api:
        context.client = api.client()
        world = World(server, context, RestoreController(context), api)
        context.controllers = [world.controller]
        request = restore_request(KEY.name, RECOVERED, target=asked_for())
        for made in (observed_cluster(image="postgres:17"), claim_store(), restorable_backup(), request):
            world.put(made)
        running = {"metadata": {"name": INSTANCE}, "status": {"readyReplicas": 1, "currentReplicas": 1}}
        server.keep("statefulsets", INSTANCE, running)
        yield world


async def test_the_new_instance_gets_the_roles_of_its_original(it: World) -> None:
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    made = DatabaseCluster.of(it.server.objects[MADE])
    assert made.spec.primary.host == f"{INSTANCE}.{NAMESPACE}.svc"
    assert made.spec.credentials == observed_cluster().spec.credentials
    assert made.spec.copy_of is not None and made.spec.copy_of.name == "operational"
    assert made.spec.workload_ref is not None and made.spec.workload_ref.name == INSTANCE
    assert "ownerReferences" not in it.server.objects[MADE]["metadata"]


async def test_none_is_made_where_none_is_wanted(it: World) -> None:
    it.put(restore_request(KEY.name, RECOVERED, target=asked_for(wanted=False)))
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    assert MADE not in it.server.objects


async def test_a_refused_one_is_told_and_fails_nothing(it: World) -> None:
    it.server.refuses["POST", "databaseclusters"] = refusal(403, "Forbidden")
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    (finding,) = it.status["findings"]
    assert finding.startswith(f"DatabaseCluster {INSTANCE} could not be made: ")


async def test_one_that_is_there_already_stays_as_it_is(it: World) -> None:
    theirs = body("DatabaseCluster", INSTANCE, {"primary": {"host": "elsewhere"}})
    it.server.keep("databaseclusters", INSTANCE, theirs)
    await it.look()
    assert condition_of(it.status) == ("True", "Completed")
    assert it.server.objects[MADE]["spec"] == theirs["spec"]
    assert "exists already and was not made for this RestoreRequest" in it.status["findings"][0]


def test_no_name_of_a_database_changes_the_manifest() -> None:
    hostile = 'x"}, status: {a: [b\n# $(HOME) {{ name }}'
    made = DatabaseCluster.of(
        database_cluster(
            restore_request("rescue", target=asked_for()), observed_cluster(maintenanceDatabase=hostile)
        )
    )  # fmt: skip
    assert made.spec.maintenance_database == hostile
