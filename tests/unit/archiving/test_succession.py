"""When the next archive takes the place of one: at once, but not again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.archiving.succession import LEAST_AGE, begin_next, due
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.archive import (
    ArchiveFile,
    adopt_archives,
    archive_folders,
    binding,
    claim_archive,
    read_archive_file,
    refuse_succeeded,
)
from pgwarden.storage.store import Store, open_store
from tests.support.archiver import IDENTITY
from tests.support.objects import NOW

CONFLICT = TaskError("ArchiveConflict", "the archive holds other WAL")
OTHER = IDENTITY.model_copy(update={"cluster_uid": "of-staging"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))


def file(created: datetime, succeeds: str = "") -> ArchiveFile:
    return ArchiveFile(namespace="shop", cluster="operational", cluster_uid="u", created=created, succeeds=succeeds)


@pytest.mark.parametrize(
    ("made", "moment"),
    [
        (file(NOW - timedelta(minutes=1)), NOW),
        (file(NOW - timedelta(minutes=1), "0001"), NOW + LEAST_AGE - timedelta(minutes=1)),
        (file(NOW - 2 * LEAST_AGE, "0001"), NOW),
        # A clock that ran ahead must not hold up archiving for years.
        (file(NOW + timedelta(days=400), "0001"), NOW),
    ],
    ids=["the first", "a young one", "an old one", "one of the future"],
)
def test_only_an_archive_that_has_just_taken_anothers_place_is_held_on_to(made: ArchiveFile, moment: datetime) -> None:
    assert due(made, NOW) == moment


def test_the_next_archive_says_which_one_it_succeeds_and_why(store: Store) -> None:
    first = claim_archive(store, IDENTITY, NOW)
    second = begin_next(store, IDENTITY, first, CONFLICT, NOW)
    assert (first, second) == ("shop/operational/0001", "shop/operational/0002")
    written = read_archive_file(store, layout.archive_file(second))
    assert (written.succeeds, written.why, written.created) == ("0001", CONFLICT.message, NOW.astimezone(UTC))
    # From now on everybody writes there; nothing that began in the old one is committed any more.
    assert claim_archive(store, IDENTITY, NOW) == second
    with pytest.raises(TaskError) as caught:
        refuse_succeeded(store, IDENTITY, first)
    assert (caught.value.reason, caught.value.retryable) == ("ArchiveSucceeded", True)
    refuse_succeeded(store, IDENTITY, second)
    with pytest.raises(TaskError, match="the archive holds other WAL") as early:
        begin_next(store, IDENTITY, second, CONFLICT, NOW + timedelta(minutes=1))
    assert "less than an hour ago" in early.value.remedy
    assert archive_folders(store, "shop", "operational") == [first, second]
    third = begin_next(store, IDENTITY, second, CONFLICT, NOW + LEAST_AGE)
    assert read_archive_file(store, layout.archive_file(third)).succeeds == "0002"


def test_two_that_begin_the_next_archive_at_once_begin_the_same(store: Store) -> None:
    first = claim_archive(store, IDENTITY, NOW)
    assert begin_next(store, IDENTITY, first, CONFLICT, NOW) == begin_next(store, IDENTITY, first, CONFLICT, NOW)


def test_a_stranger_neither_writes_into_nor_succeeds_an_archive(store: Store) -> None:
    first = claim_archive(store, IDENTITY, NOW)
    with pytest.raises(TaskError) as claimed:
        claim_archive(store, OTHER, NOW)
    with pytest.raises(TaskError) as succeeded:
        begin_next(store, OTHER, first, CONFLICT, NOW)
    assert [each.value.reason for each in (claimed, succeeded)] == ["ArchiveBelongsToAnother"] * 2
    assert archive_folders(store, "shop", "operational") == [first]


def test_all_archives_of_a_cluster_are_adopted_together(store: Store) -> None:
    first = claim_archive(store, IDENTITY, NOW)
    second = begin_next(store, IDENTITY, first, CONFLICT, NOW)
    assert adopt_archives(store, OTHER, IDENTITY.cluster_uid, NOW, "somebody")
    assert not adopt_archives(store, OTHER, IDENTITY.cluster_uid, NOW, "somebody")
    assert [binding(store, each)[1].cluster_uid for each in (first, second)] == [OTHER.cluster_uid] * 2
    assert binding(store, second)[1].succeeds == "0001"
    assert claim_archive(store, OTHER, NOW) == second
