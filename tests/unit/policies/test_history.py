"""Which DatabaseBackup objects are cleared away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.policies.history import outlived
from pgwarden.policies.runs import Run, RunType, newest
from tests.support.objects import NOW
from tests.unit.policies.bodies import done, failed, full, policy, running

DAY = timedelta(days=1)


def names(runs: list[Run]) -> set[str]:
    return {run.name for run in runs}


def test_fulls_of_the_window_the_failed_of_a_week_and_the_last_others_stay() -> None:
    runs = [
        full(NOW - 31 * DAY, "beyond"),
        full(NOW - 29 * DAY, "within"),
        full(NOW - DAY, "newest"),
        failed(RunType.FULL, NOW - 8 * DAY, "failed-long-ago"),
        failed(RunType.FULL, NOW - 6 * DAY, "failed-lately"),
        running(RunType.FULL, NOW - 60 * DAY, "under-way"),
        *(done(RunType.INCREMENTAL, NOW - timedelta(hours=hour), f"i{hour}") for hour in range(1, 5)),
    ]
    gone = names(outlived(policy(historyLimit=2), runs, (), NOW))
    assert gone == {"beyond", "failed-long-ago", "i3", "i4"}


def test_the_newest_full_stays_however_old_and_so_does_what_a_restore_reads() -> None:
    runs = [full(NOW - 90 * DAY, "old"), full(NOW - 80 * DAY, "newest"), full(NOW - 85 * DAY, "restored")]
    assert names(outlived(policy(historyLimit=0), runs, {"restored"}, NOW)) == {"old"}


MAKERS: list[Callable[[RunType, datetime, str], Run]] = [done, failed, running]
RUNS = st.builds(
    lambda make, type_, age, number: make(type_, NOW - timedelta(hours=age), f"r{number}"),
    st.sampled_from(MAKERS),
    st.sampled_from(RunType),
    st.integers(-100, 2000),
    st.integers(0, 10**6),
)


@given(runs=st.lists(RUNS, max_size=40, unique_by=lambda run: run.name), limit=st.integers(0, 10))
def test_never_the_unfinished_nor_the_newest_full_and_a_second_look_finds_nothing(runs: list[Run], limit: int) -> None:
    it = policy(historyLimit=limit)
    gone = outlived(it, runs, (), NOW)
    assert all(run.finished for run in gone)
    assert newest(runs, RunType.FULL) not in gone
    left = [run for run in runs if run not in gone]
    assert outlived(it, left, (), NOW) == []
    window = [run for run in left if run.restorable and run.type is RunType.FULL]
    others = [run for run in left if run.finished and not run.failed and run not in window]
    assert len(others) <= limit
