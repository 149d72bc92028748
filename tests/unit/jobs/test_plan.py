"""What a plan leaves in status, and when people are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.api.conditions import in_progress, judge, ready, stalled
from pgwarden.api.model import Resource
from pgwarden.jobs.plan import QUIET, Plan, conclude, told, with_progress
from pgwarden.jobs.task import Progress
from pgwarden.kube.types import OWN_KINDS
from tests.support.objects import NOW, backup, condition


def test_people_are_told_once_per_turn() -> None:
    before = backup(status={"conditions": [condition("Ready", "False", "Queued")]})
    assert told(in_progress("Queued", "still"), before.status) == []
    assert [notice.reason for notice in told(in_progress("ClusterUnreachable"), before.status)] == [
        "ClusterUnreachable"
    ]
    assert [notice.warning for notice in told(stalled("Broken"), before.status)] == [True]
    assert [notice.warning for notice in told(ready("Completed"), before.status)] == [False]


def test_what_comes_and_goes_in_every_run_is_not_told() -> None:
    assert all(told(in_progress(reason), backup().status) == [] for reason in QUIET)


def test_a_domain_condition_that_turns_false_is_a_warning() -> None:
    assert told([judge("Reachable", False, "HostNotFound")], backup().status, "Reachable")[0].warning


def test_the_generation_is_recorded_also_when_nothing_else_changes() -> None:
    before = backup(status={"observedGeneration": 1, "conditions": [condition("Ready", "True")]})
    after = conclude(Plan(status=before.status), before.status, generation=2, now=NOW)
    assert after.observed_generation == 2
    assert after.conditions == before.status.conditions


def test_progress_is_shown_within_its_bounds() -> None:
    told_ = Progress(nonce="n", step="s" * 99, done=7, total=3, unit="u" * 99, detail="d" * 999)
    shown = with_progress(backup().status, told_, NOW).progress
    assert shown is not None
    assert (len(shown.step), len(shown.unit), len(shown.detail), shown.percent) == (63, 63, 256, 100)
    unknown = with_progress(backup().status, Progress(nonce="n", step="s", done=7), NOW).progress
    assert unknown is not None
    assert unknown.percent == 0


def test_it_is_known_when_progress_last_moved() -> None:
    minute = timedelta(minutes=1)
    first = with_progress(backup().status, Progress(nonce="n", step="s", done=7), NOW)
    still = with_progress(first, Progress(nonce="n", step="s", done=7, detail="another one"), NOW + minute)
    moved = with_progress(still, Progress(nonce="n", step="s", done=8), NOW + 2 * minute)
    times = [status.progress.moved_time for status in (first, still, moved) if status.progress is not None]
    assert times == [NOW, NOW, NOW + 2 * minute]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ({"done": 42, "total": 100}, "42%"),
        ({"done": 0, "total": 100}, "0%"),
        ({"done": 3 << 20}, "3Mi"),
        ({"done": 7, "unit": "files"}, "7 files"),
        ({}, ""),
    ],
)
def test_progress_says_for_people_what_it_counts(progress: dict[str, Any], text: str) -> None:
    shown = with_progress(backup().status, Progress(nonce="n", step="s", **progress), NOW).progress
    assert shown is not None
    assert shown.text == text


@pytest.mark.parametrize("kind", OWN_KINDS, ids=lambda kind: kind.INFO.kind)
def test_no_column_shows_a_bare_number_for_progress(kind: type[Resource]) -> None:
    assert not [column for column in kind.INFO.columns if column.path.endswith(".progress.percent")]
