"""What a BackupPolicy does and says, state by state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgwarden.archiving.contract import ArchiverState
from pgwarden.catalogue.contract import CatalogueReport, PointReport
from pgwarden.clusters.access import Obstacle
from pgwarden.policies.judgments import STUCK_SECONDS, ObservedPolicy
from pgwarden.policies.looks import look_job
from pgwarden.policies.plan import plan
from pgwarden.policies.recoverable import Measured
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import Run, RunType, run_of
from pgwarden.policies.turns import NEW_FULL_REASONS
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    backup,
    ended_job,
    kstatus,
    restorable_backup,
    said,
    success,
)
from tests.unit.policies.bodies import (
    DAILY,
    HOURLY,
    after,
    done,
    failed,
    full,
    gap,
    policy,
    running,
    settled,
    streaming,
)

HOUR = timedelta(hours=1)
LATER = NOW + HOUR
"""The hourly turn has come once more; the daily one has not."""
MEASURED = Measured("rescue", 40.0, NOW - HOUR)


@pytest.mark.parametrize(
    ("before", "observed", "triple", "reason"),
    [
        (policy(), ObservedPolicy(), IN_FORCE, "InForce"),
        (policy(suspend=True), ObservedPolicy(), IN_FORCE, "Suspended"),
        (policy(), ObservedPolicy(obstacle=Obstacle("ClusterNotFound", "none")), WORKING, "ClusterNotFound"),
        (policy(), ObservedPolicy(twin="elder"), STUCK, "PolicyDuplicate"),
        (policy(schedules={"full": {"schedule": "0 25 * * *"}}), ObservedPolicy(), STUCK, "InvalidSchedule"),
        (policy(schedules={"full": {**DAILY, "timeZone": "Mars"}}), ObservedPolicy(), STUCK, "InvalidSchedule"),
        # A failed night must not hold up an unrelated release.
        (policy(), ObservedPolicy(runs=[failed(RunType.FULL, NOW)]), IN_FORCE, "InForce"),
    ],
)
def test_ready_means_accepted_and_in_force(
    before: BackupPolicy, observed: ObservedPolicy, triple: tuple[str, ...], reason: str
) -> None:
    result = plan(before, observed, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments)[1] == reason


@pytest.mark.parametrize(
    "observed",
    [ObservedPolicy(obstacle=Obstacle("StoreNotFound", "none")), ObservedPolicy(twin="elder")],
)
def test_what_is_not_in_force_begins_nothing(observed: ObservedPolicy) -> None:
    assert plan(settled(), observed, NOW + timedelta(days=2)).backups == []
    assert plan(settled(suspend=True), ObservedPolicy(), NOW + timedelta(days=2)).backups == []


def test_the_first_full_is_taken_at_once() -> None:
    (turn,) = plan(policy(), ObservedPolicy(), NOW).backups
    assert turn.type is RunType.FULL
    assert "no restorable full backup yet" in turn.why


def test_an_incremental_is_taken_at_its_turn() -> None:
    (turn,) = plan(settled(), ObservedPolicy(runs=[full(NOW - 9 * HOUR)]), LATER).backups
    assert (turn.type, turn.slot) == (RunType.INCREMENTAL, NOW + timedelta(minutes=10))
    assert (turn.why, turn.parent) == ("", "")


def test_incrementals_go_on_while_fulls_are_held_back() -> None:
    before = settled(schedules={"full": {**DAILY, "suspend": True}, "incremental": HOURLY})
    (turn,) = plan(before, ObservedPolicy(runs=[full(NOW - 9 * HOUR)]), LATER).backups
    assert turn.type is RunType.INCREMENTAL
    assert plan(before, ObservedPolicy(), LATER).backups == []
    (at_night,) = plan(before, ObservedPolicy(runs=[full(NOW - 9 * HOUR)]), NOW + timedelta(hours=14)).backups
    assert at_night.type is RunType.INCREMENTAL


def test_a_full_that_is_due_comes_before_an_incremental_and_stands_in_for_it() -> None:
    at_night = NOW + timedelta(hours=14)
    before = settled()
    result = plan(before, ObservedPolicy(runs=[full(NOW - 9 * HOUR)]), at_night)
    assert [turn.type for turn in result.backups] == [RunType.FULL]
    made = running(RunType.FULL, at_night, result.backups[0].name)
    assert plan(after(result, before), ObservedPolicy(runs=[full(NOW - 9 * HOUR), made]), at_night).backups == []


def test_a_due_incremental_waits_for_a_running_full_and_says_so() -> None:
    runs = [full(NOW - 9 * HOUR), running(RunType.FULL, NOW, "slow")]
    result = plan(settled(), ObservedPolicy(runs=runs), LATER)
    assert result.backups == []
    last = next(judgment for judgment in result.judgments if judgment.type == "LastBackupSucceeded")
    assert "waits for slow" in last.message
    freed = plan(after(result, settled()), ObservedPolicy(runs=[full(NOW - 9 * HOUR)]), LATER + timedelta(minutes=20))
    assert [turn.type for turn in freed.backups] == [RunType.INCREMENTAL]


def test_a_logical_backup_waits_for_no_physical_one() -> None:
    before = settled(schedules={"full": DAILY, "logical": {"schedule": "10 * * * *"}})
    runs = [full(NOW - 9 * HOUR), running(RunType.FULL, NOW)]
    assert [turn.type for turn in plan(before, ObservedPolicy(runs=runs), LATER).backups] == [RunType.LOGICAL]


def test_a_failed_run_does_not_keep_the_next_from_its_turn() -> None:
    runs = [full(NOW - 9 * HOUR), failed(RunType.INCREMENTAL, NOW)]
    assert [turn.type for turn in plan(settled(), ObservedPolicy(runs=runs), LATER).backups] == [RunType.INCREMENTAL]


def test_an_incremental_without_any_full_becomes_one_and_says_so() -> None:
    runs = [failed(RunType.FULL, LATER - timedelta(minutes=59))]
    result = plan(settled(), ObservedPolicy(runs=runs), LATER)
    (turn,) = result.backups
    assert turn.type is RunType.FULL
    assert "an incremental was due" in turn.why
    assert any(notice.reason == "FullTaken" and turn.name in notice.message for notice in result.notices)


@pytest.mark.parametrize("reason", sorted(NEW_FULL_REASONS))
def test_a_refused_incremental_brings_a_full_at_most_once_an_hour(reason: str) -> None:
    old, refused = full(NOW - 9 * HOUR), failed(RunType.INCREMENTAL, NOW, reason=reason)
    result = plan(settled(), ObservedPolicy(runs=[old, refused]), NOW + timedelta(minutes=1))
    assert [turn.type for turn in result.backups] == [RunType.FULL]
    broken = failed(RunType.FULL, NOW - timedelta(minutes=30))
    assert plan(settled(), ObservedPolicy(runs=[old, broken, refused]), NOW + timedelta(minutes=1)).backups == []


def test_a_gap_behind_the_newest_full_brings_a_new_one_once() -> None:
    archiver = streaming(gaps=[gap()], gaps_total=1)
    before = settled(wal={"enabled": True})
    runs = [full(NOW - 9 * HOUR)]
    result = plan(before, ObservedPolicy(runs=runs, archiver=archiver), NOW)
    assert [turn.type for turn in result.backups] == [RunType.FULL]
    assert said(result.judgments, "WALArchiving") == ("False", "WALGap")
    # A full that was taken a moment before the gap, for another reason, keeps nobody from mending it.
    fresh = [*runs, full(NOW - timedelta(minutes=2))]
    assert len(plan(before, ObservedPolicy(runs=fresh, archiver=archiver), NOW).backups) == 1
    newer = full(NOW, start_lsn="0/5000028", stop_lsn="0/5000158")
    mended = plan(before, ObservedPolicy(runs=[*runs, newer], archiver=archiver), NOW + timedelta(minutes=5))
    assert mended.backups == []
    assert said(mended.judgments, "WALArchiving") == ("True", "Streaming")


def test_a_full_that_failed_before_another_succeeded_keeps_no_gap_from_being_mended() -> None:
    archiver = streaming(gaps=[gap()], gaps_total=1)
    broken, good = failed(RunType.FULL, NOW - timedelta(minutes=5)), full(NOW - timedelta(minutes=3))
    before = settled(wal={"enabled": True})
    (turn,) = plan(before, ObservedPolicy(runs=[broken, good], archiver=archiver), NOW).backups
    assert turn.type is RunType.FULL
    broken_since = failed(RunType.FULL, NOW - timedelta(minutes=1))
    assert plan(before, ObservedPolicy(runs=[good, broken_since], archiver=archiver), NOW).backups == []


def test_gaps_again_and_again_bring_a_full_an_hour() -> None:
    before = settled(wal={"enabled": True}, schedules={"full": DAILY})
    runs, archiver = [full(NOW - 9 * HOUR)], streaming(gaps=[gap()], gaps_total=1)
    (turn,) = plan(before, ObservedPolicy(runs=runs, archiver=archiver), NOW).backups
    mended = full(NOW, turn.name, start_lsn="0/5000028", stop_lsn="0/5000158")
    observed = ObservedPolicy(runs=[*runs, mended], archiver=streaming(gaps=[gap(end="0/7000000")], gaps_total=2))
    soon = plan(before, observed, NOW + timedelta(minutes=40))
    assert soon.backups == []
    assert soon.again_after is not None
    assert soon.again_after <= 20 * 60
    (again,) = plan(before, observed, NOW + HOUR).backups
    assert (again.type, again.name != turn.name) == (RunType.FULL, True)


def test_a_conflict_is_told_and_takes_no_full_into_the_archive_of_the_other_history() -> None:
    archiver = streaming(state=ArchiverState.CONFLICT, reason="TimelineBehind", message="a primary of the past")
    before = settled(wal={"enabled": True})
    runs = [full(NOW - 9 * HOUR)]
    first = plan(before, ObservedPolicy(runs=runs, archiver=archiver), NOW)
    assert said(first.judgments, "WALArchiving") == ("False", "Conflict")
    second = plan(after(first, before), ObservedPolicy(runs=runs, archiver=archiver), NOW + timedelta(minutes=1))
    assert second.backups == []


def test_another_archive_is_told_once_and_brings_a_full_of_its_own() -> None:
    why: dict[str, Any] = {"archive": "0002", "archive_since": NOW, "archive_reason": "the volume was rolled back"}
    fresh = settled(wal={"enabled": True})
    # Fulls that no schedule asked for wait an hour for each other, but not for one of the archive before.
    runs = [full(NOW - timedelta(minutes=10), archive="0001")]
    known = after(plan(fresh, ObservedPolicy(runs=runs, archiver=streaming(archive="0001")), NOW), fresh)
    moment = NOW + timedelta(minutes=2)
    result = plan(known, ObservedPolicy(runs=runs, archiver=streaming(moment, **why)), moment)
    (turn,) = result.backups
    assert turn.type is RunType.FULL
    assert "archive 0002: the volume was rolled back" in turn.why
    assert said(result.judgments, "WALArchiving") == ("False", "NewArchive")
    (told,) = [notice for notice in result.notices if notice.reason == "ArchiveSucceeded"]
    assert told.warning
    assert "in place of 0001: the volume was rolled back" in told.message
    # What lies in the new archive cannot be reached from a full of the old one.
    later = after(result, known)
    assert later.status.latest_recoverable == known.status.latest_recoverable
    tried = [*runs, failed(RunType.FULL, NOW)]
    again = plan(later, ObservedPolicy(runs=tried, archiver=streaming(**why)), NOW + timedelta(minutes=3))
    assert again.backups == []
    assert not [notice for notice in again.notices if notice.reason == "ArchiveSucceeded"]
    runs.append(full(NOW, archive="0002"))
    mended = plan(later, ObservedPolicy(runs=runs, archiver=streaming(**why)), NOW + timedelta(minutes=5))
    assert mended.backups == []
    assert said(mended.judgments, "WALArchiving") == ("True", "Streaming")


def test_a_chain_stands_on_the_previous_one_until_it_is_long_enough() -> None:
    before = settled(incremental={"chain": "Previous", "maxChain": 2})
    base, first = full(NOW - 9 * HOUR), done(RunType.INCREMENTAL, NOW - 8 * HOUR, chain_length=2)
    (turn,) = plan(before, ObservedPolicy(runs=[base, first]), LATER).backups
    assert turn.parent == first.backup_id
    second = done(RunType.INCREMENTAL, NOW - 7 * HOUR, chain_length=3)
    (turn,) = plan(before, ObservedPolicy(runs=[base, first, second]), LATER).backups
    assert (turn.type, turn.parent) == (RunType.INCREMENTAL, "")


def test_a_run_that_does_not_get_on_is_ended_and_one_that_waits_is_not() -> None:
    at_work, waiting = running(RunType.FULL, NOW, "stuck"), running(RunType.LOGICAL, NOW, "queued", "Queued")
    long = {"stuck": STUCK_SECONDS + 1, "queued": STUCK_SECONDS + 1}
    result = plan(settled(), ObservedPolicy(runs=[at_work, waiting], unmoved=long), LATER)
    assert result.end == ["job-of-stuck"]
    assert any(notice.reason == "BackupStuck" and notice.warning for notice in result.notices)
    assert plan(settled(), ObservedPolicy(runs=[at_work], unmoved={"stuck": STUCK_SECONDS}), LATER).end == []
    impatient = ObservedPolicy(runs=[at_work], unmoved={"stuck": 31.0}, stuck_after=30.0)
    assert plan(settled(), impatient, LATER).end == ["job-of-stuck"]


def test_a_run_that_stands_still_is_looked_at_again_when_it_counts_as_stuck() -> None:
    runs = [full(NOW - 9 * HOUR), running(RunType.INCREMENTAL, NOW, "still")]
    observed = ObservedPolicy(runs=runs, unmoved={"still": 5.0}, stuck_after=30.0)
    assert plan(settled(), observed, NOW).again_after == 26.0


def test_an_object_that_a_crash_kept_from_being_recorded_is_not_made_twice() -> None:
    runs = [full(NOW - 9 * HOUR)]
    (turn,) = plan(settled(), ObservedPolicy(runs=runs), LATER).backups
    there = done(RunType.INCREMENTAL, LATER, turn.name)
    assert plan(settled(), ObservedPolicy(runs=[*runs, there]), LATER + timedelta(minutes=2)).backups == []


@pytest.mark.parametrize(
    ("runs", "archiver", "measured", "now", "expected"),
    [
        ([], None, None, NOW, ("Unknown", "FirstBackupPending")),
        ([], None, None, NOW + 2 * HOUR, ("False", "NothingRecoverable")),
        ([full(NOW - HOUR / 2)], None, None, NOW, ("Unknown", "RecoveryTimeUnknown")),
        ([full(NOW - HOUR / 2)], None, MEASURED, NOW, ("True", "Met")),
        ([full(NOW - HOUR / 2)], None, Measured("slow", 7200.0, NOW), NOW, ("False", "RecoveryTimeMissed")),
        ([full(NOW - 2 * HOUR)], None, MEASURED, NOW, ("False", "RecoveryPointMissed")),
        # WAL goes on from the full, so the age of the full does not matter.
        ([full(NOW - 20 * HOUR)], streaming(), MEASURED, NOW, ("True", "Met")),
        ([full(NOW - 20 * HOUR)], streaming(gaps=[gap()]), MEASURED, NOW, ("False", "RecoveryPointMissed")),
        # WAL without a backup to begin with is of no use.
        ([], streaming(NOW + 2 * HOUR), MEASURED, NOW + 2 * HOUR, ("False", "NothingRecoverable")),
    ],
)  # fmt: skip
def test_objectives_are_judged_with_their_numbers(
    runs: list[Any], archiver: Any, measured: Measured | None, now: Any, expected: tuple[str, str]
) -> None:
    more = {"archiver": archiver} if archiver else {}
    made = {"creationTimestamp": (NOW - HOUR / 2).isoformat()}
    before = policy(wal={"enabled": archiver is not None})
    before = before.model_copy(
        update={"metadata": before.metadata.model_validate({**before.metadata.to_json(), **made})}
    )
    result = plan(before, ObservedPolicy(runs=runs, measured=measured, **more), now)
    assert said(result.judgments, "ObjectivesMet") == expected


HOURLY_ON_THE_HOUR = {"full": DAILY, "incremental": {"schedule": "0 * * * *"}}


@pytest.mark.parametrize(
    ("schedules", "asked", "age", "expected"),
    [
        # Between two hourly incrementals an hour passes, and the time that the second one takes.
        (HOURLY_ON_THE_HOUR, {}, HOUR + timedelta(minutes=20), "Met"),
        (HOURLY_ON_THE_HOUR, {}, 1.5 * HOUR, "Met"),
        (HOURLY_ON_THE_HOUR, {}, 1.5 * HOUR + timedelta(seconds=1), "RecoveryPointMissed"),
        (HOURLY_ON_THE_HOUR, {"recoveryPoint": "1h"}, HOUR + timedelta(minutes=1), "RecoveryPointMissed"),
        ({"full": DAILY}, {}, 36 * HOUR, "Met"),
        ({"full": DAILY}, {}, 36 * HOUR + timedelta(seconds=1), "RecoveryPointMissed"),
        ({"logical": {"schedule": "0 4 * * 0"}}, {}, 10 * 24 * HOUR, "Met"),
        # From Friday's last to Monday's first.
        ({"full": {"schedule": "0 9-17 * * 1-5"}}, {}, 64 * HOUR, "Met"),
    ],
)
def test_without_an_objective_a_policy_is_judged_by_what_its_schedules_can_keep(
    schedules: dict[str, Any], asked: dict[str, str], age: timedelta, expected: str
) -> None:
    last = done(RunType.LOGICAL if "logical" in schedules else RunType.FULL, NOW - age - timedelta(minutes=1))
    before = policy(schedules=schedules, objectives={"recoveryTime": "30m", **asked})
    result = plan(before, ObservedPolicy(runs=[last], measured=MEASURED), NOW)
    assert said(result.judgments, "ObjectivesMet")[1] == expected


def test_a_full_that_takes_long_keeps_incrementals_waiting_and_misses_nothing() -> None:
    """The incremental of one o'clock, then three hours of a full, in which no incremental is taken."""
    slow = full(NOW - 24 * HOUR, ended=NOW - 21 * HOUR, holds=NOW - 21 * HOUR)
    before_it = done(RunType.INCREMENTAL, NOW - 4 * HOUR, ended=NOW - 4 * HOUR, holds=NOW - 4 * HOUR)
    runs = [slow, before_it, running(RunType.FULL, NOW - 3 * HOUR)]
    before = settled(schedules=HOURLY_ON_THE_HOUR)
    for now, reason in ((NOW, "Met"), (NOW + timedelta(seconds=1), "RecoveryPointMissed")):
        judgments = plan(before, ObservedPolicy(runs=runs, measured=MEASURED), now).judgments
        assert said(judgments, "ObjectivesMet")[1] == reason


def test_an_objective_that_backups_cannot_keep_is_told_with_what_can() -> None:
    before = settled(schedules=HOURLY_ON_THE_HOUR, objectives={"recoveryPoint": "1h"})
    result = plan(before, ObservedPolicy(runs=[full(NOW - 2 * HOUR)], measured=MEASURED), NOW)
    (met,) = [each for each in result.judgments if each.type == "ObjectivesMet"]
    assert "up to 1h lie between two of them. Archive WAL (wal.enabled)" in met.message
    wide = settled(schedules=HOURLY_ON_THE_HOUR, objectives={"recoveryPoint": "90m"})
    result = plan(wide, ObservedPolicy(runs=[full(NOW - 2 * HOUR)], measured=MEASURED), NOW)
    (met,) = [each for each in result.judgments if each.type == "ObjectivesMet"]
    assert "LastBackupSucceeded and WALArchiving say why" in met.message


@pytest.mark.parametrize(("lost", "reason"), [(False, "Met"), (True, "RecoveryPointMissed")])
def test_on_an_idle_database_nothing_new_is_nothing_to_lose(lost: bool, reason: str) -> None:
    """Until the full that the skipped incrementals would have stood on cannot be restored any more."""
    good = full(NOW - 9 * HOUR)
    skipped = [
        Run(name=f"skipped-{hours}", type=RunType.INCREMENTAL, made=NOW - hours * HOUR, finished=True, skipped=True)
        for hours in (2, 1)
    ]
    gone = [full(NOW - 8 * HOUR, restorable=False, lost=True)] if lost else []
    result = plan(settled(), ObservedPolicy(runs=[good, *gone, *skipped], measured=MEASURED), NOW)
    assert said(result.judgments, "ObjectivesMet")[1] == reason
    assert result.status.latest_recoverable.time == good.holds  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("True", "Streaming")),
        ({"state": ArchiverState.STARTING}, ("Unknown", "Starting")),
        ({"state": ArchiverState.STORE_UNREACHABLE}, ("False", "StoreUnreachable")),
        ({"state": ArchiverState.STORE_UNREACHABLE, "reason": "StoreFull"}, ("False", "StoreFull")),
        ({"state": ArchiverState.SYNCHRONOUS_STANDBY}, ("False", "SynchronousStandby")),
        ({"lag_seconds": 301.0}, ("False", "LaggingBehind")),
    ],
)
def test_the_archiver_is_judged(change: dict[str, Any], expected: tuple[str, str]) -> None:
    observed = ObservedPolicy(runs=[full(NOW - HOUR)], archiver=streaming(**change))
    assert said(plan(settled(wal={"enabled": True}), observed, NOW).judgments, "WALArchiving") == expected


def test_at_rest_nothing_is_written_although_wal_goes_on() -> None:
    before = settled(wal={"enabled": True})
    runs = [full(NOW - 9 * HOUR)]
    first = plan(before, ObservedPolicy(runs=runs, archiver=streaming(), measured=MEASURED), NOW)
    known = after(first, before)
    for seconds in (10, 30, 59):
        now = NOW + timedelta(seconds=seconds)
        on = streaming(now, acknowledged_lsn=f"0/{5 + seconds:X}000000", lag_bytes=seconds)
        second = plan(known, ObservedPolicy(runs=runs, archiver=on, measured=MEASURED), now)
        assert after(second, known).status == known.status
    now = NOW + timedelta(seconds=61)
    third = after(plan(known, ObservedPolicy(runs=runs, archiver=streaming(now), measured=MEASURED), now), known)
    assert third.status.latest_recoverable != known.status.latest_recoverable


def test_events_tell_of_turns_once() -> None:
    before = settled()
    runs = [full(NOW - 9 * HOUR), failed(RunType.INCREMENTAL, NOW)]
    result = plan(before, ObservedPolicy(runs=runs), NOW + timedelta(minutes=1))
    assert [(n.reason, n.warning) for n in result.notices if "failed" in n.message] == [("StoreFull", True)]
    known = after(result, before)
    assert plan(known, ObservedPolicy(runs=runs), NOW + timedelta(minutes=2)).notices == []


def test_the_last_successes_stay_in_status_when_their_objects_are_gone() -> None:
    before = settled()
    known = after(plan(before, ObservedPolicy(runs=[full(NOW - HOUR)]), NOW), before)
    assert known.status.last_full is not None
    assert after(plan(known, ObservedPolicy(), NOW), known).status.last_full == known.status.last_full


def test_the_next_run_is_told_in_words() -> None:
    status = settled().status
    assert status.next_run.startswith("Incremental 2026-11-23T12:1")
    assert {each.name for each in status.schedules} == {"Full", "Incremental"}
    assert settled(suspend=True).status.next_run == ""


def test_a_moment_that_a_clock_ahead_has_told_is_not_believed_for_ever() -> None:
    before = settled(wal={"enabled": True})
    runs = [full(NOW - 9 * HOUR)]
    ahead = streaming(recovery_point_time=NOW + 48 * HOUR)
    known = after(plan(before, ObservedPolicy(runs=runs, archiver=ahead), NOW), before)
    mended = after(plan(known, ObservedPolicy(runs=runs, archiver=streaming()), NOW), known).status.latest_recoverable
    assert mended is not None and mended.time <= NOW
    assert said(plan(known, ObservedPolicy(runs=runs), NOW + 2 * HOUR).judgments, "ObjectivesMet")[0] == "False"


def test_a_dump_holds_what_was_there_when_it_began() -> None:
    """Three hours of dumping are three hours that could be lost."""
    dump = run_of(
        restorable_backup(startTime=(NOW - 3 * HOUR).isoformat(), completionTime=NOW.isoformat()).model_copy(
            update={"spec": backup(type="Logical").spec}
        )
    )
    before = policy(schedules={"logical": DAILY}, objectives={"recoveryPoint": "2h", "recoveryTime": "30m"})
    result = plan(before, ObservedPolicy(runs=[dump], measured=MEASURED), NOW)
    assert said(result.judgments, "ObjectivesMet") == ("False", "RecoveryPointMissed")
    assert result.status.last_logical.time == NOW  # type: ignore[attr-defined]
    assert result.status.latest_recoverable.time == NOW - 3 * HOUR  # type: ignore[attr-defined]


def test_a_servers_clock_that_is_ahead_does_not_hide_that_the_archiver_has_stopped() -> None:
    before = settled(wal={"enabled": True}, objectives={"recoveryPoint": "10m", "recoveryTime": "30m"})
    archiver = streaming(recovery_point_time=NOW + HOUR)
    observed = ObservedPolicy(runs=[full(NOW - 9 * HOUR)], archiver=archiver, measured=MEASURED)
    now = plan(before, observed, NOW)
    assert said(now.judgments, "ObjectivesMet") == ("True", "Met")
    later = plan(after(now, before), observed, NOW + timedelta(minutes=30))
    assert said(later.judgments, "ObjectivesMet") == ("False", "RecoveryPointMissed")


def test_a_look_that_tells_a_moment_to_come_is_believed_up_to_now() -> None:
    before = settled()
    record = {"number": 1, "job": look_job(before), "startTime": NOW.isoformat()}
    status = before.status.model_validate({**before.status.to_json(), "attempts": [record]})
    before = before.model_copy(update={"status": status})
    point = PointReport(time=NOW + HOUR, lsn="0/5000000")
    report = CatalogueReport(earliest=point, latest=point).model_dump(mode="json", by_alias=True, exclude_none=True)
    result = plan(before, ObservedPolicy(job=ended_job(success(**report), look_job(before))), NOW)
    assert result.status.latest_recoverable.time == NOW  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("before", "observed", "word"),
    [
        (policy(schedules={"full": {"schedule": "61 25 32 13 9"}}), ObservedPolicy(), "61 25 32 13 9"),
        (policy(schedules={"full": {**DAILY, "timeZone": "Mars/Olympus"}}), ObservedPolicy(), "Mars/Olympus"),
        (policy(), ObservedPolicy(twin="elder"), "elder is older"),
        (policy(), ObservedPolicy(obstacle=Obstacle("ClusterNotFound", "there is no DatabaseCluster")), "there is no"),
        (policy(), ObservedPolicy(runs=[running(RunType.FULL, NOW)]), "the first backup has not ended yet"),
    ],
)
def test_one_line_says_what_is_to_be_known_first(before: BackupPolicy, observed: ObservedPolicy, word: str) -> None:
    before.metadata.creation_timestamp = NOW
    assert word in after(plan(before, observed, NOW), before).status.message


def test_a_duplicate_tells_what_came_of_its_own_backups() -> None:
    result = plan(policy(), ObservedPolicy(twin="elder", runs=[full(NOW - HOUR)]), NOW)
    assert kstatus(result.judgments) == STUCK
    assert (result.backups, result.look, result.drill) == ([], None, None)
    assert said(result.judgments, "Recoverable") == ("True", "WindowOpen")
    assert said(result.judgments, "LastBackupSucceeded") == ("True", "Succeeded")


def test_what_nobody_tells_of_is_looked_for_every_minute() -> None:
    waiting = ObservedPolicy(obstacle=Obstacle("CredentialsMissing", "Secret backup-role does not exist"))
    assert plan(settled(), waiting, NOW).again_after == 60.0
