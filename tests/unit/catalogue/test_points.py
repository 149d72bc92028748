"""What is said to be recoverable is; nothing else is; gaps and branches are where they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.api.wal import format_lsn
from pgwarden.catalogue.base import ended_then
from pgwarden.catalogue.contents import Catalogue, NamedPoint
from pgwarden.catalogue.point_lines import timelines, way
from pgwarden.catalogue.points import TimelinePoints, points, way_to
from pgwarden.catalogue.reachable import reachable_times
from pgwarden.catalogue.timelines import Section
from pgwarden.catalogue.window import own_timelines
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.resolve import resolve
from tests.unit.catalogue.test_retention_property import EVENTS, happen
from tests.unit.catalogue.world import BEGIN, SEGMENT, World

HOUR = timedelta(hours=1)
NEAR = (timedelta(0), timedelta(microseconds=1), timedelta(seconds=2), timedelta(minutes=31))


def lived(events: list[tuple[str, int]]) -> World:
    world = World()
    for event, amount in events:
        if event != "prune":
            happen(world, event, amount)
    return world


def resolves(catalogue: Catalogue, point: TargetPoint) -> bool:
    try:
        resolve(catalogue, point)
    except TaskError:
        return False
    return True


def holds(found: TimelinePoints, position: int) -> bool:
    return any(part.start <= position <= part.end for part in found.stretches)


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=40))
def test_a_restore_comes_to_every_position_of_a_stretch_and_to_no_other(events: list[tuple[str, int]]) -> None:
    world = lived(events)
    catalogue = world.catalogue()
    for found in points(catalogue):
        begin = found.branch.end or 0 if found.branch is not None else 0
        ends = [end for part in found.stretches for end in (part.start, part.end)]
        holes = [end for gap in found.gaps for end in (gap.start, gap.end)]
        marks = [mark.position for mark in world.marks if mark.timeline == found.timeline]
        for position in {at + near for at in (*ends, *holes, *marks) for near in (-1, 0, 1)}:
            if position <= begin and position not in ends:
                continue  # of its ancestors
            target = TargetPoint(lsn=format_lsn(position), timeline=found.timeline)
            assert resolves(catalogue, target) == holds(found, position), (found, format_lsn(position))


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=40))
def test_a_restore_comes_to_every_recoverable_time_and_to_no_other(events: list[tuple[str, int]]) -> None:
    catalogue = lived(events).catalogue()
    noted = {each.time for each in catalogue.moments} | {each.stop_time for each in catalogue.physical}
    for number in own_timelines(catalogue):
        times = reachable_times(catalogue, number)
        for time in {each + sign * near for each in noted for near in NEAR for sign in (1, -1)}:
            told = any(each.first <= time <= each.last for each in times)
            told = told or ended_then(catalogue, time, number) is not None
            assert resolves(catalogue, TargetPoint(time=time, timeline=number)) == told, (number, time, times)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=40))
def test_the_times_of_a_stretch_are_of_its_own_timeline_and_can_be_had(events: list[tuple[str, int]]) -> None:
    catalogue = lived(events).catalogue()
    for found in points(catalogue):
        own = [each for each in reachable_times(catalogue, found.timeline) if each.timeline == found.timeline]
        assert sorted(own, key=str) == sorted((each for part in found.stretches for each in part.times), key=str)
        for each in own:
            for time in (each.first, each.last):
                assert way_to(catalogue, time, found.timeline).chain


def test_a_gap_names_what_is_missing_and_the_backup_that_leads_on() -> None:
    world = World()
    world.back_up()
    world.write(3)
    lost = world.position
    world.write(2, lost=True)
    world.write(1)
    second = world.back_up()
    world.wait(1)
    world.write(1)
    (found,) = points(world.catalogue())
    (gap,) = found.gaps
    assert (gap.start, gap.end, gap.ended_by) == (lost, second.stop, second.backup_id)
    assert [(each.start, each.end) for each in gap.missing] == [(lost, lost + 2 * SEGMENT)]
    (line,) = timelines(world.catalogue())
    (told,) = line.gaps[0].missing
    assert (told.first_segment, told.last_segment) == ("000000010000000000000005", "000000010000000000000006")


def test_restore_points_are_told_where_they_can_be_recovered() -> None:
    world = World()
    world.back_up()
    world.write(1)
    lost = world.position
    world.write(1, lost=True)
    catalogue = replace(
        world.catalogue(),
        named=tuple(NamedPoint(f"p{at}", BEGIN, 1, at, f"at {at}") for at in (SEGMENT, lost - 8, lost + 8)),
    )
    (line,) = timelines(catalogue)
    assert [(each.name, each.lsn) for each in line.named] == [(f"at {lost - 8}", format_lsn(lost - 8))]


def test_wal_behind_a_gap_that_no_backup_leads_to_is_a_gap_too() -> None:
    world = World()
    world.back_up()
    world.write(1)
    lost = world.position
    world.write(1, lost=True)
    world.write(2)
    (found,) = points(world.catalogue())
    (gap,) = found.gaps
    assert (gap.start, gap.end, gap.ended_by) == (lost, world.position, "")
    assert [each.start for each in gap.missing] == [lost]


def test_wal_without_any_backup_is_nothing_to_recover_and_says_so() -> None:
    world = World()
    world.write(2)
    (found,) = points(world.catalogue())
    assert found.stretches == ()
    assert [(gap.missing, gap.ended_by) for gap in found.gaps] == [((), "")]


def test_both_sides_of_a_promotion_are_told_each_once() -> None:
    world = World()
    world.back_up()
    world.write(4)
    abandoned = world.position
    world.promote(behind=2)
    branched = world.position
    world.wait(1)
    world.write(1)
    old, new = points(world.catalogue())
    assert (old.branch, old.newest, old.stretches[-1].end) == (None, False, abandoned)
    assert (new.branch, new.newest) == (Section(1, branched), True)
    assert [(part.start, part.end) for part in new.stretches] == [(branched, branched + SEGMENT)]
    assert not old.gaps and not new.gaps


def test_the_way_to_a_moment_names_backup_and_wal() -> None:
    world = World()
    full = world.back_up()
    for _ in range(4):
        world.wait(1)
        world.write(1)
    told = way([world.catalogue()], world.moments[2].time - HOUR / 2, None)
    assert (told.reachable, told.chain, told.timeline) == (True, [full.backup_id], 1)
    assert told.wal_bytes == world.moments[2].position - full.start
    assert told.end_lsn == format_lsn(world.moments[2].position)


@pytest.mark.parametrize("missing", ["before", "beyond", "gap"])
def test_a_moment_that_cannot_be_had_names_those_beside_it(missing: str) -> None:
    world = World()
    world.wait(1)
    first = world.back_up()
    world.wait(1)
    world.write(1)
    last_before = world.clock
    world.wait(1)
    world.write(1, lost=True)
    world.wait(1)
    second = world.back_up()
    world.wait(1)
    world.write(1)
    wanted = {"before": BEGIN, "beyond": world.clock + HOUR, "gap": second.stop_time - HOUR / 2}[missing]
    told = way([world.catalogue()], wanted, None)
    assert not told.reachable
    expected = {
        "before": ("TargetBeforeFirstBackup", "", first.stop_time),
        "beyond": ("TargetBeyondArchive", world.clock, None),
        "gap": ("WALGap", last_before, second.stop_time),
    }[missing]
    assert told.reason == expected[0]
    for time in filter(None, expected[1:]):
        assert f"{time:%Y-%m-%dT%H:%M:%SZ}" in told.message


def test_of_several_archives_the_newest_that_holds_the_moment_is_taken() -> None:
    old, new = World(), World(clock=BEGIN + 10 * HOUR)
    for world in (old, new):
        world.back_up()
        world.wait(1)
        world.write(1)
    archives = [old.catalogue(), new.catalogue()]
    assert way(archives, BEGIN + HOUR / 2, None).reachable
    assert way(archives, BEGIN + 10.5 * HOUR, None).reachable
    between = way(archives, BEGIN + 5 * HOUR, None)
    assert (between.reachable, between.reason) == (False, "TargetBeforeFirstBackup")
