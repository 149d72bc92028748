"""Events are written in the background: nobody waits for them, refusals are overcome, crashes are made good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.jobs.plan import Notice
from pgwarden.kube import events as events_module
from pgwarden.kube.events import AT_ONCE, EventRecorder, event, untold
from tests.support.loopback import HANG_UP, Answer, Loopback, loopback, refusal
from tests.support.objects import NOW, Body, body, condition

FAILED = Notice("MigrationFailed", "it failed", warning=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "FIRST_DELAY_SECONDS", 0.01)


def about(name: str = "schema", *conditions: Body) -> Body:
    return body("DatabaseMigration", name, {}, {"conditions": list(conditions)})


@asynccontextmanager
async def recorder(answers: Iterator[Answer]) -> AsyncIterator[tuple[EventRecorder, Loopback]]:
    """A recorder at work, and the server that hears it."""
    async with loopback(lambda _: next(answers, (201, {}))) as api:
        made = EventRecorder(api.client())
        sending = asyncio.create_task(made.run())
        try:
            yield made, api
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def test_telling_waits_for_nobody_and_drain_for_all_of_them() -> None:
    async with recorder(iter([])) as (events, api):
        for number in range(50):
            events.tell(about(f"m-{number}"), FAILED)
        assert api.asked == []
        await events.drain(10)
        assert {asked.body["regarding"]["name"] for asked in api.asked} == {f"m-{number}" for number in range(50)}


@pytest.mark.parametrize(
    "refused",
    [refusal(429, "TooManyRequests"), refusal(503, "ServiceUnavailable"), refusal(500, "InternalError"), (HANG_UP, "")],
    ids=["429", "503", "500", "connection lost"],
)
async def test_what_passes_is_overcome_with_the_same_event(refused: Answer) -> None:
    async with recorder(iter([refused, refused])) as (events, api):
        events.tell(about(), FAILED)
        await events.drain(10)
        assert len(api.asked) == 3
        assert len({asked.body["metadata"]["name"] for asked in api.asked}) == 1


@pytest.mark.parametrize(
    "refused", [refusal(409, "AlreadyExists"), refusal(403, "Forbidden"), refusal(404, "NotFound")]
)
async def test_what_does_not_pass_is_not_repeated(refused: Answer) -> None:
    async with recorder(iter([refused])) as (events, api):
        events.tell(about(), FAILED)
        await events.drain(10)
        assert len(api.asked) == 1


async def test_only_so_many_are_in_flight() -> None:
    in_flight, most = 0, 0

    class Slow(EventRecorder):
        async def _send(self, letter: Any) -> None:
            nonlocal in_flight, most
            in_flight += 1
            most = max(most, in_flight)
            await super()._send(letter)
            in_flight -= 1

    async with loopback(lambda _: (201, {})) as api:
        events = Slow(api.client())
        for number in range(40):
            events.tell(about(f"m-{number}"), FAILED)
        sending = asyncio.create_task(events.run())
        await events.drain(10)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert most == AT_ONCE


async def test_a_backlog_that_never_moves_is_bounded_and_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "BACKLOG", 3)
    async with loopback(lambda _: (201, {})) as api:
        events = EventRecorder(api.client())
        for number in range(5):
            events.tell(about(f"m-{number}"), FAILED)
        await events.drain(0.01)
        assert [events._backlog.get_nowait().event["regarding"]["name"] for _ in range(3)] == ["m-2", "m-3", "m-4"]


async def test_an_event_that_is_refused_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "GIVE_UP_SECONDS", 0.05)
    async with loopback(lambda _: refusal(503, "ServiceUnavailable")) as api:
        events = EventRecorder(api.client())
        sending = asyncio.create_task(events.run())
        events.tell(about(), FAILED)
        async with asyncio.timeout(10):
            await events._backlog.join()
        assert not sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def turned(seconds_ago: float, status: str = "False", reason: str = "MigrationFailed", type_: str = "Ready") -> Body:
    moment = (NOW - timedelta(seconds=seconds_ago)).isoformat()
    return {**condition(type_, status, reason, message="it failed"), "lastTransitionTime": moment}


STUCK = condition("Stalled", "True", "MigrationFailed")


async def test_after_a_crash_the_same_event_is_told_under_the_same_name() -> None:
    told = about("schema", turned(20), STUCK)
    (again,) = untold(told, NOW)
    assert again == FAILED
    before = event(told, FAILED, NOW - timedelta(seconds=19))
    assert event(told, again, NOW)["metadata"]["name"] == before["metadata"]["name"]
    later = about("schema", turned(5), STUCK)
    assert event(later, FAILED, NOW)["metadata"]["name"] != before["metadata"]["name"]


async def test_an_event_about_no_turn_has_a_name_of_its_own_each_time() -> None:
    notice = Notice("ReconcileFailed", "x", warning=True)
    names = {event(about(), notice, NOW + timedelta(seconds=n))["metadata"]["name"] for n in range(3)}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("kind", "conditions", "told"),
    [
        ("DatabaseMigration", [turned(59)], ["MigrationFailed"]),
        ("DatabaseMigration", [turned(61)], []),
        ("DatabaseMigration", [turned(1, type_="Stalled"), turned(1, type_="Reconciling")], []),
        # What comes and goes in every run, and what plans do not tell of that kind.
        ("DatabaseMigration", [turned(1, reason="Migrating")], []),
        (
            "DatabaseCluster",
            [turned(1, type_="Ready"), turned(1, reason="HostNotFound", type_="Reachable")],
            ["HostNotFound"],
        ),
        ("DatabaseCluster", [{**turned(1, reason="Unique", type_="DuplicateOf"), "message": ""}], []),
    ],
)
def test_what_turned_within_the_last_minute_may_not_have_been_told(
    kind: str, conditions: list[Body], told: list[str]
) -> None:
    made = body(kind, "x", {}, {"conditions": conditions})
    assert [notice.reason for notice in untold(made, NOW)] == told


async def test_a_new_operator_tells_what_its_predecessor_may_not_have_come_to() -> None:
    async with recorder(iter([refusal(409, "AlreadyExists")])) as (events, api):
        for name in ("told-already", "never-told", "old"):
            events.tell_again(about(name, turned(90 if name == "old" else 9), STUCK), NOW)
        await events.drain(10)
        assert {asked.body["regarding"]["name"] for asked in api.asked} == {"told-already", "never-told"}
