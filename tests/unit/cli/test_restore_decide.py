"""`pgwarden restore proceed|cancel` over real HTTP: asks once, and tells what becomes of the restore."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pgwarden.cli.restore_decide import cancelled, proceeded
from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import Person
from tests.support.api_objects import ApiServer
from tests.support.loopback import Answer, Asked, loopback
from tests.support.objects import NAMESPACE, Body, body, condition

WAITS = condition("Ready", "False", "Inspecting", message="the recovered copy is open")
Decision = Callable[[Person, str, float], Awaitable[tuple[bool, str]]]


@dataclass
class Shell:
    """A person, and what the API server holds."""

    server: ApiServer
    then: list[Body] = field(default_factory=list)
    """The conditions that the operator writes as soon as it is asked."""
    wishes: list[Body] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        said = self.server.answer(asked)
        if asked.method == "PATCH":
            self.wishes.append(asked.body)
            found = self.server.objects["restorerequests", "rescue"]
            self.server.keep("restorerequests", "rescue", {**found, "status": {"conditions": self.then}})
        return said

    def put(self, *conditions: Body, **spec: Body | None) -> None:
        target = {"inPlace": {"replaces": "7301-1"}}
        full = {"source": {"backupRef": {"name": "nightly"}}, "target": target, "inspect": {}, **spec}
        made = body("RestoreRequest", "rescue", full, {"conditions": list(conditions)})
        self.server.keep("restorerequests", "rescue", made)


@pytest.fixture
async def at_shell() -> AsyncIterator[tuple[Shell, Person]]:
    shell = Shell(ApiServer())
    async with loopback(shell.answer) as api:
        yield shell, Person(api.client(), NAMESPACE)


def stuck(reason: str, message: str) -> list[Body]:
    return [condition("Ready", "False", reason, message=message), condition("Stalled", "True", reason, message=message)]


@pytest.mark.parametrize(
    ("decision", "wish", "then", "outcome"),
    [
        (
            proceeded,
            "proceed",
            [condition("Ready", "False", "Restoring", message="it goes on")],
            (True, "rescue: it goes on"),
        ),
        (proceeded, "proceed", stuck("CheckFailed", "a check failed"), (False, "rescue: a check failed")),
        (cancelled, "cancel", stuck("Cancelled", "all as before"), (True, "rescue: all as before")),
        (cancelled, "cancel", stuck("CheckFailed", "all as before"), (False, "rescue: all as before")),
    ],
)
async def test_the_wish_is_made_and_what_came_of_it_told(
    at_shell: tuple[Shell, Person], decision: Decision, wish: str, then: list[Body], outcome: tuple[bool, str]
) -> None:
    shell, person = at_shell
    shell.put(WAITS)
    shell.then = then
    assert await decision(person, "rescue", 30) == outcome
    assert shell.wishes == [{"spec": {wish: True}}]


@pytest.mark.parametrize("decision", [proceeded, cancelled])
async def test_a_restore_that_has_ended_is_left_alone(at_shell: tuple[Shell, Person], decision: Decision) -> None:
    shell, person = at_shell
    shell.put(*stuck("CheckFailed", "a check failed"))
    with pytest.raises(TaskError) as refused:
        await decision(person, "rescue", 30)
    assert (refused.value.reason, shell.wishes) == ("NothingToDecide", [])
    assert "a check failed" in refused.value.message


async def test_a_restore_that_waits_for_nobody_need_not_be_told_to_go_on(at_shell: tuple[Shell, Person]) -> None:
    shell, person = at_shell
    shell.put(inspect=None)
    with pytest.raises(TaskError) as refused:
        await proceeded(person, "rescue", 30)
    assert (refused.value.reason, shell.wishes) == ("NothingToDecide", [])
    assert "spec.inspect" in refused.value.message


async def test_an_operator_that_does_not_answer_is_not_waited_for_for_ever(at_shell: tuple[Shell, Person]) -> None:
    shell, person = at_shell
    shell.put(WAITS)
    shell.then = [WAITS]
    with pytest.raises(TaskError) as late:
        await proceeded(person, "rescue", 0.2)
    assert late.value.reason == "StillRunning"
    assert "that stands" in late.value.message
