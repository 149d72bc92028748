"""Each refusal of an incremental backup has its reason, and says what to do now."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.backups.incremental import (
    NothingNew,
    ServerFacts,
    Summary,
    check_parent,
    check_restart_point,
    check_settings,
    check_something_new,
    check_timeline,
    check_version,
    summarized_until,
)
from pgwarden.jobs.errors import TaskError
from tests.unit.backups.test_record import incremental, sample

SYSTEM = sample().system_identifier
SEGMENT = 16 << 20
HISTORY = "1\t0/5000000\tno recovery target specified\n\n2\t0/7000000\tno recovery target specified\n"


def facts(**changes: Any) -> ServerFacts:
    usual: dict[str, Any] = {
        "summarize_wal": True,
        "data_checksums": True,
        "wal_log_hints": False,
        "in_recovery": False,
        "position": 10 * SEGMENT,
        "redo": 9 * SEGMENT,
    }
    return ServerFacts(**usual | changes)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (160009, "IncrementalNotSupported"),
        (170011, "BelowIncrementalFloor"),
        (170012, ""),
        (180006, "BelowIncrementalFloor"),
        (180007, ""),
        (190000, ""),
    ],
)
def test_old_and_faulty_releases_are_refused(version: int, reason: str) -> None:
    assert refusal(lambda: check_version(version)) == reason


def test_the_floor_is_data() -> None:
    assert refusal(lambda: check_version(170012, {17: 170013})) == "BelowIncrementalFloor"
    assert refusal(lambda: check_version(180001, {})) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"summarize_wal": False}, "WALNotSummarized"),
        ({"data_checksums": False}, "HintBitsNotLogged"),
        ({"data_checksums": False, "wal_log_hints": True}, ""),
    ],
)
def test_settings_without_which_changes_are_missed_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(lambda: check_settings(facts(**changes))) == reason


def test_parents_that_cannot_be_built_upon_are_refused() -> None:
    good = sample()
    good.server.version_num = 170012
    assert refusal(lambda: check_parent(good, SYSTEM, 170012)) == ""
    assert refusal(lambda: check_parent(good, "1", 170012)) == "ParentOfAnotherCluster"
    assert refusal(lambda: check_parent(sample(), SYSTEM, 170012)) == "ParentBelowFloor"
    assert refusal(lambda: check_parent(sample(damaged=True, damage="x"), SYSTEM, 170012)) == "ParentDamaged"
    assert refusal(lambda: check_parent(incremental(170010, 170010), SYSTEM, 170012)) == "ParentUntrusted"


@pytest.mark.parametrize(
    ("timeline", "stop", "reason"),
    [
        (3, "0/6000000", ""),
        (2, "0/7000000", ""),
        (2, "0/7000001", "ParentOnAnotherTimeline"),
        (1, "0/5000001", "ParentOnAnotherTimeline"),
        (1, "0/4000000", ""),
        (4, "0/4000000", "ParentOnAnotherTimeline"),
    ],
)
def test_only_what_the_servers_wal_leads_over_is_a_parent(timeline: int, stop: str, reason: str) -> None:
    parent = sample(timeline=timeline, stop_lsn=stop)
    assert refusal(lambda: check_timeline(parent, 3, HISTORY)) == reason


@pytest.mark.parametrize("after", [0, 40])
def test_a_primary_that_wrote_nothing_since_has_nothing_to_back_up(after: int) -> None:
    parent = sample(stop_lsn="0/3000120")
    with pytest.raises(NothingNew):
        check_something_new(parent, 1, facts(position=4 * SEGMENT + after))


def test_one_record_or_another_timeline_is_something_new() -> None:
    parent = sample(stop_lsn="0/3000120")
    check_something_new(parent, 1, facts(position=4 * SEGMENT + 41))
    check_something_new(parent, 2, facts(position=4 * SEGMENT))
    check_something_new(parent, 1, facts(position=4 * SEGMENT, in_recovery=True))


@pytest.mark.parametrize("from_standby", [False, True])
def test_a_server_behind_its_parent_has_another_history(from_standby: bool) -> None:
    parent = sample(stop_lsn="0/3000120")
    parent.server.from_standby = from_standby
    with pytest.raises(TaskError) as refused:
        check_something_new(parent, 1, facts(position=0x300011F))
    assert refused.value.reason == "ServerBehindParent"
    assert "0/3000120" in refused.value.message
    check_something_new(parent, 1, facts(position=0x300011F, in_recovery=True))
    check_something_new(parent, 2, facts(position=0x300011F))


def test_a_backup_of_a_standby_ends_where_it_says_and_not_with_its_segment() -> None:
    parent = sample(stop_lsn="0/3000120")
    parent.server.from_standby = True
    with pytest.raises(NothingNew):
        check_something_new(parent, 1, facts(position=0x3000120))
    check_something_new(parent, 1, facts(position=0x3000121))


def test_a_standby_without_a_restart_point_since_has_nothing_to_back_up() -> None:
    parent = sample(stop_lsn="0/3000120")
    with pytest.raises(NothingNew):
        check_restart_point(parent, facts(in_recovery=True, redo=0x3000119))
    check_restart_point(parent, facts(in_recovery=True, redo=0x3000120))
    check_restart_point(parent, facts(in_recovery=False, redo=0))


def test_summaries_reach_as_far_as_they_have_no_gap() -> None:
    summaries = [Summary(10, 20), Summary(0, 10), Summary(30, 40), Summary(20, 25)]
    assert summarized_until(summaries, 0) == 25
    assert summarized_until(summaries, 15) == 25
    assert summarized_until(summaries, 35) == 40
    assert summarized_until(summaries, 27) is None
    assert summarized_until([], 0) is None


def refusal(check: Any) -> str:
    """The reason of a refusal, which also says what to do; empty when there is none."""
    try:
        check()
    except TaskError as error:
        assert error.remedy
        return error.reason
    return ""
