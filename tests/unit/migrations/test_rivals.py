"""Which of several DatabaseMigrations has a database, and who is woken when that changes."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.types import DATABASE_MIGRATIONS
from pgwarden.kube.watch import take
from pgwarden.migrations.handlers import MigrationController
from tests.support.context import operator_context
from tests.support.objects import NAMESPACE, Body, body, condition

EARLY, LATE = "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"


def spec(database: str = "app", cluster: str = "operational") -> Body:
    return {"clusterRef": {"name": cluster}, "database": database, "sources": [{"configMap": {"name": "files"}}]}


@pytest.fixture
async def context() -> OperatorContext:
    made = operator_context()
    made.controllers = [MigrationController(made)]
    return made


def controller(context: OperatorContext) -> MigrationController:
    (found,) = context.controllers
    assert isinstance(found, MigrationController)
    return found


def put(context: OperatorContext, name: str, made: str = LATE, namespace: str = NAMESPACE, **more: Any) -> Key:
    key = Key("DatabaseMigration", namespace, name)
    context.cache.put(
        key, body("DatabaseMigration", name, spec(**more), creationTimestamp=made, namespace=namespace, uid=f"u-{name}")
    )
    return key


def put_cluster(context: OperatorContext, name: str, identifier: str, *, duplicate: bool = False, **where: str) -> None:
    status = {"systemIdentifier": identifier, "conditions": [condition("DuplicateOf", str(duplicate))]}
    namespace = where.get("namespace", NAMESPACE)
    made = body("DatabaseCluster", name, {}, status, namespace=namespace, uid=f"{namespace}-{name}")
    context.cache.put(Key("DatabaseCluster", namespace, name), made)


def put_copy(context: OperatorContext, name: str, identifier: str) -> None:
    spec = {"primary": {"host": name}, "copyOf": {"name": "operational"}}
    made = body("DatabaseCluster", name, spec, {"systemIdentifier": identifier}, uid=f"copy-{name}")
    context.cache.put(Key("DatabaseCluster", NAMESPACE, name), made)


def taken_by(context: OperatorContext, key: Key) -> str:
    return controller(context).taken_by(key, "app")


async def test_the_older_of_two_on_one_database_has_it(context: OperatorContext) -> None:
    younger, older = put(context, "a", LATE), put(context, "b", EARLY)
    assert taken_by(context, younger) == f"{NAMESPACE}/b"
    assert taken_by(context, older) == ""


async def test_of_two_of_one_second_the_uid_decides(context: OperatorContext) -> None:
    first, second = put(context, "a"), put(context, "b")
    assert (taken_by(context, first), taken_by(context, second)) == ("", f"{NAMESPACE}/a")


@pytest.mark.parametrize(
    ("other", "rival"),
    [
        ({}, True),
        ({"database": "another"}, False),
        ({"cluster": "analytics"}, False),
        ({"namespace": "elsewhere"}, False),
        ({"namespace": "elsewhere", "cluster": "twin"}, True),
    ],
)
async def test_one_database_is_one_name_on_one_postgresql_cluster(
    context: OperatorContext, other: dict[str, str], rival: bool
) -> None:
    put_cluster(context, "operational", "7301")
    put_cluster(context, "analytics", "0")
    put_cluster(context, "twin", "7301", namespace="elsewhere")
    put_cluster(context, "operational", "0", namespace="elsewhere")
    put(context, "older", EARLY, **other)
    assert bool(taken_by(context, put(context, "younger", LATE))) == rival


async def test_clusters_nobody_has_reached_are_not_the_same(context: OperatorContext) -> None:
    for name in ("operational", "other"):
        put_cluster(context, name, "0")
    put(context, "older", EARLY, cluster="other")
    assert taken_by(context, put(context, "younger", LATE)) == ""


async def test_one_whose_cluster_is_a_duplicate_keeps_the_database_from_nobody(context: OperatorContext) -> None:
    # Nothing is run through a duplicate: the two would wait for each other.
    put_cluster(context, "operational", "7301")
    put_cluster(context, "twin", "7301", duplicate=True)
    older = put(context, "older", EARLY, cluster="twin")
    younger = put(context, "younger", LATE)
    assert (taken_by(context, younger), taken_by(context, older)) == ("", f"{NAMESPACE}/younger")


async def test_the_refused_one_is_looked_at_when_the_other_changes_or_goes(context: OperatorContext) -> None:
    older, younger, apart = put(context, "b", EARLY), put(context, "a", LATE), put(context, "c", database="apart")
    for key in (older, younger, apart):
        controller(context).taken_by(key, "apart" if key is apart else "app")
    known = context.cache.get(older)
    assert known is not None
    take(context, DATABASE_MIGRATIONS, "DELETED", known)
    assert context.queue._waiting == {older, younger}
    assert taken_by(context, younger) == ""
    context.queue._waiting.clear()
    take(context, DATABASE_MIGRATIONS, "MODIFIED", body("DatabaseMigration", "c", spec("apart"), resourceVersion="2"))
    assert context.queue._waiting == {apart}


async def test_a_restored_copy_has_databases_of_its_own(context: OperatorContext) -> None:
    put_cluster(context, "operational", "7301")
    put_copy(context, "restored", "7301")
    put(context, "original", EARLY)
    assert taken_by(context, put(context, "of-the-copy", LATE, cluster="restored")) == ""
