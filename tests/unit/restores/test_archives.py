"""A cluster may have several archives: a restore begins in the newest that holds what is asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgwarden.api.wal import parse_lsn, segments_between
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.restores.archives import resolve_among
from pgwarden.restores.contract import Resolved, TargetPoint
from pgwarden.storage import layout
from pgwarden.storage.store import Store, open_store
from tests.unit.restores.records import record

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SEGMENT = 16 << 20
FIRST, SECOND = (layout.archive_folder("shop", "operational", each) for each in ("0001", "0002"))


def fill(store: Store, archive: str, backup: str, minute: int, lsn: str, until: str, moments: dict[int, str]) -> None:
    """An archive with one backup and the WAL after it."""
    made = record().model_copy(
        update={
            "backup_id": backup,
            "start_lsn": lsn,
            "stop_lsn": f"{lsn[:-2]}F0",
            "start_time": NOON + minute * MINUTE,
            "stop_time": NOON + minute * MINUTE,
        }
    )
    folder = layout.backup_folder(archive, backup)
    for stored in made.objects:
        store.put(f"{folder}/{stored.path}", b"x" * stored.stored_bytes)
    store.put(layout.record_file(folder), made.to_bytes())
    for name in segments_between(1, lsn, until, SEGMENT):
        store.put(layout.segment_object(archive, name, encrypted=False), b"wal")
    for at, position in moments.items():
        moment = {"time": (NOON + at * MINUTE).isoformat(), "timeline": 1, "lsn": position, "nextXid": "800"}
        path = layout.moments_object(archive, NOON + at * MINUTE, 1, parse_lsn(position))
        store.put(path, json.dumps({"schemaVersion": 1, "moments": [moment]}).encode())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Its volume was rolled back after half an hour: positions begin again, times go on."""
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    fill(store, FIRST, "old", 0, "0/3000028", "0/A000000", {5: "0/5000000", 10: "0/9000000"})
    fill(store, SECOND, "new", 70, "0/4000028", "0/7000000", {80: "0/6000000"})
    return store


def resolved(store: Store, **point: Any) -> Resolved:
    return resolve_among(store, FIRST, TargetPoint(**point), NOON + 90 * MINUTE, None)


@pytest.mark.parametrize(
    ("point", "archive"),
    [
        ({"time": NOON + 7 * MINUTE}, FIRST),
        ({"time": NOON + 75 * MINUTE}, SECOND),
        ({"latest": True}, SECOND),
        ({"immediate": True}, SECOND),
        # In both: what the server has come to since is meant.
        ({"lsn": "0/5000000"}, SECOND),
        ({"lsn": "0/8000000"}, FIRST),
    ],
    ids=str,
)
def test_the_newest_archive_that_holds_the_target_is_taken(store: Store, point: dict[str, Any], archive: str) -> None:
    found = resolved(store, **point)
    assert (found.archive, found.backup_id) == (archive, "old" if archive == FIRST else "new")
    assert bool(found.passed_over) is (archive == FIRST)
    assert found.known_until == NOON + 80 * MINUTE, "what the server has come to since, whichever archive is taken"


def test_what_lies_between_the_archives_is_refused_with_what_each_of_them_holds(store: Store) -> None:
    with pytest.raises(TaskError) as caught:
        resolved(store, time=NOON + 40 * MINUTE)
    assert caught.value.reason == "TargetBeforeFirstBackup"
    assert "the oldest restorable backup on timeline 1, new" in caught.value.message
    assert FIRST in caught.value.message


def test_until_the_new_archive_has_a_full_the_old_ones_end_is_the_latest(store: Store, tmp_path: Path) -> None:
    store.delete(layout.record_file(layout.backup_folder(SECOND, "new")))
    found = resolved(store, latest=True)
    assert (found.archive, found.backup_id) == (FIRST, "old")
    assert SECOND in found.passed_over[0]


def test_a_damaged_archive_does_not_send_a_restore_into_the_one_before(store: Store) -> None:
    path = layout.moments_object(SECOND, NOON + 80 * MINUTE, 1, parse_lsn("0/6000000"))
    store.delete(path)
    store.put(path, b"what is this")
    with pytest.raises(TaskError) as caught:
        resolved(store, time=NOON + 7 * MINUTE)
    assert caught.value.reason == "ObjectDamaged"
