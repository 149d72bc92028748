"""Which runs have not moved, whatever clocks say and however often the operator is restarted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from pgwarden.policies.runs import RunType, run_of
from pgwarden.policies.stalls import WATCHED_SECONDS, StallWatch
from tests.support.objects import NAMESPACE, NOW, attempt, backup
from tests.unit.policies.bodies import running

HOUR = 3600.0
RUN = running(RunType.FULL, NOW, "a")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_run_that_moves_is_not_stuck_and_the_clock_of_the_wall_does_not_matter() -> None:
    passed = [0.0]
    watch = StallWatch(lambda: passed[0])
    assert watch.unmoved(NAMESPACE, [RUN], NOW, HOUR) == {"a": 0.0}
    passed[0] = 3000.0
    for wall in (ago(9 * 86400), NOW, ago(-9 * 86400)):
        assert watch.unmoved(NAMESPACE, [replace(RUN, moved=NOW)], wall, HOUR) == {"a": 3000.0}
    moved = running(RunType.FULL, NOW, "a", reason="Finishing")
    assert watch.unmoved(NAMESPACE, [moved], NOW, HOUR) == {"a": 0.0}


@pytest.mark.parametrize(
    ("moved", "believed"),
    [
        (None, 0.0),
        (ago(600), 600.0),
        # A clock that was behind when it was written down, or is ahead now: watched for a while all the same.
        (ago(9 * 86400), HOUR - WATCHED_SECONDS),
        (ago(-86400), 0.0),
    ],
)
def test_a_new_operator_believes_what_its_predecessor_wrote_down_within_bounds(
    moved: datetime | None, believed: float
) -> None:
    passed = [0.0]
    watch = StallWatch(lambda: passed[0])
    assert watch.unmoved(NAMESPACE, [replace(RUN, moved=moved)], NOW, HOUR) == {"a": believed}
    passed[0] = WATCHED_SECONDS + 1
    assert (watch.unmoved(NAMESPACE, [replace(RUN, moved=moved)], NOW, HOUR)["a"] > HOUR) is (believed > HOUR / 2)
    on = replace(RUN, moved=moved, progress=1)
    assert watch.unmoved(NAMESPACE, [on], NOW, HOUR) == {"a": 0.0}


def test_a_run_moved_when_its_attempt_began_or_told_progress_since() -> None:
    status = {"attempts": [attempt()]}
    began = datetime.fromisoformat(status["attempts"][0]["startTime"])
    assert run_of(backup(status=status)).moved == began
    told = {"step": "s", "done": 7, "movedTime": NOW.isoformat()}
    assert run_of(backup(status={**status, "progress": told})).moved == NOW
    assert run_of(backup(status={"progress": told})).moved is None
