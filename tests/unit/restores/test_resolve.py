"""From what a person asks for to a base, a way and the position that recovery must come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgwarden.api.wal import parse_lsn
from pgwarden.backups.record import BackupRecord
from pgwarden.catalogue.contents import Catalogue, Moment, NamedPoint, Trouble, physical_backup
from pgwarden.catalogue.moments import IndexObject
from pgwarden.catalogue.timelines import Section, Timeline
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.archive_reader import refuse_what_misleads, telling
from pgwarden.restores.contract import Resolved, TargetPoint
from pgwarden.restores.resolve import resolve
from pgwarden.storage.wal_listing import Range

from .records import record

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MIB = 1 << 20
ARCHIVE = "shop/operational/0001"
BRANCH = parse_lsn("0/9000000")


def backup(backup_id: str, minute: int, start: str, stop: str, **more: Any) -> BackupRecord:
    time = NOON + minute * MINUTE
    changes = {"backup_id": backup_id, "start_lsn": start, "stop_lsn": stop, "start_time": time, "stop_time": time}
    return record().model_copy(update=changes | more)


FIRST = backup("first", 0, "0/3000028", "0/3000120")
SECOND = backup("second", 20, "0/7000028", "0/7000120")


def contents(*records: BackupRecord, end: str = "0/A000000", gap: str = "") -> Catalogue:
    """WAL from the first backup on, one MiB a minute; on timeline 1, and from 0/9000000 on also on timeline 2."""
    begin, until = parse_lsn("0/3000000"), parse_lsn(end)
    ranges = (Range(begin, parse_lsn(gap)), Range(parse_lsn(gap) + MIB, until)) if gap else (Range(begin, until),)
    listed = records or (FIRST, SECOND)
    return Catalogue(
        archive=ARCHIVE,
        backups=tuple(physical_backup(each, f"{ARCHIVE}/backups/{each.backup_id}") for each in listed),
        timelines={
            1: Timeline(1, (), ranges),
            2: Timeline(2, (Section(1, BRANCH),), (Range(BRANCH, until),)),
        },
        moments=tuple(
            Moment(NOON + n * MINUTE, 1 if begin + n * MIB < BRANCH else 2, begin + n * MIB, next_xid=str(1000 + n))
            for n in range((until - begin) // MIB)
        ),
    )


@pytest.mark.parametrize(
    ("point", "base", "timeline", "end"),
    [
        ({"time": NOON + 10 * MINUTE}, "first", 1, "0/3A00000"),
        ({"time": NOON + 10.5 * MINUTE}, "first", 1, "0/3A00000"),
        ({"time": NOON + 100 * MINUTE}, "second", 2, "0/9400000"),
        ({"time": NOON + 80 * MINUTE, "timeline": 1}, "second", 1, "0/8000000"),
        ({"lsn": "0/5000000"}, "first", 1, "0/5000000"),
        ({"lsn": "0/9800000"}, "second", 2, "0/9800000"),
        ({"lsn": "0/9800000", "timeline": 1}, "second", 1, "0/9800000"),
        ({"latest": True}, "second", 2, "0/9F00000"),
        ({"immediate": True}, "second", 1, "0/7000120"),
        ({"xid": "1100"}, "second", 2, "0/7000120"),
        ({"xid": "1010"}, "first", 2, "0/3000120"),
        ({"name": "before"}, "first", 2, "0/3000120"),
    ],
)
def test_each_target_has_its_base_and_its_end(point: dict[str, Any], base: str, timeline: int, end: str) -> None:
    found = resolve(contents(), TargetPoint(**point))
    assert (found.backup_id, found.timeline) == (base, timeline)
    assert parse_lsn(found.end_lsn) >= parse_lsn(end)
    assert parse_lsn(found.end_lsn) <= parse_lsn(found.wal_until)


@pytest.mark.parametrize(
    ("found", "lsn", "minute"),
    [
        (resolve(contents(), TargetPoint(latest=True)), "0/9F00000", 111),
        # What is noted beyond the gap is not on the way.
        (resolve(contents(FIRST, gap="0/5000000"), TargetPoint(latest=True)), "0/5000000", 32),
        (resolve(contents(), TargetPoint(immediate=True)), "0/7000120", 20),
        (resolve(replace(contents(), moments=()), TargetPoint(latest=True)), "0/7000120", 20),
    ],
)
def test_the_last_moment_that_the_archive_tells_of_on_the_way_is_known(found: Resolved, lsn: str, minute: int) -> None:
    assert (found.archived_lsn, found.archived_time) == (lsn, NOON + minute * MINUTE)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({"time": NOON - MINUTE}, "TargetBeforeFirstBackup"),
        ({"lsn": "0/2000000"}, "TargetBeforeFirstBackup"),
        ({"time": NOON + 1000 * MINUTE}, "TargetBeyondArchive"),
        ({"lsn": "0/B000000"}, "TargetBeyondArchive"),
        ({"latest": True, "timeline": 9}, "TimelineUnknown"),
    ],
)
def test_what_the_archive_does_not_hold_is_refused(point: dict[str, Any], reason: str) -> None:
    with pytest.raises(TaskError) as raised:
        resolve(contents(), TargetPoint(**point))
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("point", "beside"),
    [
        ({"time": NOON - MINUTE}, ["the first recoverable moment after it is 2026-11-23T12:00:01Z"]),
        ({"lsn": "0/2000000"}, ["the first recoverable moment after it is 0/3000120 (2026-11-23T12:00:00Z)"]),
        ({"time": NOON + 1000 * MINUTE}, ["the latest recoverable moment is 2026-11-23T13:51:00Z (0/A000000)"]),
        ({"lsn": "0/B000000"}, ["the latest recoverable moment is 2026-11-23T13:51:00Z (0/A000000)"]),
        ({"xid": "4000000"}, ["the next one was 1111", "the latest recoverable moment is 2026-11-23T13:51:00Z"]),
        ({"latest": True, "timeline": 9}, ["there is something of 1, 2"]),
    ],
)
def test_a_refusal_names_what_can_be_recovered_next_to_it(point: dict[str, Any], beside: list[str]) -> None:
    with pytest.raises(TaskError) as raised:
        resolve(contents(), TargetPoint(**point))
    for each in beside:
        assert each in raised.value.message
    assert raised.value.remedy


@pytest.mark.parametrize("point", [{"time": NOON + 45 * MINUTE}, {"lsn": "0/6000000"}])
def test_in_a_gap_the_moments_on_both_sides_are_named(point: dict[str, Any]) -> None:
    late = backup("late", 65, "0/7000028", "0/7000120")
    with pytest.raises(TaskError) as raised:
        resolve(contents(FIRST, late, gap="0/5000000"), TargetPoint(**point))
    assert raised.value.reason == "WALGap"
    before, after = ("0/5000000 (", "0/7000120 (") if "lsn" in point else ("", "")
    assert f"the last recoverable moment before it is {before}2026-11-23T12:32:00Z" in raised.value.message
    assert f"the first recoverable moment after it is {after}2026-11-23T13:05:00Z" in raised.value.message


def test_a_transaction_is_refused_only_where_no_wal_can_hold_it() -> None:
    """1,111 had no number yet at the last moment that is noted; a MiB of WAL lies behind that."""
    for xid in ("1111", str(1111 + MIB // 24 - 1)):
        assert resolve(contents(), TargetPoint(xid=xid)).backup_id == "second"
    with pytest.raises(TaskError) as raised:
        resolve(contents(), TargetPoint(xid=str(1111 + MIB // 24)))
    assert raised.value.reason == "TargetBeyondArchive"
    without = replace(contents(), moments=())
    assert resolve(without, TargetPoint(xid="4000000")).backup_id == "first", "nothing tells of numbers"


def test_a_restore_point_that_the_archive_knows_is_begun_near_and_its_wal_is_looked_for_first() -> None:
    def lived(**more: Any) -> Catalogue:
        at = (parse_lsn("0/6000000"), parse_lsn("0/8000000"), parse_lsn("0/8800000"))
        named = [
            NamedPoint(f"p{n}", NOON, 1, position, name) for n, position, name in zip(range(3), at, "abb", strict=True)
        ]
        return replace(contents(**more), named=tuple(named))

    assert resolve(lived(), TargetPoint(name="a")).backup_id == "first"
    assert resolve(lived(), TargetPoint(name="b")).backup_id == "second"
    assert resolve(lived(), TargetPoint(name="unheard of")).backup_id == "first"
    with pytest.raises(TaskError) as raised:
        resolve(lived(gap="0/5000000"), TargetPoint(name="a"))
    assert raised.value.reason == "WALGap"
    assert "restore point 'a' (0/6000000)" in raised.value.message
    assert "the last recoverable moment before it is 0/5000000" in raised.value.message


def test_what_the_original_was_known_to_come_to_is_kept_for_the_report() -> None:
    for point in ({"time": NOON + 10 * MINUTE}, {"immediate": True}, {"latest": True}):
        assert resolve(contents(), TargetPoint(**point)).known_until == NOON + 111 * MINUTE
    assert resolve(contents(), TargetPoint(immediate=True), "first").known_until == NOON + 111 * MINUTE


def test_a_gap_is_named_and_a_later_backup_leads_over_it() -> None:
    holed = contents(gap="0/5000000")
    with pytest.raises(TaskError) as raised:
        resolve(holed, TargetPoint(lsn="0/6000000"))
    assert (raised.value.reason, "0/5000000" in raised.value.message) == ("WALGap", True)
    assert resolve(holed, TargetPoint(lsn="0/4000000")).backup_id == "first"
    assert resolve(holed, TargetPoint(lsn="0/8000000")).backup_id == "second"


def test_a_named_backup_is_begun_with_and_no_other() -> None:
    assert resolve(contents(), TargetPoint(latest=True), "first").backup_id == "first"
    with pytest.raises(TaskError) as raised:
        resolve(contents(), TargetPoint(lsn="0/5000000"), "second")
    assert raised.value.reason == "TargetBeforeFirstBackup"
    with pytest.raises(TaskError) as raised:
        resolve(contents(), TargetPoint(latest=True), "third")
    assert raised.value.reason == "NoRestorableBackup"


def test_a_damaged_backup_is_passed_over_and_refused_by_name() -> None:
    broken = SECOND.model_copy(update={"damaged": True, "damage": "wrong checksums"})
    found = resolve(contents(FIRST, broken), TargetPoint(latest=True))
    assert found.backup_id == "first"
    assert any("second is Damaged" in why for why in found.passed_over)
    with pytest.raises(TaskError) as raised:
        resolve(contents(FIRST, broken), TargetPoint(latest=True), "second")
    assert raised.value.reason == "BackupDamaged"


def test_a_chain_brings_its_full_along_and_breaks_without_it() -> None:
    child = SECOND.model_copy(update={"type": "incremental", "parent_id": "first", "chain": ["first"]})
    child.server.version_num = 180007
    found = resolve(contents(FIRST, child), TargetPoint(latest=True))
    assert found.chain == ["first", "second"]
    assert resolve(contents(FIRST, child), TargetPoint(latest=True), "second").chain == ["first", "second"]
    with pytest.raises(TaskError) as raised:
        resolve(contents(child), TargetPoint(latest=True), "second")
    assert raised.value.reason == "ChainBroken"


def test_moments_of_the_targets_own_second_are_read_in_full() -> None:
    """A name is cut to the second: taken for the moment, it would lie before a target that it lies after."""
    index = [IndexObject(f"m{n}", Moment(NOON + timedelta(seconds=n), 1, n)) for n in range(-9, 10)]
    read = [each.path for each in telling(index, TargetPoint(time=NOON + timedelta(seconds=0.5)))]
    assert read[:4] == ["m-1", "m0", "m1", "m2"]
    assert read[-1] == "m9"


HISTORY = Trouble(f"{ARCHIVE}/wal/00000002/00000002.history", "HistoryDamaged", "no history", "name another timeline")
MOMENTS = Trouble(f"{ARCHIVE}/moments/20261123T120000Z-00000001-0000000003000000.json", "ObjectDamaged", "no moments")


@pytest.mark.parametrize(
    ("trouble", "point", "refused"),
    [
        (HISTORY, {"latest": True}, True),
        (HISTORY, {"lsn": "0/5000000", "timeline": 2}, True),
        (HISTORY, {"lsn": "0/5000000", "timeline": 1}, False),
        (MOMENTS, {"time": NOON}, True),
        (MOMENTS, {"lsn": "0/5000000"}, False),
    ],
)
def test_what_cannot_be_read_stops_the_targets_that_need_it(
    trouble: Trouble, point: dict[str, Any], refused: bool
) -> None:
    known = replace(contents(), troubles=(trouble,))
    if not refused:
        refuse_what_misleads(known, TargetPoint(**point))
        return
    with pytest.raises(TaskError) as raised:
        refuse_what_misleads(known, TargetPoint(**point))
    assert (raised.value.reason, raised.value.remedy) == (trouble.reason, trouble.remedy)


def test_the_end_of_a_backup_is_had_back_as_statuses_tell_it() -> None:
    """No archiver runs; the status says 12:20:00 of a backup that ended 0.7 s later."""
    alone = SECOND.model_copy(update={"stop_time": SECOND.stop_time + timedelta(seconds=0.7)})
    with_wal = contents(FIRST, alone)
    without = replace(with_wal, timelines={}, moments=())
    for seconds in (0.0, 0.7, 1.0):
        found = resolve(without, TargetPoint(time=NOON + 20 * MINUTE + timedelta(seconds=seconds)))
        assert (found.backup_id, found.end_lsn, found.archived_wal) == ("second", alone.stop_lsn, False)
        assert found.point == TargetPoint(immediate=True), "PostgreSQL ends with the backup, and not at a commit"
    with pytest.raises(TaskError) as raised:
        resolve(without, TargetPoint(time=NOON + 21 * MINUTE))
    assert raised.value.reason == "TargetBeyondArchive"
    with pytest.raises(TaskError) as raised:
        resolve(without, TargetPoint(time=NOON - MINUTE))
    assert raised.value.reason == "TargetBeforeFirstBackup"
    assert resolve(with_wal, TargetPoint(time=NOON + 20 * MINUTE)).backup_id == "first", "WAL leads there exactly"


def test_what_an_abandoned_branch_did_does_not_choose_the_base_of_a_transaction() -> None:
    """Timeline 1 went on after the branch with few transactions; on timeline 2 the wanted one had long been there."""
    third = backup("third", 110, "0/9C00028", "0/9C00120", timeline=2)
    lived = contents(FIRST, SECOND, third)
    abandoned = Moment(NOON, 1, parse_lsn("0/9F00000"), next_xid="1090")
    found = resolve(replace(lived, moments=(abandoned, *lived.moments)), TargetPoint(xid="1100"))
    assert found.backup_id == "second"


@pytest.mark.parametrize("wal", [False, True])
def test_after_an_upgrade_the_latest_is_of_the_new_system(wal: bool) -> None:
    """pg_upgrade begins with timeline 1 again, and with positions behind the old ones; the old system had been on 2."""
    old = backup("old", 110, "0/9C00028", "0/9C00120", timeline=2)
    new = backup("new", 200, "0/A000028", "0/A000120", system_identifier="8")
    lived = contents(FIRST, old, new)
    if not wal:
        lived = replace(lived, timelines={}, moments=())
    for point in (TargetPoint(latest=True), TargetPoint(immediate=True)):
        found = resolve(lived, point)
        assert (found.backup_id, found.timeline) == ("new", 1)
    assert resolve(lived, TargetPoint(latest=True), "old").timeline == 2


def test_a_system_that_was_made_anew_is_not_taken_for_the_one_with_higher_positions() -> None:
    new = backup("new", 200, "0/2000028", "0/2000120", system_identifier="8")
    without = replace(contents(FIRST, SECOND, new), timelines={}, moments=())
    assert resolve(without, TargetPoint(latest=True)).backup_id == "new"
    assert resolve(without, TargetPoint(time=NOON + 200 * MINUTE)).backup_id == "new"
