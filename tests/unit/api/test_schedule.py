"""When something is due, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgwarden.api.schedule import Schedule, ScheduleError, longest_spacing, schedule_for, slots, spacing

CRONS = [
    "* * * * *",
    "*/15 * * * *",
    "7 * * * *",
    "0 */6 * * *",
    "30 2 * * *",
    "0 3 * * 1-5",
    "0 4 1 * *",
    "0 0 29 2 *",
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
DAILY = Schedule("30 2 * * *", "Europe/Berlin", timedelta(seconds=90))
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        # 2026-03-29: clocks go from 02:00 to 03:00, so 02:30 does not exist and is run right after.
        ("Europe/Berlin", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        # 2026-10-25: 02:30 happens twice; only the first counts.
        ("Europe/Berlin", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("UTC", "2026-03-28 12:00", ["2026-03-29 02:30", "2026-03-30 02:30"]),
    ],
)
def test_a_change_of_the_clocks_neither_skips_nor_doubles_a_day(zone: str, day: str, expected: list[str]) -> None:
    found = slots("30 2 * * *", zone, at(day))
    assert [next(found), next(found)] == [at(text) for text in expected]


def test_an_hourly_slot_follows_real_hours_through_a_change_of_the_clocks() -> None:
    found = slots("0 * * * *", "Europe/Berlin", at("2026-10-24 22:30"))
    times = [next(found) for _ in range(6)]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(hours=1)}


@given(cron=st.sampled_from(CRONS), zone=st.sampled_from(ZONES), moment=MOMENTS)
@example(cron="30 2 * * *", zone="Europe/Berlin", moment=at("2026-10-25 01:10"))
@example(cron="30 2 * * *", zone="Europe/Berlin", moment=at("2026-03-29 01:00"))
@settings(max_examples=150)
def test_the_newest_and_the_next_slot_are_neighbours(cron: str, zone: str, moment: datetime) -> None:
    schedule = Schedule(cron, zone, timedelta())
    newest, following = schedule.newest_slot(moment), schedule.slot_after(moment)
    assert newest is not None
    assert newest <= moment < following
    assert schedule.slot_after(newest) == following
    assert schedule.newest_slot(newest) == newest


@given(uid=st.uuids(), cron=st.sampled_from(CRONS), wanted=st.none() | st.integers(0, 86400))
def test_jitter_is_stable_and_bounded(uid: object, cron: str, wanted: int | None) -> None:
    made = [schedule_for(cron, "UTC", str(uid), "full", jitter_seconds=wanted) for _ in range(2)]
    assert made[0] == made[1]
    bound = min(300.0, spacing(cron, "UTC").total_seconds() / 10) if wanted is None else float(wanted)
    assert 0 <= made[0].jitter.total_seconds() <= min(bound, spacing(cron, "UTC").total_seconds() / 2)


def test_objects_with_one_expression_do_not_work_at_one_moment() -> None:
    turns = {schedule_for("0 2 * * *", "UTC", f"uid-{number}", "full").jitter for number in range(100)}
    assert len(turns) > 50
    assert schedule_for("0 2 * * *", "UTC", "u", "full") != schedule_for("0 2 * * *", "UTC", "u", "logical")


def test_only_the_newest_missed_slot_is_made_up_for() -> None:
    monday, thursday = at("2026-06-01 00:30"), at("2026-06-04 00:30")
    assert DAILY.due(at("2026-06-04 09:00"), last=monday) == thursday
    assert DAILY.due(at("2026-06-04 09:00"), last=thursday) is None


def test_a_slot_has_its_turn_only_after_the_jitter() -> None:
    before = at("2026-06-03 00:30")
    assert DAILY.due(at("2026-06-04 00:31"), last=before) is None
    assert DAILY.next_turn(at("2026-06-04 00:31")) == at("2026-06-04 00:31") + timedelta(seconds=30)
    assert DAILY.due(at("2026-06-04 00:32"), last=before) == at("2026-06-04 00:30")


def test_a_slot_is_left_out_when_its_deadline_has_passed() -> None:
    short = Schedule("30 2 * * *", "Europe/Berlin", timedelta(), timedelta(hours=1))
    before = at("2026-06-03 00:30")
    assert short.due(at("2026-06-04 01:30"), last=before) == at("2026-06-04 00:30")
    assert short.due(at("2026-06-04 01:31"), last=before) is None


def test_a_clock_that_was_ahead_is_not_believed_but_a_little_early_counts_as_run() -> None:
    now = at("2026-06-04 09:00")
    assert DAILY.believed(at("2026-06-05 00:30"), now) == at("2026-06-05 00:30")
    assert DAILY.believed(at("2026-06-06 00:30"), now) is None


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("61 * * * *", "UTC", "is not a cron expression"),
        ("@daily", "UTC", "five fields"),
        ("0 0 31 2 *", "UTC", "a day that never comes"),
        ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ("0 0 * * *", "../etc/passwd", "no time zone"),
    ],
)
def test_what_cannot_be_understood_is_said(cron: str, zone: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        schedule_for(cron, zone, "uid")


@pytest.mark.parametrize(
    ("cron", "hours"),
    [
        ("0 * * * *", 1),
        ("30 1 * * *", 24),
        ("*/5 * * * *", 5 / 60),
        ("0 9-17 * * 1-5", 64),
        ("*/5 9-17 * * 1-5", 64 - 55 / 60),
        ("0 4 * * 0", 7 * 24),
        ("0 0 1 * *", 31 * 24),
    ],
)
def test_the_longest_way_from_one_slot_to_the_next_is_known(cron: str, hours: float) -> None:
    assert longest_spacing(cron, "UTC") == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 0 30 2 *", "names a day that never comes"),
        ("0 0 31 4,6 *", "names a day that never comes"),
        ("0 0 32 1 *", "is not a cron expression"),
        ("0 0 30 13 *", "is not a cron expression"),
        ("61 25 32 13 9", "is not a cron expression"),
    ],
)
def test_a_day_that_never_comes_is_told_from_an_expression_that_is_none(cron: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        schedule_for(cron, "UTC", "uid")
