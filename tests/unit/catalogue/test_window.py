"""How far recovery goes, and which backup it begins with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgwarden.catalogue.base import Target, choose_base
from pgwarden.catalogue.contents import Flaw
from pgwarden.catalogue.timelines import Section, parse_history
from pgwarden.catalogue.window import recoverable, recoverable_on
from pgwarden.jobs.errors import TaskError
from tests.unit.catalogue.world import SEGMENT, World

HISTORY = "1\t0/5000098\tno recovery target specified\n\n2\t0/7000000\tbefore 2026-01-01\n"


def refusal(world: World, target: Target) -> TaskError:
    with pytest.raises(TaskError) as refused:
        choose_base(world.catalogue(), target)
    assert refused.value.remedy
    return refused.value


def test_a_history_file_lists_ancestors() -> None:
    assert parse_history(HISTORY) == (Section(1, 0x5000098), Section(2, 0x7000000))


@pytest.mark.parametrize("text", ["", "1\n", "two\t0/1\t-\n", "2\t0/1\t-\n1\t0/2\t-\n", "1\t0/1\t-\n1\t0/2\t-\n"])
def test_a_file_that_is_no_history_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ancestors"):
        parse_history(text)


def test_an_empty_archive_has_nothing_to_recover() -> None:
    world = World(histories={})
    assert recoverable(world.catalogue()) is None
    assert refusal(world, Target()).reason == "NoRestorableBackup"


def test_without_an_archiver_a_backup_can_be_had_back_as_it_was() -> None:
    world = World()
    backup = world.back_up()
    found = recoverable(world.catalogue())
    assert found is not None
    assert [(span.start, span.ends) for span in found.spans] == [(backup.stop, backup.stop_time)]
    assert choose_base(world.catalogue(), Target()).backup == backup


def test_a_gap_is_named_and_the_next_backup_ends_it() -> None:
    world = World()
    first = world.back_up()
    world.write(3)
    world.write(2, lost=True)
    lost_until = world.position
    world.write(1)
    second = world.back_up()
    world.write(1)
    found = recoverable(world.catalogue())
    assert found is not None
    assert [(gap.start, gap.end) for gap in found.gaps] == [(lost_until - 2 * SEGMENT, second.stop)]
    assert (found.spans[0].start, found.spans[-1].end) == (first.stop, world.position)
    assert refusal(world, Target(lsn=lost_until)).reason == "WALGap"
    assert choose_base(world.catalogue(), Target(lsn=lost_until - 2 * SEGMENT)).backup == first
    assert choose_base(world.catalogue(), Target(lsn=world.position)).backup == second


def test_a_time_takes_the_newest_backup_before_it_and_the_wal_until_after_it() -> None:
    world = World()
    world.wait(1)
    world.back_up()
    world.wait(1)
    world.write()
    second = world.back_up()
    world.wait(1)
    world.write()
    before = world.moments[-1]
    world.wait(1)
    world.write()
    chosen = choose_base(world.catalogue(), Target(time=before.time + timedelta(minutes=30)))
    assert (chosen.backup, chosen.end, chosen.end_time) == (second, before.position, before.time)
    refused = refusal(world, Target(time=world.clock + timedelta(seconds=1)))
    assert refused.reason == "TargetBeyondArchive"
    assert f"{world.clock:%Y-%m-%dT%H:%M:%SZ}" in refused.message
    early = refusal(world, Target(time=world.backups[0].stop_time - timedelta(minutes=1)))
    assert early.reason == "TargetBeforeFirstBackup"


def test_time_runs_on_while_a_database_is_idle() -> None:
    world = World()
    backup = world.back_up()
    world.write()
    last = world.moments[-1]
    for _ in range(3):
        world.wait(1)
        world.moments.append(type(last)(world.clock, 1, last.position))
    chosen = choose_base(world.catalogue(), Target(time=world.clock - timedelta(minutes=5)))
    assert (chosen.backup, chosen.end) == (backup, last.position)


def test_flawed_backups_and_what_builds_upon_them_are_passed_over_and_named() -> None:
    world = World()
    good = world.back_up()
    damaged = world.back_up(flaw=Flaw.DAMAGED)
    child = world.back_up(damaged)
    orphan = world.back_up(good)
    world.backups.remove(orphan)
    world.backups.append(type(orphan)(**{**vars(orphan), "chain": ("gone",)}))
    world.write()
    chosen = choose_base(world.catalogue(), Target())
    assert chosen.backup == good
    told = " ".join(chosen.reasons)
    assert f"{damaged.backup_id} is Damaged" in told
    assert f"{child.backup_id} is ChainBroken (it builds upon {damaged.backup_id}" in told
    assert "gone, which is not in the store" in told


def test_both_sides_of_a_promotion_can_be_had_back() -> None:
    world = World()
    full = world.back_up()
    world.write(4)
    abandoned = world.position
    world.promote(behind=2)
    branched = world.position
    world.write(1)
    newest = recoverable(world.catalogue())
    assert newest is not None
    assert (newest.timeline, newest.spans[-1].end) == (2, branched + SEGMENT)
    assert recoverable_on(world.catalogue(), 1).spans[-1].end == abandoned
    assert choose_base(world.catalogue(), Target(lsn=abandoned, timeline=1)).backup == full
    assert refusal(world, Target(lsn=abandoned)).reason == "TargetBeyondArchive"
    assert refusal(world, Target(timeline=7)).reason == "TimelineUnknown"


def test_an_incremental_brings_its_chain() -> None:
    world = World()
    full = world.back_up()
    first = world.back_up(full)
    second = world.back_up(first)
    assert choose_base(world.catalogue(), Target()).chain == (full, first, second)
