"""Events of watches: whom they wake, and that echoes of our own writes wake nobody."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.backups.handlers import BackupController
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.dependents import referring
from pgwarden.kube.key import Key
from pgwarden.kube.types import BACKUP_STORES, DATABASE_BACKUPS, DATABASE_CLUSTERS, JOBS, PODS
from pgwarden.kube.watch import take
from tests.support.context import operator_context
from tests.support.objects import NAMESPACE, Body, body, condition, job_body, pod_body

BACKUP = Key("DatabaseBackup", NAMESPACE, "nightly")
SPEC = {"clusterRef": {"name": "operational"}, "storeRef": {"name": "claims"}}


@pytest.fixture
async def context() -> OperatorContext:
    made = operator_context()
    made.controllers = [BackupController(made)]
    return made


def backup_body(name: str = "nightly", status: Body | None = None, **metadata: Any) -> Body:
    return body("DatabaseBackup", name, SPEC, status, **metadata)


def woken(context: OperatorContext) -> set[Key]:
    """The keys that wait, which wait no longer."""
    keys = set(context.queue._waiting)
    context.queue._waiting.clear()
    return keys


async def test_a_new_object_is_looked_at(context: OperatorContext) -> None:
    take(context, DATABASE_BACKUPS, None, backup_body())
    assert woken(context) == {BACKUP}


async def test_the_echo_of_our_own_write_wakes_nobody(context: OperatorContext) -> None:
    answer = backup_body(resourceVersion="7")
    context.cache.put(BACKUP, answer)
    take(context, DATABASE_BACKUPS, "MODIFIED", dict(answer))
    assert woken(context) == set()


async def test_an_edit_that_came_before_our_write_is_looked_at_and_does_not_replace_it(
    context: OperatorContext,
) -> None:
    context.cache.put(BACKUP, backup_body(resourceVersion="7", generation=2))
    take(context, DATABASE_BACKUPS, "MODIFIED", backup_body(resourceVersion="6", generation=2))
    assert woken(context) == {BACKUP}
    assert context.cache.bodies("DatabaseBackup")[0]["metadata"]["resourceVersion"] == "7"


async def test_a_job_and_its_pod_wake_the_object_they_work_for(context: OperatorContext) -> None:
    take(context, DATABASE_BACKUPS, None, backup_body())
    woken(context)
    take(context, JOBS, "ADDED", job_body())
    assert woken(context) == {BACKUP}
    take(context, PODS, "MODIFIED", pod_body())
    assert woken(context) == {BACKUP}
    take(context, JOBS, "DELETED", job_body())
    assert woken(context) == {BACKUP}
    assert context.cache.get(Key("Job", NAMESPACE, "job-1")) is None


async def test_somebody_elses_job_wakes_nobody(context: OperatorContext) -> None:
    take(context, JOBS, "ADDED", job_body(owner_uid="nobody we know"))
    assert woken(context) == set()


async def test_what_waits_for_a_cluster_or_a_store_is_woken_by_it(context: OperatorContext) -> None:
    take(context, DATABASE_BACKUPS, None, backup_body())
    woken(context)
    cluster = body("DatabaseCluster", "operational", {})
    take(context, DATABASE_CLUSTERS, "MODIFIED", cluster)
    assert BACKUP in woken(context)
    take(context, BACKUP_STORES, "DELETED", body("BackupStore", "claims", {}))
    assert BACKUP in woken(context)
    take(context, BACKUP_STORES, "ADDED", body("BackupStore", "another", {}))
    assert BACKUP not in woken(context)


@pytest.mark.parametrize(
    ("type_", "status", "wakes"), [("Ready", "True", 0), ("Stalled", "True", 0), ("Ready", "False", 1)]
)
async def test_years_of_finished_backups_are_not_woken_by_their_cluster(
    context: OperatorContext, type_: str, status: str, wakes: int
) -> None:
    done = {"observedGeneration": 1, "conditions": [condition(type_, status)]}
    take(context, DATABASE_BACKUPS, None, backup_body(status=done))
    cluster = Key("DatabaseCluster", NAMESPACE, "operational")
    assert len(referring(context.cache, "DatabaseBackup", cluster)) == wakes


async def test_a_finished_object_that_was_edited_is_woken(context: OperatorContext) -> None:
    done = {"observedGeneration": 1, "conditions": [condition("Ready", "True")]}
    take(context, DATABASE_BACKUPS, None, backup_body(status=done, generation=2))
    assert referring(context.cache, "DatabaseBackup", Key("BackupStore", NAMESPACE, "claims")) == [BACKUP]


async def test_one_more_backup_does_not_look_through_all_the_others(context: OperatorContext) -> None:
    # Backups refer to no backups: 10,000 of them must not be compared with each other at the start.
    assert referring(context.cache, "DatabaseBackup", BACKUP) == []
    assert context.dependents(BACKUP) == []
