"""A full backup begins by itself once a cluster was restored in place: those from before lead elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.archiving.contract import ArchiverReport, ArchiverState
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import plan
from pgwarden.policies.runs import RunType
from pgwarden.policies.surroundings import restored_timeline
from pgwarden.restores.resource import RestoreRequest
from tests.support.objects import NOW, observed_cluster, restore_request
from tests.unit.policies.bodies import full, settled, streaming


def restored(timeline: int | None, token: str = "7301-1", *, handed_over: bool = True) -> RestoreRequest:
    """A restore in place that began a timeline."""
    status = {"timeline": timeline, "inPlace": {"handedOver": handed_over}}
    return restore_request(status=status, target={"inPlace": {"replaces": token}})


def cluster_on(timeline: int, system: str = "7301") -> DatabaseCluster:
    cluster = observed_cluster()
    cluster.status.timeline, cluster.status.system_identifier = timeline, system
    return cluster


@pytest.mark.parametrize(
    ("requests", "cluster", "timeline"),
    [
        ([restored(3), restored(2)], cluster_on(3), 3),
        ([restored(3)], cluster_on(5), 3),
        ([restored(3)], None, 0),
        ([restored(3)], cluster_on(2), 0),
        ([restored(3)], cluster_on(3, "9999"), 0),
        ([restored(3, handed_over=False)], cluster_on(3), 0),
        ([restored(None), restore_request()], cluster_on(3), 0),
    ],
)
def test_the_timeline_that_a_restore_in_place_began_counts_on_the_cluster_that_has_come_to_it(
    requests: list[RestoreRequest], cluster: DatabaseCluster | None, timeline: int
) -> None:
    assert restored_timeline(requests, cluster) == timeline


def seen(**more: Any) -> ArchiverReport | None:
    """What the archiver tells of the restored server."""
    facts: dict[str, Any] = {"timeline": 3, "system_identifier": "7301", **more}
    return streaming(**facts).report


def test_the_archiver_sees_the_new_timeline_before_the_monitor_does() -> None:
    before = cluster_on(2)
    assert restored_timeline([restored(3)], before, seen()) == 3
    assert restored_timeline([restored(3)], before, seen(state=ArchiverState.CONFLICT)) == 0
    assert restored_timeline([restored(3)], before, seen(system_identifier="9999")) == 0


def test_a_full_is_taken_at_once_after_a_restore_in_place() -> None:
    (turn,) = plan(settled(), ObservedPolicy(runs=[full(NOW)], restored_timeline=2), NOW).backups
    assert (turn.type, turn.why) == (
        RunType.FULL,
        "the cluster was restored in place and is on timeline 2 since then",
    )
    assert plan(settled(), ObservedPolicy(runs=[full(NOW, timeline=2)], restored_timeline=2), NOW).backups == []


def test_a_second_restore_within_the_hour_gets_a_full_of_its_own() -> None:
    (first,) = plan(settled(), ObservedPolicy(runs=[full(NOW)], restored_timeline=2), NOW).backups
    of_first = full(NOW, first.name, timeline=2)
    (second,) = plan(settled(), ObservedPolicy(runs=[full(NOW), of_first], restored_timeline=3), NOW).backups
    assert second.name != first.name
