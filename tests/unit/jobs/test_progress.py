"""What an agent tells of its progress: seldom, but never that it still does what it has left behind."""

from __future__ import annotations

import io

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.state import progress_in
from pgwarden.jobs.task import ObjectRef, Operation, Progress, Task

NONCE = "0123456789abcdef"
ABOUT = ObjectRef(kind="DatabaseMigration", namespace="n", name="m", uid="u")


def told(*calls: tuple[float, str, int, str]) -> list[Progress]:
    """The lines printed for calls at those times: (time, step, done, detail)."""
    output, now = io.StringIO(), 0.0
    task = Task(operation=Operation.MIGRATE, nonce=NONCE, object=ABOUT, payload={})
    context = AgentContext(task, output=output, clock=lambda: now)
    for now, step, done, detail in calls:  # noqa: B007 - the clock reads it
        context.progress(step, done, 100, detail=detail)
    lines = [progress_in(line, NONCE) for line in output.getvalue().splitlines()]
    return [line for line in lines if line is not None]


def test_the_same_work_is_told_once_a_second() -> None:
    lines = told((0.0, "copy", 1, ""), (0.4, "copy", 2, ""), (0.9, "copy", 3, ""), (1.1, "copy", 4, ""))
    assert [line.done for line in lines] == [1, 4]


def test_other_work_is_told_at_once() -> None:
    lines = told((0.0, "up", 0, "1 one"), (0.1, "up", 1, "2 two"), (0.2, "check", 1, "2 two"))
    assert [(line.step, line.detail) for line in lines] == [("up", "1 one"), ("up", "2 two"), ("check", "2 two")]


def test_the_end_is_always_told() -> None:
    assert [line.done for line in told((0.0, "copy", 1, ""), (0.1, "copy", 100, ""))] == [1, 100]
