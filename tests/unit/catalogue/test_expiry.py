"""What a person may have deleted, one rule at a time, and for any history: no promise is broken."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Catalogue, Flaw, Kind, Trouble
from pgwarden.catalogue.contract import DAY, RetentionSettings
from pgwarden.catalogue.expiry import Expiry, judge
from pgwarden.catalogue.retention import window_end
from tests.unit.catalogue.test_retention_property import EVENTS, SETTINGS, happen
from tests.unit.catalogue.world import World

WEEK = RetentionSettings(window_seconds=7 * DAY, minimum_fulls=1)
NOBODY: Set[str] = frozenset()


def going(found: Expiry) -> list[str]:
    return [backup.backup_id for backup in found.going]


def why(found: Expiry) -> dict[str, str]:
    return {refusal.backup_id: refusal.reason for refusal in found.refused}


def ask(world: World, *wanted: str, policy: RetentionSettings | None = WEEK, in_use: Set[str] = NOBODY) -> Expiry:
    return judge(world.catalogue(), wanted, policy, world.clock, in_use=in_use)


def archived_fulls(count: int = 3) -> World:
    """Fulls with all WAL between and after them, a day apart."""
    world = World()
    for _ in range(count):
        world.back_up()
        world.wait(12)
        world.write(2)
        world.wait(12)
    return world


def test_a_full_goes_where_wal_leads_from_an_older_one_to_the_same_moments() -> None:
    world = archived_fulls()
    assert going(ask(world, "b0002")) == ["b0002"]
    assert going(ask(world, "b0003")) == ["b0003"]
    assert going(ask(world, "b0002", "b0003")) == ["b0002", "b0003"]


def test_a_pinned_backup_stays_and_so_does_what_it_builds_upon() -> None:
    world = World()
    full = world.back_up()
    child = world.back_up(full)
    world.backups[1] = replace(child, pinned=True)
    found = ask(world, full.backup_id, child.backup_id, policy=None)
    assert why(found) == {child.backup_id: "Pinned", full.backup_id: "NeededByOthers"}
    assert "pgwarden backup unpin" in found.refused[0].message


def test_the_backup_that_the_window_begins_with_stays() -> None:
    found = ask(archived_fulls(), "b0001")
    assert (going(found), why(found)) == ([], {"b0001": "WindowNeedsIt"})
    assert "recovery window (7d)" in found.refused[0].message
    assert "retention.window" in found.refused[0].message


def test_without_archived_wal_each_backup_of_the_window_is_a_moment_of_its_own() -> None:
    world = World()
    for _ in range(3):
        world.back_up()
        world.wait(24)
        world.write(1, lost=True)
    assert why(ask(world, "b0001", "b0002", "b0003")) == dict.fromkeys(["b0001", "b0002", "b0003"], "WindowNeedsIt")


def test_without_a_policy_nothing_is_promised_but_whole_chains() -> None:
    world = World()
    full = world.back_up()
    world.wait(24)
    incremental = world.back_up(full)
    found = ask(world, full.backup_id, policy=None)
    assert why(found) == {full.backup_id: "NeededByOthers"}
    assert incremental.backup_id in found.refused[0].message
    both = ask(world, full.backup_id, incremental.backup_id, policy=None)
    assert going(both) == [incremental.backup_id, full.backup_id], "what builds upon another goes first"


def test_an_incremental_that_stays_keeps_its_full() -> None:
    world = archived_fulls(1)
    incremental = world.back_up(world.backups[0])
    world.write(1, lost=True)
    assert why(ask(world, "b0001", incremental.backup_id, in_use={incremental.backup_id})) == {
        incremental.backup_id: "InUse",
        "b0001": "NeededByOthers",
    }


def test_so_many_fulls_are_left_as_the_policy_says() -> None:
    two = WEEK.model_copy(update={"minimum_fulls": 2})
    found = ask(archived_fulls(), "b0002", "b0003", policy=two)
    assert (going(found), why(found)) == (["b0002"], {"b0003": "MinimumFulls"})


@pytest.mark.parametrize("flaw", [Flaw.DAMAGED, Flaw.INCOMPLETE, Flaw.UNTRUSTED, Flaw.CHECK_FAILED])
def test_what_cannot_be_relied_on_may_go(flaw: Flaw) -> None:
    world = archived_fulls(1)
    bad = world.back_up(flaw=flaw)
    assert going(ask(world, bad.backup_id)) == [bad.backup_id]


def test_the_newest_logical_backup_stays_under_a_policy() -> None:
    world = archived_fulls(1)
    older = world.dump()
    world.wait(1)
    newer = world.dump()
    found = ask(world, older.backup_id, newer.backup_id)
    assert (going(found), why(found)) == ([older.backup_id], {newer.backup_id: "NewestLogical"})
    assert going(ask(world, newer.backup_id, policy=None)) == [newer.backup_id]


@pytest.mark.parametrize("reason", ["RecordTooNew", "ObjectDamaged", "RecordForged"])
def test_while_a_record_cannot_be_read_no_physical_backup_goes(reason: str) -> None:
    world = archived_fulls()
    trouble = Trouble("a/backups/x/backup.json", reason, "schema 9")
    catalogue: Catalogue = replace(world.catalogue(), troubles=(trouble,))
    found = judge(catalogue, ["b0002"], None, world.clock)
    assert why(found) == {"b0002": "RecordUnreadable"}


def test_a_record_that_nobody_has_proven_stands_in_for_no_real_one() -> None:
    world = archived_fulls()
    assert going(ask(world, "b0002", "b0003")) == ["b0002", "b0003"]
    world.backups[0] = replace(world.backups[0], proven=False)
    assert why(ask(world, "b0002")) == {"b0002": "WindowNeedsIt"}
    assert going(ask(world, "b0003")) == ["b0003"]


def test_an_id_that_nobody_knows_is_passed_over() -> None:
    assert ask(archived_fulls(), "nothing") == Expiry()


@settings(max_examples=1000, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=40), SETTINGS, st.data())
def test_whatever_is_asked_the_window_stays_recoverable_and_chains_stay_whole(
    events: list[tuple[str, int]], retention: RetentionSettings, data: st.DataObject
) -> None:
    world = World()
    for event, amount in events:
        if event == "prune":
            world.prune(retention)
        else:
            happen(world, event, amount)
    if not world.backups:
        return
    names = [backup.backup_id for backup in world.backups]
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    chains = {backup.backup_id: backup.chain for backup in world.backups}
    end = window_end([world.catalogue()], world.clock)
    assert end is not None
    before, good_before = world.recoverable(), restorable(world.backups)
    found = judge(world.catalogue(), wanted, retention, world.clock)
    gone = set(going(found))
    assert gone | set(why(found)) == set(wanted)
    world.backups = [backup for backup in world.backups if backup.backup_id not in gone]
    start = end.timestamp() - retention.window_seconds
    assert {mark for mark in before if mark.time.timestamp() > start} <= world.recoverable()
    assert not any(parent in gone for backup in world.backups for parent in chains[backup.backup_id])
    fulls_before = sum(each.kind is Kind.FULL for each in good_before)
    fulls = sum(each.kind is Kind.FULL for each in restorable(world.backups))
    assert fulls >= min(fulls_before, retention.minimum_fulls)
