"""A restore that waits to be looked at: what is said meanwhile, and how its pod hears that it may go on."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.kube.key import Key
from pgwarden.restores.contract import PROCEED_ANNOTATION
from pgwarden.restores.inspect_handlers import pass_word
from pgwarden.restores.inspecting import inspect_seconds, open_copy, word_mounts, word_volumes
from pgwarden.restores.resource import RestoreRequest
from tests.support.api_objects import ApiServer
from tests.support.context import operator_context
from tests.support.loopback import loopback, refusal
from tests.support.objects import NAMESPACE, body

from .in_place_world import UID, in_place_request

JOB = JobState(JobPhase.RUNNING, name="rescue-1")
OPEN = {"step": "Inspect", "detail": "open until 2026-11-24 03:00 UTC"}


def at(progress: dict[str, Any] | None = None, **spec: Any) -> RestoreRequest:
    full: dict[str, Any] = {"done": 0, "total": 0, "unit": "", "percent": 0, "text": "", **(progress or {})}
    return in_place_request({"progress": full} if progress else None, **({"inspect": {}} | spec))


def test_an_open_copy_is_told_with_the_lines_to_look_to_go_on_and_to_drop() -> None:
    request = at(OPEN)
    said = open_copy(request, request.status, JOB)
    assert "open until 2026-11-24 03:00 UTC, for reading only" in said
    where = f"--namespace {NAMESPACE}"
    assert f"kubectl exec -it {where} job/rescue-1 --container postgres -- sh /pgwarden/scratch/psql.sh ." in said
    assert f"kubectl pgwarden restore proceed rescue {where} ." in said
    assert said.endswith(f"kubectl pgwarden restore cancel rescue {where}")


def test_who_has_said_to_go_on_is_not_asked_again() -> None:
    request = at(OPEN, proceed=True)
    assert "told to go on" in open_copy(request, request.status, JOB)


@pytest.mark.parametrize(
    ("progress", "job"),
    [
        (None, JOB),
        ({"step": "Recover", "detail": "000000010000000000000002"}, JOB),
        ({"step": "Inspect", "detail": ""}, JOB),
        (OPEN, JobState(JobPhase.FAILED, name="rescue-1")),
    ],
)
def test_nothing_is_said_of_a_copy_that_is_not_open(progress: dict[str, Any] | None, job: JobState) -> None:
    request = at(progress)
    assert open_copy(request, request.status, job) == ""


def test_only_a_restore_that_waits_has_where_to_hear_the_word() -> None:
    assert inspect_seconds(at()) == 14400
    (volume,), (mount,) = word_volumes(at()), word_mounts(at())
    assert volume["name"] == mount["name"]
    assert PROCEED_ANNOTATION in volume["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"]
    by_itself = in_place_request()
    assert (inspect_seconds(by_itself), word_volumes(by_itself), word_mounts(by_itself)) == (None, [], [])


async def patched(request: RestoreRequest, *, server: ApiServer | None = None, phase: str = "Running") -> list[str]:
    """Names of the pods that are patched at two looks; the watch tells of what was written in between."""
    context, server = operator_context(), server or ApiServer()
    pod = body("Pod", "rescue-1-abcde", {}, {"phase": phase})
    pod["metadata"]["labels"] = {JOB_NAME_LABEL: JOB.name, OWNER_UID_LABEL: UID}
    key = Key("Pod", NAMESPACE, "rescue-1-abcde")
    context.cache.put(key, server.keep("pods", "rescue-1-abcde", pod))
    async with loopback(server.answer) as api:
        context.client = api.client()
        for _ in range(2):
            await pass_word(context, request, JOB)
            context.cache.put(key, server.objects["pods", "rescue-1-abcde"])
        return [asked.path.rpartition("/")[2] for asked in api.asked if asked.method == "PATCH"]


async def test_the_pod_is_told_once() -> None:
    assert await patched(at(proceed=True)) == ["rescue-1-abcde"]
    assert await patched(at()) == []
    assert await patched(in_place_request(proceed=True)) == []
    assert await patched(at(proceed=True), phase="Failed") == []


async def test_a_pod_that_went_meanwhile_is_no_trouble() -> None:
    gone = ApiServer(refuses={("PATCH", "pods"): refusal(404, "NotFound")})
    assert await patched(at(proceed=True), server=gone) == ["rescue-1-abcde"] * 2
