"""A person's shell at the API server: what it began goes when it is stopped, and it says what it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.kube import person
from pgwarden.kube.person import DEADLINE_SPARE_SECONDS, Person, until_signalled, why_it_waits
from tests.support.loopback import Answer, Asked, loopback
from tests.support.objects import NAMESPACE, Body, job_body, pod_body

UNSCHEDULED = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}],
}
NO_IMAGE = {
    "phase": "Pending",
    "containerStatuses": [
        {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    ],
}


class Pending:
    """An API server with a Job whose pod no node takes."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.watched = asyncio.Event()

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.path.endswith("/pods"):
            self.watched.set()
            return 200, {"items": [pod_body("list", status=UNSCHEDULED)]}
        return (201, asked.body) if asked.method == "POST" else (200, {})

    @property
    def made(self) -> Body:
        (found,) = (each.body for each in self.asked if each.method == "POST")
        return found  # type: ignore[no-any-return]

    @property
    def deleted(self) -> list[str]:
        return [each.path for each in self.asked if each.method == "DELETE"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_shell_that_is_stopped_takes_its_job_with_it(number: signal.Signals) -> None:
    server = Pending()
    async with loopback(server.answer) as api:
        shell = Person(api.client(), NAMESPACE)
        work = asyncio.create_task(until_signalled(shell.run(job_body("list"), 600.0)))
        await server.watched.wait()
        os.kill(os.getpid(), number)
        with pytest.raises(TaskError, match="stopped by a signal"):
            await work
        assert server.deleted == [f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/list"]
        # One that was killed outright leaves a Job that ends, and is removed, by itself.
        assert server.made["spec"]["activeDeadlineSeconds"] == 600 + DEADLINE_SPARE_SECONDS
        assert server.made["spec"]["ttlSecondsAfterFinished"] > 0


async def test_what_the_pod_waits_for_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(person, "TOLD_AFTER_SECONDS", 0.0)
    server = Pending()
    async with loopback(server.answer) as api:
        with pytest.raises(TaskError, match="has not ended after 2 s"):
            await Person(api.client(), NAMESPACE).run(job_body("list"), 2.0)
    told = capsys.readouterr().err
    assert told.count("waiting: no node takes the pod list-x: 0/1 nodes are available") == 1
    assert "Look at the pod's node selection" in told


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], "has no pod yet"),
        ([pod_body(status=NO_IMAGE)], "no such image"),
        ([pod_body(status={"phase": "Running"})], ""),
    ],
)
def test_each_reason_to_wait_is_told(pods: list[Any], words: str) -> None:
    told = why_it_waits("job-1", pods)
    assert words in told
    assert bool(told) == bool(words)
