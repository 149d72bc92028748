"""Who asks for what was a moment ago is not refused before the archive can tell of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from pgwarden.jobs.agent import AgentContext, Stopped
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import ObjectRef, Operation, Task
from pgwarden.restores.contract import Resolved, TargetPoint
from pgwarden.restores.patience import patiently

FOUND = Resolved(
    backup_id="full",
    location="a/0001/backups/full",
    target="then",
    timeline=1,
    end_lsn="0/2000000",
    wal_until="0/3000000",
    archive="a/0001",
)
ABOUT = ObjectRef(kind="RestoreRequest", namespace="shop", name="undo", uid="u")
TASK = Task(operation=Operation.RESTORE, nonce="0123456789abcdef", object=ABOUT, payload={})


@pytest.fixture
def context() -> AgentContext:
    return AgentContext(TASK, output=io.StringIO())


def ago(**duration: float) -> TargetPoint:
    return TargetPoint(time=datetime.now(UTC) - timedelta(**duration))


def refusing(times: int, reason: str = "TargetBeyondArchive") -> tuple[Callable[[], Resolved], list[None]]:
    """Refuses so many times, then finds; and how often it was asked."""
    asked: list[None] = []

    def find() -> Resolved:
        asked.append(None)
        if len(asked) <= times:
            raise TaskError(reason, "lies beyond what is archived", remedy="Choose another.")
        return FOUND

    return find, asked


def test_the_archive_comes_there(context: AgentContext) -> None:
    find, asked = refusing(2)
    assert patiently(find, ago(seconds=20), context, poll=0.01) is FOUND
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (lambda: ago(minutes=11), "TargetBeyondArchive"),
        (lambda: ago(minutes=-5), "TargetBeyondArchive"),
        (lambda: TargetPoint(lsn="FF/0"), "TargetBeyondArchive"),
        (lambda: None, "TargetBeyondArchive"),
        (lambda: ago(seconds=20), "WALGap"),
    ],
    ids=["long ago", "to come", "a position", "none", "another refusal"],
)
def test_nothing_else_is_waited_for(
    context: AgentContext, target: Callable[[], TargetPoint | None], reason: str
) -> None:
    find, asked = refusing(1, reason)
    with pytest.raises(TaskError) as caught:
        patiently(find, target(), context)
    assert (caught.value.reason, len(asked)) == (reason, 1)


def test_patience_ends_and_says_what_else_can_be_had(context: AgentContext) -> None:
    find, _ = refusing(1_000_000)
    with pytest.raises(TaskError) as caught:
        patiently(find, ago(seconds=20), context, patience=0.05, poll=0.01)
    assert caught.value.reason == "TargetBeyondArchive"
    assert "has not come further" in caught.value.message
    assert "target.latest" in caught.value.remedy


def test_an_agent_that_is_told_to_stop_waits_no_longer(context: AgentContext) -> None:
    find, _ = refusing(1_000_000)
    context.stop.set()
    with pytest.raises(Stopped):
        patiently(find, ago(seconds=20), context)
