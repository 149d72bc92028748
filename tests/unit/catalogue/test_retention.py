"""What expires and what does not, one rule at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pgwarden.catalogue.branches import branches
from pgwarden.catalogue.contents import Catalogue, Flaw, Moment, Trouble
from pgwarden.catalogue.contract import DAY, RetentionSettings
from pgwarden.catalogue.retention import Retention, plan, plan_all
from pgwarden.catalogue.window import recoverable
from tests.unit.catalogue.world import SEGMENT, World

WEEK = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=1)


def daily_fulls(days: int) -> World:
    world = World()
    for _ in range(days):
        world.back_up()
        world.wait(12)
        world.write()
        world.wait(12)
    return world


def ids(found: Retention) -> list[str]:
    return [backup.backup_id for backup in found.expired]


def test_all_of_the_window_and_the_newest_before_it_stay() -> None:
    world = daily_fulls(12)
    found = plan(world.catalogue(), WEEK, world.clock)
    # The last moment is half a day after the twelfth full: the window begins between the fifth and the sixth.
    assert ids(found) == ["b0001", "b0002", "b0003", "b0004"]
    assert found.kept["b0005"] == "the newest restorable backup before the window"
    assert found.kept["b0006"] == "in the window"
    assert found.wal.start_of(1) == world.backups[4].start


def test_when_backups_stop_nothing_expires_any_more() -> None:
    world = daily_fulls(12)
    kept = plan(world.catalogue(), WEEK, world.clock).kept
    world.wait(24 * 400)
    assert plan(world.catalogue(), WEEK, world.clock).kept == kept


def test_a_damaged_backup_is_not_the_one_before_the_window() -> None:
    world = daily_fulls(12)
    world.backups[4] = type(world.backups[4])(**{**vars(world.backups[4]), "flaw": Flaw.CHECK_FAILED})
    found = plan(world.catalogue(), WEEK, world.clock)
    assert ids(found) == ["b0001", "b0002", "b0003"]
    assert found.kept["b0004"] == "the newest restorable backup before the window"


@pytest.mark.parametrize("flaw", [Flaw.DAMAGED, Flaw.INCOMPLETE, Flaw.CHECK_FAILED])
def test_while_the_newest_is_damaged_nothing_expires(flaw: Flaw) -> None:
    world = daily_fulls(12)
    bad = world.back_up(flaw=flaw)
    found = plan(world.catalogue(), WEEK, world.clock)
    assert not found.expired
    assert found.wal.wants(1, 0, SEGMENT)
    assert bad.backup_id in found.held
    world.back_up()
    assert ids(plan(world.catalogue(), WEEK, world.clock))


def test_a_record_of_a_later_pgwarden_stops_expiry() -> None:
    world = daily_fulls(12)
    known = world.catalogue()
    trouble = Trouble("a/backups/x/backup.json", "RecordTooNew", "")
    found = plan(Catalogue(known.archive, known.backups, known.timelines, known.moments, (trouble,)), WEEK, world.clock)
    assert not found.expired
    assert trouble.path in found.held


def test_while_a_physical_record_cannot_be_read_nothing_expires() -> None:
    """The one full before the window is misread once: the WAL after it would go, and with it a day of the window."""
    world = daily_fulls(12)
    anchor = world.backups[4]
    world.backups = world.backups[4:]
    known = world.catalogue()
    unread = Trouble(f"{anchor.location}/backup.json", "ObjectDamaged", "")
    found = plan(replace(known, backups=known.backups[1:], troubles=(unread,)), WEEK, world.clock)
    assert found.wal.wants(1, anchor.start, anchor.stop)
    assert not found.expired
    assert unread.path in found.held
    logical = replace(unread, path="a/logical/x/backup.json")
    assert not plan(replace(known, troubles=(logical,)), WEEK, world.clock).held


def test_wal_of_which_nothing_tells_the_time_stays() -> None:
    world = daily_fulls(2)
    found = plan(replace(world.catalogue(), backups=(), moments=()), WEEK, world.clock)
    assert found.wal.wants(1, SEGMENT, 2 * SEGMENT)


def test_generations_stay_beyond_the_window_without_the_wal_around_them() -> None:
    world = daily_fulls(100)
    settings = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=1, daily=9, weekly=3, monthly=4)
    found = plan(world.catalogue(), settings, world.clock)
    fulls = {backup.backup_id: backup.stop_time for backup in world.backups}
    months = {fulls[each].strftime("%m-%d") for each, why in found.kept.items() if "month" in why}
    assert months == {"01-31", "02-28", "03-31"}, "the last full of April is in the window"
    weeks = [fulls[each] for each, why in found.kept.items() if "week" in why]
    assert all(time.isoweekday() == 7 for time in weeks)
    assert found.wal.start_of(1) == world.backups[92].start


def test_a_least_number_of_fulls_stays_however_old() -> None:
    world = daily_fulls(3)
    world.wait(24 * 60)
    world.back_up()
    found = plan(world.catalogue(), RetentionSettings(window_seconds=DAY, minimum_fulls=3), world.clock)
    assert ids(found) == ["b0001"]


def test_pinned_backups_stay_with_their_parents_and_those_in_use_with_their_wal() -> None:
    world = World()
    full = world.back_up()
    child = world.back_up(full)
    later = daily = world.back_up()
    for _ in range(20):
        world.wait(24)
        daily = world.back_up()
    assert daily
    pinned = plan(world.catalogue(), WEEK, world.clock, pinned={child.backup_id})
    assert {full.backup_id, child.backup_id} <= pinned.kept.keys()
    assert later.backup_id in ids(pinned)
    assert pinned.kept[child.backup_id] == "pinned"
    assert not pinned.wal.wants(1, child.start, child.stop), "it carries the WAL to its end"
    world.backups = [replace(each, pinned=each == child) for each in world.backups]
    assert plan(world.catalogue(), WEEK, world.clock).kept == pinned.kept
    world.backups = [replace(each, pinned=False) for each in world.backups]
    in_use = plan(world.catalogue(), WEEK, world.clock, in_use={child.backup_id})
    assert in_use.kept[child.backup_id] == "in use"
    assert in_use.wal.wants(1, child.start, child.stop)


def test_an_abandoned_timeline_expires_when_it_leaves_the_window() -> None:
    world = World()
    world.back_up()
    world.write(4)
    abandoned = world.position
    world.promote(behind=2)
    world.write()
    world.back_up()
    world.wait(24)
    world.write()
    assert plan(world.catalogue(), WEEK, world.clock).wal.wants(1, abandoned - SEGMENT, abandoned)
    world.wait(24 * 8)
    world.back_up()
    world.wait(24 * 8)
    world.write()
    found = plan(world.catalogue(), WEEK, world.clock)
    assert ids(found) == ["b0001", "b0002"]
    assert not found.wal.wants(1, abandoned - SEGMENT, abandoned)


def test_what_builds_upon_another_is_deleted_before_it() -> None:
    world = World()
    full = world.back_up()
    first = world.back_up(full)
    world.back_up(first)
    for _ in range(3):
        world.wait(24 * 10)
        world.back_up()
    assert ids(plan(world.catalogue(), WEEK, world.clock)) == ["b0003", "b0002", "b0001", "b0004"]


def test_logical_backups_follow_the_same_window() -> None:
    world = World()
    for _ in range(12):
        world.dump()
        world.wait(24)
    found = plan(world.catalogue(), WEEK, world.clock)
    assert ids(found) == ["b0001", "b0002", "b0003", "b0004"]
    assert found.kept["b0005"] == "the newest logical backup before the window"


def test_a_cluster_that_was_made_anew_does_not_mix_with_the_old_one() -> None:
    world = daily_fulls(3)
    other = World(clock=world.clock)
    other.number = 10
    for _ in range(2):
        other.write()
        world.backups.append(type(world.backups[0])(**{**vars(other.back_up()), "system_identifier": "2"}))
        other.wait(1)
    catalogue = world.catalogue()
    kept = plan(catalogue, WEEK, other.clock).kept
    assert kept.keys() == {backup.backup_id for backup in catalogue.backups}
    other.wait(24 * 20)
    world.backups.append(type(world.backups[0])(**{**vars(other.back_up()), "system_identifier": "2"}))
    assert ids(plan(world.catalogue(), WEEK, other.clock + timedelta(hours=1))) == ["b0001", "b0002", "b0003", "b0011"]


def two_archives(days: int) -> tuple[World, World]:
    """Twelve days in one, then its volume was rolled back, and so many days in the next."""
    first = daily_fulls(12)
    second = World(clock=first.clock, number=100)
    for _ in range(days):
        second.back_up()
        second.write()
        second.wait(24)
    return first, second


def both(first: World, second: World, settings: RetentionSettings = WEEK) -> tuple[Retention, Retention]:
    old = replace(first.catalogue(), succeeded=first.clock)
    one, other = plan_all([old, second.catalogue()], settings, second.clock)
    return one, other


def test_an_archive_that_was_succeeded_is_kept_as_long_as_the_window_reaches_into_it() -> None:
    first, second = two_archives(3)
    old, new = both(first, second)
    # The window of seven days begins five days before the end of the old archive.
    assert ids(old) == [f"b{number:04d}" for number in range(1, 8)]
    assert old.kept["b0008"] == "the newest restorable backup before the window"
    assert old.wal.start_of(1) == first.backups[7].start
    assert ids(new) == []


def test_an_archive_that_was_succeeded_goes_when_its_time_is_over() -> None:
    first, second = two_archives(9)
    old, new = both(first, second)
    assert ids(old) == [backup.backup_id for backup in first.backups]
    assert old.wal.parts == {}
    assert new.wal.start_of(1) is not None


def test_an_archive_that_was_succeeded_stays_while_the_next_has_too_few_fulls() -> None:
    first, second = two_archives(0)
    for _ in range(30):
        second.write()
        second.wait(24)
    old, _ = both(first, second)
    assert set(old.kept) == {"b0012"}
    second.back_up()
    two = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=2)
    assert set(both(first, second, two)[0].kept) == {"b0012"}
    assert set(both(first, second)[0].kept) == set()


def test_a_moment_that_nobody_has_proven_does_not_end_the_window() -> None:
    world = daily_fulls(3)
    honest = plan(world.catalogue(), WEEK, world.clock)
    world.wait(24 * 365)
    planted = Moment(world.clock, 1, world.position, proven=False)
    catalogue = world.catalogue()
    found = plan(replace(catalogue, moments=(*catalogue.moments, planted)), WEEK, world.clock)
    assert found.window_start is not None and honest.window_start is not None
    assert found.window_start <= honest.window_start
    assert ids(found) == ids(honest) == []


def test_a_restore_that_nobody_sees_has_a_day_to_end() -> None:
    """It began at the window's edge; meanwhile fulls are taken, and everything is pruned every hour."""
    world = daily_fulls(12)
    world.write()
    graceful = WEEK.model_copy(update={"grace_seconds": DAY})
    begun = plan(world.catalogue(), graceful, world.clock).window_start
    assert begun is not None
    wanted = next(mark for mark in world.marks if mark.time > begun)
    base = world.base(wanted)
    assert base is not None
    first, last = base.backup.start // SEGMENT, wanted.position // SEGMENT
    needed = {segment for segment in world.segments if first <= segment[1] <= last}
    for hour in range(25):
        if hour % 12 == 0:
            world.back_up()
        world.write()
        world.prune(graceful)
        assert base.backup.backup_id in {each.backup_id for each in world.backups}, f"after {hour} hours"
        assert needed <= world.segments
        world.wait(1)
    for _ in range(48):
        world.wait(1)
        world.write()
    world.prune(graceful)
    assert base.backup.backup_id not in {each.backup_id for each in world.backups}, "but not for ever"


def test_wal_of_the_system_before_is_kept_for_that_one_and_leads_nowhere_from_a_backup_of_the_next() -> None:
    """After pg_upgrade a backup came before the archiver began another archive; positions and timelines begin anew."""
    world = daily_fulls(3)
    old = world.backups[-1]
    upgraded = replace(
        old,
        backup_id="upgraded",
        start_time=world.clock,
        stop_time=world.clock,
        start=2 * SEGMENT + 40,
        stop=2 * SEGMENT + 400,
        carried_until=3 * SEGMENT,
        system_identifier="2",
    )
    world.backups.append(upgraded)
    catalogue = replace(world.catalogue(), wal_system="1")
    found = recoverable(catalogue)
    assert found is not None
    assert [(span.start, span.end) for span in found.spans] == [(upgraded.stop, upgraded.carried_until)]
    kept = plan(catalogue, WEEK, world.clock)
    assert kept.kept.keys() == {each.backup_id for each in world.backups}
    assert kept.wal.wants(1, world.backups[0].start, world.position)
    assert all(each.archived == (each.backups[0].system_identifier == "1") for each in branches(catalogue, world.clock))
    later = replace(upgraded, backup_id="later", start_time=world.clock + timedelta(days=30))
    world.backups.append(replace(later, stop_time=later.start_time))
    in_a_month = plan(replace(world.catalogue(), wal_system="1"), WEEK, world.clock + timedelta(days=30))
    assert {each.backup_id for each in in_a_month.expired} == {"b0001", "b0002", "b0003"}
    assert not in_a_month.wal.wants(1, 0, world.position)
    # Where nothing tells, as before: it is that of the newest.
    unknown = recoverable(replace(catalogue, wal_system=""))
    assert unknown is not None
    assert unknown.spans[-1].end > upgraded.carried_until


def test_wal_whose_system_has_no_backup_yet_stays() -> None:
    world = World()
    world.write(3)
    catalogue = replace(world.catalogue(), wal_system="1")
    assert plan(catalogue, WEEK, world.clock).wal.wants(1, SEGMENT, world.position)
    dump = world.dump()
    world.wait(24 * 30)
    found = plan(replace(world.catalogue(), wal_system="1"), WEEK, world.clock)
    assert dump.backup_id in found.kept
    assert found.wal.wants(1, SEGMENT, world.position)
