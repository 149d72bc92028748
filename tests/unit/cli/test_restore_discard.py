"""`pgwarden restore discard-old` over real HTTP: asks once, and tells what the operator answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from pgwarden.cli.restore_discard import discarded
from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import Person
from tests.support.api_objects import ApiServer
from tests.support.loopback import Answer, Asked, loopback
from tests.support.objects import NAMESPACE, Body, body, condition

OLD = "/data/pgdata.before-0a1b2c3d"


@dataclass
class Shell:
    """A person, and what the API server holds."""

    server: ApiServer
    reply: Body | None = None
    """The condition with which the operator answers as soon as it is asked."""
    wishes: list[Body] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        said = self.server.answer(asked)
        if asked.method == "PATCH":
            self.wishes.append(asked.body)
            found = self.server.objects["restorerequests", "rescue"]
            conditions = [self.reply] if self.reply is not None else []
            status = {**found["status"], "conditions": conditions}
            self.server.keep("restorerequests", "rescue", {**found, "status": status})
        return said

    def put(self, place: Body, *conditions: Body) -> None:
        spec = {"source": {"backupRef": {"name": "nightly"}}, "target": {"inPlace": {"replaces": "7301-1"}}}
        status = {"inPlace": place, "conditions": list(conditions)}
        self.server.keep("restorerequests", "rescue", body("RestoreRequest", "rescue", spec, status))


@pytest.fixture
async def at_shell() -> AsyncIterator[tuple[Shell, Person]]:
    shell = Shell(ApiServer())
    async with loopback(shell.answer) as api:
        yield shell, Person(api.client(), NAMESPACE)


@pytest.mark.parametrize(("status", "reason", "gone"), [("True", "Discarded", True), ("False", "NotHandedOver", False)])
async def test_the_wish_is_made_and_the_answer_told(
    at_shell: tuple[Shell, Person], status: str, reason: str, gone: bool
) -> None:
    shell, person = at_shell
    shell.put({"oldData": OLD, "handedOver": True})
    shell.reply = condition("OldDataDiscarded", status, reason, message=f"{OLD}: {reason}")
    assert await discarded(person, "rescue", 30) == (gone, f"rescue: {OLD}: {reason}")
    assert shell.wishes == [{"spec": {"discardOld": True}}]


async def test_what_is_gone_already_is_not_asked_for_again(at_shell: tuple[Shell, Person]) -> None:
    shell, person = at_shell
    shell.put({"oldData": "", "handedOver": True}, condition("OldDataDiscarded", "True", "Discarded", message="gone"))
    assert await discarded(person, "rescue", 30) == (True, "rescue: gone")
    assert shell.wishes == []


async def test_a_restore_that_keeps_nothing_is_left_alone(at_shell: tuple[Shell, Person]) -> None:
    shell, person = at_shell
    shell.put({"oldData": ""})
    with pytest.raises(TaskError) as refused:
        await discarded(person, "rescue", 30)
    assert refused.value.reason == "NothingKept"
    assert shell.wishes == []


async def test_an_operator_that_does_not_answer_is_not_waited_for_for_ever(at_shell: tuple[Shell, Person]) -> None:
    shell, person = at_shell
    shell.put({"oldData": OLD, "handedOver": True})
    with pytest.raises(TaskError) as late:
        await discarded(person, "rescue", 0.2)
    assert late.value.reason == "StillRunning"
    assert "the wish stands" in late.value.message
