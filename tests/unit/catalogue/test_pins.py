"""A pin lies in the store and holds until a holder of the store's key takes it away; nobody else can."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgwarden.catalogue.contents import Trouble
from pgwarden.catalogue.pins import Wish, find_folder, is_pinned, write_pin
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.store import Store, open_store

ARCHIVE = "shop/operational/0001"
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PIN, UNPIN = (Wish(pinned, NOW, "shop/nightly") for pinned in (True, False))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With two committed backups."""
    found = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    for place in (layout.backup_folder(ARCHIVE, "monday"), layout.logical_folder(ARCHIVE, "dump")):
        found.put(layout.record_file(place), b"{}")
    return found


def pinned(store: Store, backup_id: str = "monday", key: bytes | None = KEY) -> tuple[bool, list[str]]:
    """Whether it is pinned, and the reasons of what was passed over."""
    troubles: list[Trouble] = []
    found = is_pinned(store, find_folder(store, [ARCHIVE], backup_id), key, troubles)
    return found, [trouble.reason for trouble in troubles]


def objects(store: Store, backup_id: str = "monday") -> list[str]:
    return sorted(each.path.rsplit("/", 1)[-1] for each in store.list(layout.backup_folder(ARCHIVE, backup_id)))


@pytest.mark.parametrize("backup_id", ["monday", "dump"])
@pytest.mark.parametrize("key", [KEY, None])
def test_it_holds_until_it_is_taken_away_as_often_as_anybody_likes(
    store: Store, backup_id: str, key: bytes | None
) -> None:
    for _ in range(2):
        assert write_pin(store, [ARCHIVE], backup_id, PIN, key)
        assert not write_pin(store, [ARCHIVE], backup_id, PIN, key), "it is so already"
        assert pinned(store, backup_id, key) == (True, [])
        assert write_pin(store, [ARCHIVE], backup_id, UNPIN, key)
        assert not write_pin(store, [ARCHIVE], backup_id, UNPIN, key)
        assert pinned(store, backup_id, key) == (False, [])


def test_every_wish_stays_on_record(store: Store) -> None:
    for wish in (PIN, UNPIN, PIN):
        write_pin(store, [ARCHIVE], "monday", wish, KEY)
    assert objects(store) == ["0001-pinned.json", "0002-unpinned.json", "0003-pinned.json", "backup.json"]
    content = store.read_small(layout.pin_object(layout.backup_folder(ARCHIVE, "monday"), 3, pinned=True))
    assert b'"askedBy": "shop/nightly"' in content
    assert b'"time": "2026-11-23T12:00:00Z"' in content


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_nobody_without_the_key_takes_a_pin_away(store: Store, key: bytes | None) -> None:
    write_pin(store, [ARCHIVE], "monday", PIN, KEY)
    planted = layout.pin_object(layout.backup_folder(ARCHIVE, "monday"), 7, pinned=False)
    write_pin(store, [ARCHIVE], "dump", PIN, key)
    write_pin(store, [ARCHIVE], "dump", UNPIN, key)
    unpin = store.read_small(layout.pin_object(layout.logical_folder(ARCHIVE, "dump"), 2, pinned=False))
    store.put(planted, unpin.replace(b'"dump"', b'"monday"').replace(b'"number": 2', b'"number": 7'))
    assert pinned(store) == (True, ["PinNotAuthentic"])


def test_a_genuine_record_of_another_place_takes_no_pin_away(store: Store) -> None:
    write_pin(store, [ARCHIVE], "dump", PIN, KEY)
    write_pin(store, [ARCHIVE], "dump", UNPIN, KEY)
    write_pin(store, [ARCHIVE], "monday", PIN, KEY)
    genuine = store.read_small(layout.pin_object(layout.logical_folder(ARCHIVE, "dump"), 2, pinned=False))
    store.put(layout.pin_object(layout.backup_folder(ARCHIVE, "monday"), 2, pinned=False), genuine)
    assert pinned(store) == (True, ["PinNotAuthentic"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"backupId": "monday"}'])
def test_what_cannot_be_read_takes_no_pin_away(store: Store, content: bytes) -> None:
    write_pin(store, [ARCHIVE], "monday", PIN, KEY)
    store.put(layout.pin_object(layout.backup_folder(ARCHIVE, "monday"), 2, pinned=False), content)
    assert pinned(store, key=None) == (True, ["PinNotAuthentic"])


def test_without_the_key_a_signed_pin_is_not_taken_away_in_vain(store: Store) -> None:
    write_pin(store, [ARCHIVE], "monday", PIN, KEY)
    with pytest.raises(TaskError) as refused:
        write_pin(store, [ARCHIVE], "monday", UNPIN, None)
    assert refused.value.reason == "CatalogueKeyNeeded"
    assert "--catalogue-key" in refused.value.remedy


def test_only_a_committed_backup_can_be_pinned(store: Store) -> None:
    store.put(f"{ARCHIVE}/backups/half/attempt-1-00000000/base.tar.zst.00000", b"x")
    for name in ("half", "nothing"):
        with pytest.raises(TaskError) as refused:
            write_pin(store, [ARCHIVE], name, PIN, KEY)
        assert refused.value.reason == "BackupNotFound"
