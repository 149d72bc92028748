"""Two DatabaseClusters for one server are noticed as soon as the monitor has seen both."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgwarden.clusters.handlers import ClusterController
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import ClusterObservation, EndpointObservation, Observations
from pgwarden.restores.abandoned_handlers import AbandonedRestores
from tests.support.context import operator_context
from tests.support.objects import NAMESPACE, NOW, body

LATER = (NOW - timedelta(minutes=5)).isoformat()
OLDER, YOUNGER = (Key("DatabaseCluster", NAMESPACE, name) for name in ("older", "younger"))


@pytest.fixture
async def context() -> OperatorContext:
    made = operator_context()
    made.controllers = [ClusterController(made, ObservationBoard(), AbandonedRestores(made))]
    for key, ago in ((OLDER, 2), (YOUNGER, 1)):
        moment = (NOW - timedelta(hours=ago)).isoformat()
        made.cache.put(key, body("DatabaseCluster", key.name, {}, creationTimestamp=moment))
    return made


def controller(context: OperatorContext) -> ClusterController:
    (found,) = context.controllers
    assert isinstance(found, ClusterController)
    return found


def see(context: OperatorContext, key: Key, system_identifier: str) -> None:
    """The monitor's document comes in; nothing is written yet."""
    seen = EndpointObservation(host="h", port=5432, reachable=True, system_identifier=system_identifier)
    one = ClusterObservation(name=key.name, uid=f"uid-of-{key.name}", digest="d", time=NOW, primary=seen)
    board = controller(context).board
    board.expect(key, "d")
    board.take(NAMESPACE, Observations(time=NOW, clusters=[one]))


async def test_what_the_monitor_saw_counts_before_it_stands_in_a_status(context: OperatorContext) -> None:
    see(context, OLDER, "7301")
    see(context, YOUNGER, "7301")
    it = controller(context)
    assert [name for _, name in it.twins(YOUNGER, it.server(YOUNGER))] == [f"{NAMESPACE}/older"]
    assert [name for _, name in it.twins(OLDER, it.server(OLDER))] == [f"{NAMESPACE}/younger"]


async def test_the_other_one_is_looked_at_at_once_and_once(context: OperatorContext) -> None:
    it = controller(context)
    see(context, YOUNGER, "7301")
    it.notice(YOUNGER, it.server(YOUNGER))
    assert context.queue._waiting == set()
    see(context, OLDER, "7301")
    it.notice(OLDER, it.server(OLDER))
    assert context.queue._waiting == {YOUNGER}
    context.queue._waiting.clear()
    it.notice(OLDER, it.server(OLDER))
    assert context.queue._waiting == set()


async def test_a_duplicate_is_looked_at_when_the_older_one_leads_elsewhere_or_goes(context: OperatorContext) -> None:
    it = controller(context)
    for key in (OLDER, YOUNGER):
        see(context, key, "7301")
        it.notice(key, "7301")
    it.duplicates.add(YOUNGER)
    context.queue._waiting.clear()
    see(context, OLDER, "9999")
    it.notice(OLDER, it.server(OLDER))
    assert context.queue._waiting == {YOUNGER}
    context.cache.drop(OLDER)
    assert it.dependents(OLDER) == [YOUNGER]


async def test_a_server_that_does_not_answer_now_is_still_the_one_it_was(context: OperatorContext) -> None:
    status = {"systemIdentifier": "7301"}
    made = body("DatabaseCluster", "older", {}, status, resourceVersion="2")
    context.cache.put(OLDER, made)
    it = controller(context)
    see(context, OLDER, "")
    assert it.server(OLDER) == "7301"


def put_copy(context: OperatorContext, name: str, host: str) -> Key:
    """A DatabaseCluster that says it is a restored copy."""
    key = Key("DatabaseCluster", NAMESPACE, name)
    spec = {"primary": {"host": host}, "copyOf": {"name": "older"}}
    context.cache.put(key, body("DatabaseCluster", name, spec, {"systemIdentifier": "7301"}, creationTimestamp=LATER))
    return key


async def test_a_restored_copy_is_no_duplicate_of_its_original(context: OperatorContext) -> None:
    see(context, OLDER, "7301")
    copy = put_copy(context, "copy", "copy")
    it = controller(context)
    assert it.twins(copy, it.server(copy)) == []
    assert it.twins(OLDER, it.server(OLDER)) == []


async def test_two_objects_for_one_copy_are_duplicates(context: OperatorContext) -> None:
    one, another, third = (put_copy(context, *each) for each in (("one", "copy"), ("another", "copy"), ("third", "c3")))
    it = controller(context)
    assert [name for _, name in it.twins(one, it.server(one))] == [f"{NAMESPACE}/{another.name}"]
    assert it.twins(third, it.server(third)) == []
