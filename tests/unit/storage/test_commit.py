"""backup.json is created once: whoever comes second gets the record that holds, and a forged one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage.authenticity import Authenticity, verify_record
from pgwarden.storage.catalogue_key import CatalogueKey, catalogue_key_of, new_catalogue_key
from pgwarden.storage.commit import RecordFile
from pgwarden.storage.store import Store, open_store
from tests.unit.restores.records import record

LOCATION = "shop/operational/0001/backups/b1"


def go_on() -> None:
    """Nobody said stop."""


def stop() -> None:
    raise TaskError("Stopped", "told to stop")


@pytest.fixture
def key(tmp_path: Path) -> CatalogueKey:
    folder = tmp_path / "key"
    folder.mkdir()
    for name, value in new_catalogue_key().items():
        (folder / name).write_text(value)
    location = StoreLocation(claim=ClaimLocation(path=str(tmp_path)), catalogue_key=str(folder))
    found = catalogue_key_of(location)
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "claim"
    path.mkdir()
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(path))))
    for each in record().objects:
        store.put(f"{LOCATION}/{each.path}", bytes(each.stored_bytes))
    return store


def file_in(store: Store, key: CatalogueKey | None) -> RecordFile[BackupRecord]:
    return RecordFile(store, LOCATION, key, read_record)


def test_a_record_is_committed_authentic_and_found_again(store: Store, key: CatalogueKey) -> None:
    file, mine = file_in(store, key), record()
    assert file.committed() is None
    assert file.commit(mine, go_on) is mine
    assert verify_record(store.read_small(file.path), key.hmac) == Authenticity.AUTHENTIC
    found = file.committed()
    assert found is not None
    assert found.model_copy(update={"authentication": None}) == mine


def test_the_record_of_whoever_was_quicker_holds(store: Store, key: CatalogueKey) -> None:
    file = file_in(store, key)
    first, second = record(), record().model_copy(update={"attempt": 2})
    file.commit(first, go_on)
    assert file.commit(second, go_on).attempt == first.attempt == 1


def test_whoever_was_told_to_stop_commits_nothing(store: Store) -> None:
    file = file_in(store, None)
    with pytest.raises(TaskError, match="told to stop"):
        file.commit(record(), stop)
    assert file.committed() is None


def test_without_a_key_the_record_says_nothing_of_who_wrote_it(store: Store, key: CatalogueKey) -> None:
    file = file_in(store, None)
    file.commit(record(), go_on)
    assert verify_record(store.read_small(file.path), key.hmac) == Authenticity.UNKNOWN_KEY
    assert file.committed() == record()


def test_a_forged_record_is_neither_found_nor_taken_for_the_quicker_one(store: Store, key: CatalogueKey) -> None:
    file = file_in(store, key)
    file.commit(record(), go_on)
    content = store.read_small(file.path)
    store.delete(file.path)
    store.put(file.path, content.replace(b'"attempt": 1', b'"attempt": 7'))
    for ask in (file.committed, lambda: file.commit(record(), go_on)):
        with pytest.raises(TaskError) as raised:
            ask()
        assert raised.value.reason == "RecordForged"


@pytest.mark.parametrize(("left", "said"), [(None, "does not have it"), (b"cut", "has 3 bytes of it")])
def test_a_backup_of_which_the_store_lost_something_is_not_committed(
    store: Store, left: bytes | None, said: str
) -> None:
    lost = f"{LOCATION}/{record().objects[0].path}"
    store.delete(lost)
    if left is not None:
        store.put(lost, left)
    with pytest.raises(TaskError, match=said) as raised:
        file_in(store, None).commit(record(), go_on)
    assert (raised.value.reason, raised.value.retryable) == ("UploadIncomplete", True)
    assert file_in(store, None).committed() is None
