"""Progress is polled from the last lines of pods' logs, over real HTTP: bounded, in turn, believed by the nonce."""

from __future__ import annotations

import asyncio
import json

import pytest

from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.kube import progress as progress_module
from pgwarden.kube.key import Key
from pgwarden.kube.progress import PODS_AT_ONCE, ProgressBoard
from tests.support.loopback import Answer, Asked, loopback, refusal
from tests.support.objects import NAMESPACE

NONCE = "0123456789abcdef"
KEY = Key("DatabaseBackup", NAMESPACE, "nightly")


def line(done: int, nonce: str = NONCE) -> str:
    return json.dumps({"nonce": nonce, "step": "upload", "done": done, "total": 10})


def running(pod: str = "job-1-x", nonce: str = NONCE, container: str = "agent") -> JobState:
    return JobState(JobPhase.RUNNING, name="job-1", pod=pod, nonce=nonce, container=container)


@pytest.fixture(autouse=True)
def every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "FIRST_POLL_SECONDS", 0.0)


class Wakes:
    def __init__(self) -> None:
        self.keys: list[Key] = []

    def __call__(self, key: Key) -> None:
        self.keys.append(key)


async def test_the_last_line_with_the_nonce_is_told_and_wakes_only_when_it_moves() -> None:
    log = [f"hello\n{line(3)}\nsomething else\n{line(9, nonce='f' * 16)}\n"]
    async with loopback(lambda _: (200, log[0])) as api:
        board, wakes = ProgressBoard(api.client()), Wakes()
        assert board.follow(KEY, running()) is None
        await board.round(wakes)
        told = board.follow(KEY, running())
        assert told is not None
        assert (told.done, wakes.keys) == (3, [KEY])
        await board.round(wakes)
        assert wakes.keys == [KEY]
        log[0] += line(4)
        await board.round(wakes)
        assert wakes.keys == [KEY, KEY]
    assert {asked.path for asked in api.asked} == {f"/api/v1/namespaces/{NAMESPACE}/pods/job-1-x/log"}
    assert api.asked[0].query == {"container": "agent", "tailLines": "10", "limitBytes": "65536"}


async def test_a_pod_is_asked_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "POLL_SECONDS", 3600.0)
    async with loopback(lambda _: (200, line(1))) as api:
        board = ProgressBoard(api.client())
        board.follow(KEY, running())
        for _ in range(3):
            await board.round(Wakes())
        assert len(api.asked) == 1


async def test_a_pod_is_asked_often_until_it_has_told_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "POLL_SECONDS", 3600.0)
    log = ["starting\n"]
    async with loopback(lambda _: (200, log[0])) as api:
        board = ProgressBoard(api.client())
        board.follow(KEY, running())
        for _ in range(3):
            await board.round(Wakes())
        log[0] = line(1)
        for _ in range(3):
            await board.round(Wakes())
        assert len(api.asked) == 4


@pytest.mark.parametrize(
    "answer", [refusal(400, "BadRequest"), refusal(404, "NotFound"), refusal(500, "InternalError")]
)
async def test_a_log_that_cannot_be_read_is_nothing_new(answer: Answer) -> None:
    async with loopback(lambda _: answer) as api:
        board, wakes = ProgressBoard(api.client()), Wakes()
        board.follow(KEY, running())
        await board.round(wakes)
        assert (board.follow(KEY, running()), wakes.keys, len(api.asked)) == (None, [], 1)


async def test_another_pod_begins_afresh_and_a_pod_at_rest_is_not_asked() -> None:
    async with loopback(lambda _: (200, line(7))) as api:
        board = ProgressBoard(api.client())
        board.follow(KEY, running())
        await board.round(Wakes())
        assert board.follow(KEY, running(pod="job-2-x")) is None
        board.follow(KEY, JobState(JobPhase.QUEUED, name="job-2"))
        await board.round(Wakes())
        assert len(api.asked) == 1


async def test_an_answer_that_comes_after_its_pod_is_gone_is_not_believed() -> None:
    async def answer(_: Asked) -> Answer:
        board.leave(KEY)
        return 200, line(7)

    async with loopback(answer) as api:
        board, wakes = ProgressBoard(api.client()), Wakes()
        board.follow(KEY, running())
        await board.round(wakes)
        assert (wakes.keys, board._told) == ([], {})


async def test_only_so_many_pods_are_asked_at_once() -> None:
    at_once, most, full = 0, 0, asyncio.Event()

    async def answer(_: Asked) -> Answer:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once >= PODS_AT_ONCE:
            full.set()
        await full.wait()
        at_once -= 1
        return 200, ""

    async with loopback(answer) as api:
        board = ProgressBoard(api.client())
        for number in range(3 * PODS_AT_ONCE):
            board.follow(KEY._replace(name=f"b-{number}"), running(pod=f"p-{number}"))
        await board.round(Wakes())
    assert most == PODS_AT_ONCE
    assert len(api.asked) == 3 * PODS_AT_ONCE
