"""Whatever happens to a cluster, its backups and its clock: pruning never takes a moment of the window away."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Flaw, Kind
from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.catalogue.retention import plan
from tests.unit.catalogue.world import World

EVENTS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 3)),
    st.tuples(st.just("lose"), st.integers(1, 2)),
    st.tuples(st.sampled_from(["full", "damaged", "incremental", "on the last", "dump", "prune"]), st.just(0)),
    st.tuples(st.just("promote"), st.integers(0, 2)),
    st.tuples(st.just("pin"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.integers(1, 72)),
    st.tuples(st.just("clock jumps"), st.integers(-500, 500)),
)
SETTINGS = st.builds(
    RetentionSettings,
    window_seconds=st.sampled_from([0, 3600, 86400, 7 * 86400]),
    grace_seconds=st.sampled_from([0, 3600, 86400]),
    minimum_fulls=st.integers(1, 3),
    daily=st.integers(0, 2),
    monthly=st.integers(0, 1),
)


def happen(world: World, event: str, amount: int) -> None:
    match event:
        case "write":
            world.write(amount)
        case "lose":
            world.write(amount, lost=True)
        case "full" | "damaged":
            world.back_up(flaw=Flaw.DAMAGED if event == "damaged" else None)
        case "incremental":
            fulls = [each for each in restorable(world.backups) if each.kind is Kind.FULL]
            world.back_up(fulls[-1] if fulls else None)
        case "on the last":
            good = restorable(world.backups)
            world.back_up(good[-1] if good else None)
        case "dump":
            world.dump()
        case "plant":
            world.plant(amount)
        case "pin":
            world.pin(amount)
        case "promote":
            world.promote(amount)
        case "wait" | "clock jumps":
            world.wait(amount)


@settings(max_examples=2000, deadline=None)
@given(st.lists(EVENTS, min_size=10, max_size=60), SETTINGS)
def test_what_was_recoverable_in_the_window_stays_so(
    events: list[tuple[str, int]], retention: RetentionSettings
) -> None:
    world = World()
    for event, amount in [*events, ("prune", 0)]:
        if event != "prune":
            happen(world, event, amount)
            continue
        before, held_before = world.recoverable(), restorable(world.backups)
        chains = {backup.backup_id: backup.chain for backup in world.backups}
        pinned = {backup.backup_id for backup in world.backups if backup.pinned}
        pinned_good = pinned & {backup.backup_id for backup in held_before}
        found = world.prune(retention)
        if found.window_start is None:
            assert not found.expired
            continue
        # A restore that nobody sees may have begun so long ago, to a moment that was in the window then.
        began = found.window_start - timedelta(seconds=retention.grace_seconds)
        in_window = {mark for mark in before if mark.time > began}
        assert in_window <= world.recoverable()
        left = {backup.backup_id for backup in world.backups}
        assert all(parent in left for child in left for parent in chains[child] if parent in chains)
        assert pinned <= left
        assert pinned_good <= {backup.backup_id for backup in restorable(world.backups)}
        if held_before:
            newest = max(held_before, key=lambda backup: (backup.stop_time, backup.stop))
            assert newest.backup_id in left
        again = world.prune(retention)
        assert not again.expired
        assert found.kept.keys() == left


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.one_of(EVENTS, st.tuples(st.just("plant"), st.integers(-500, 500))), min_size=10, max_size=60), SETTINGS
)
def test_what_somebody_plants_in_the_store_lets_nothing_expire(
    events: list[tuple[str, int]], retention: RetentionSettings
) -> None:
    world = World()
    for event, amount in [*events, ("prune", 0)]:
        if event != "prune":
            happen(world, event, amount)
            continue
        honest = world.honest()
        before = honest.recoverable()
        window = plan(honest.catalogue(), retention, world.clock)
        found = world.prune(retention)
        assert not {each.backup_id for each in found.expired} & window.kept.keys()
        if window.window_start is not None:
            assert {mark for mark in before if mark.time > window.window_start} <= world.honest().recoverable()
