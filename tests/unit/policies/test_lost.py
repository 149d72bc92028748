"""A backup that was good when it ended promises nothing once the archive was found not to hold it intact."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from pgwarden.catalogue.contract import CatalogueReport, NewestReport, PointReport
from pgwarden.jobs.state import JobState
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.looks import look_job
from pgwarden.policies.lost import without_lost
from pgwarden.policies.plan import PolicyPlan, plan
from pgwarden.policies.resource import BackupPolicy, CatalogueStatus
from pgwarden.policies.runs import Run, RunType
from tests.support.objects import NOW, ended_job, said, success
from tests.unit.policies.bodies import after, done, full, policy, settled, streaming

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
OLD, NEW = full(NOW - 33 * HOUR, "old"), full(NOW - 9 * HOUR, "new")
UPON = done(RunType.INCREMENTAL, NOW - HOUR, "upon new")
RUNS = [OLD, NEW, UPON]


def report(newest_full: Run | None) -> CatalogueReport:
    """What a look says where that is the newest full that can be restored, and no incremental can."""
    if newest_full is None or newest_full.ended is None:
        return CatalogueReport()
    at = newest_full.ended + timedelta(microseconds=700)
    point = PointReport(time=at, lsn=newest_full.stop_lsn)
    newest = {"full": NewestReport(backup_id=newest_full.backup_id, time=at, stored_bytes=1)}
    return CatalogueReport(fulls=2, restorable=1, earliest=point, latest=point, newest=newest)


def looked_at(found: CatalogueReport, job: JobState | None = None) -> tuple[BackupPolicy, PolicyPlan]:
    """The policy before, and its plan when a look that has just ended found that."""
    before = settled(wal={"enabled": True})
    record = {"number": 1, "job": look_job(before), "startTime": NOW.isoformat()}
    status = before.status.model_validate({**before.status.to_json(), "attempts": [record]})
    before = before.model_copy(update={"status": status})
    answer = success(**found.model_dump(mode="json", by_alias=True, exclude_none=True))
    observed = ObservedPolicy(runs=RUNS, archiver=streaming(), job=job or ended_job(answer, look_job(before)))
    return before, plan(before, observed, NOW)


@pytest.mark.parametrize(("left", "promised"), [(OLD, True), (None, False)])
def test_a_look_takes_promises_back_and_has_a_full_taken(left: Run | None, promised: bool) -> None:
    before, result = looked_at(report(left))
    assert said(result.judgments, "Recoverable")[0] == str(promised)
    assert (result.status.latest_recoverable is not None) == promised  # type: ignore[attr-defined]
    later = plan(after(result, before), ObservedPolicy(runs=RUNS, archiver=streaming()), NOW + MINUTE)
    (turn,) = later.backups
    assert turn.type is RunType.FULL
    assert "new cannot be restored any more" in turn.why
    assert said(later.judgments, "Recoverable")[0] == str(promised)
    assert said(later.judgments, "LastBackupSucceeded")[0] == "True"


def test_that_nothing_can_be_brought_back_any_more_is_told_once_with_what_it_was() -> None:
    before, lost = looked_at(report(None))
    (told,) = [notice for notice in lost.notices if notice.reason == "WindowLost"]
    assert told.warning
    assert "moments from 2026-11-23 03:01:00 UTC to 2026-11-23 03:01:00 UTC could be" in told.message
    gone = after(lost, before)
    still = plan(gone, ObservedPolicy(runs=RUNS, archiver=streaming()), NOW + MINUTE)
    assert said(still.judgments, "Recoverable") == ("False", "WindowLost")
    assert [notice for notice in still.notices if notice.reason == "WindowLost"] == []
    again = [*RUNS, full(NOW + 2 * MINUTE, "again")]
    mended = plan(after(still, gone), ObservedPolicy(runs=again, archiver=streaming()), NOW + 4 * MINUTE)
    (told,) = [notice for notice in mended.notices if notice.reason == "WindowOpen"]
    assert not told.warning
    assert "since 2026-11-23 12:03:00 UTC" in told.message


def test_that_there_is_no_backup_yet_is_no_event() -> None:
    assert "NothingYet" not in [notice.reason for notice in plan(policy(), ObservedPolicy(), NOW).notices]


def test_what_the_archive_holds_promises_as_before() -> None:
    before, result = looked_at(report(NEW).model_copy(update={"newest": {**report(NEW).newest, **incremental(UPON)}}))
    assert plan(after(result, before), ObservedPolicy(runs=RUNS, archiver=streaming()), NOW + MINUTE).backups == []
    assert said(result.judgments, "Recoverable")[0] == "True"


def incremental(run: Run) -> dict[str, NewestReport]:
    assert run.ended is not None
    return {"incremental": NewestReport(backup_id=run.backup_id, time=run.ended, stored_bytes=1)}


@pytest.mark.parametrize(
    ("looked_from", "lost"),
    [
        (None, False),
        (NOW - 9 * HOUR, False),
        (NOW - 8 * HOUR, True),
    ],
)
def test_a_look_says_nothing_of_what_ended_later(looked_from: datetime | None, lost: bool) -> None:
    seen = CatalogueStatus(looked_from=looked_from)
    assert [run.lost for run in without_lost([NEW], seen)] == [lost]


def test_a_server_whose_clock_is_behind_has_lost_nothing() -> None:
    """The backup came after the look, and says that it ended hours before it."""
    seen = CatalogueStatus(time=NOW, looked_from=NOW, newest_full=OLD.ended)
    behind = replace(NEW, told=NOW + MINUTE)
    assert [run.lost for run in without_lost([OLD, behind], seen)] == [False, False]
    assert [run.lost for run in without_lost([OLD, NEW], seen)] == [False, True]
