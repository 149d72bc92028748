"""Room for one more Job: the matrix, the limits, and Jobs that are just being created."""

from __future__ import annotations

import pytest

from pgwarden.jobs.names import SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.task import Operation
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.room import no_room, reserved
from tests.support.context import operator_context
from tests.support.objects import NAMESPACE, job_body

SYSTEM = "7301"


@pytest.fixture
async def context() -> OperatorContext:
    return operator_context(limits={"jobsPerCluster": 2, "jobsTotal": 3})


def put(context: OperatorContext, name: str, operation: str, *, ended: str = "", system: str = SYSTEM) -> None:
    job = job_body(name, f"owner-of-{name}", ended=ended)
    job["metadata"]["labels"] |= {"pgwarden.dev/operation": operation, SYSTEM_IDENTIFIER_LABEL: system}
    context.cache.put(Key("Job", NAMESPACE, name), job)


async def test_an_empty_cluster_has_room(context: OperatorContext) -> None:
    assert no_room(context, Operation.BACKUP, SYSTEM, "me") == ""


async def test_a_second_backup_waits_for_the_first_until_it_ended(context: OperatorContext) -> None:
    put(context, "one", "backup")
    assert "backup" in no_room(context, Operation.BACKUP, SYSTEM, "me")
    assert no_room(context, Operation.MIGRATE, SYSTEM, "me") == ""
    assert no_room(context, Operation.BACKUP, "another system", "me") == ""
    assert no_room(context, Operation.BACKUP, SYSTEM, "owner-of-one") == ""


@pytest.mark.parametrize("ended", ["Complete", "Failed"])
async def test_what_ended_takes_no_room(context: OperatorContext, ended: str) -> None:
    for name in ("one", "two", "three"):
        put(context, name, "backup", ended=ended)
    assert no_room(context, Operation.BACKUP, SYSTEM, "me") == ""


async def test_limits_are_kept_and_named(context: OperatorContext) -> None:
    put(context, "one", "migrate")
    put(context, "two", "migrate")
    assert "limits.jobsPerCluster" in no_room(context, Operation.MIGRATE, SYSTEM, "me")
    assert no_room(context, Operation.MIGRATE, "another system", "me") == ""
    put(context, "three", "migrate", system="third")
    assert "limits.jobsTotal" in no_room(context, Operation.RESTORE, "", "me")


async def test_a_job_that_is_just_being_created_takes_its_room(context: OperatorContext) -> None:
    with reserved(context, Operation.BACKUP, SYSTEM, "first"):
        assert no_room(context, Operation.BACKUP, SYSTEM, "second")
        assert no_room(context, Operation.BACKUP, SYSTEM, "first") == ""
    assert no_room(context, Operation.BACKUP, SYSTEM, "second") == ""


async def test_one_job_that_somebody_edited_does_not_stop_the_others(context: OperatorContext) -> None:
    put(context, "one", "dancing")
    job = job_body("two", "another")
    job["metadata"]["annotations"] = {"pgwarden.dev/attempt": "first"}
    context.cache.put(Key("Job", NAMESPACE, "two"), job)
    assert no_room(context, Operation.MIGRATE, SYSTEM, "me") == ""
