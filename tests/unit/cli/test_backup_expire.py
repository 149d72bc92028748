"""`pgwarden backup expire` deletes nothing of another archive than the one that was named."""

from __future__ import annotations

import pytest

from pgwarden.cli.backup_expire import check_archive
from pgwarden.cli.backup_place import Place
from pgwarden.jobs.errors import TaskError
from pgwarden.policies.resource import BackupPolicy
from tests.support.objects import restorable_backup
from tests.unit.policies.bodies import policy

OTHER_STORE = policy(storeRef={"name": "bucket"})


@pytest.mark.parametrize(
    "place",
    [Place(), Place(cluster="operational"), Place(store="claims"), Place(cluster="operational", store="claims")],
)
def test_what_was_named_is_the_one_that_is_meant(place: Place) -> None:
    check_archive(restorable_backup(), place, None)
    check_archive(restorable_backup(), place, policy())


def test_a_store_that_is_named_comes_before_the_one_of_the_policy() -> None:
    check_archive(restorable_backup(), Place(store="claims"), OTHER_STORE)


@pytest.mark.parametrize(
    ("place", "through", "told"),
    [
        (Place(cluster="analytics"), None, "not of cluster analytics in store claims"),
        (Place(store="bucket"), None, "not of cluster operational in store bucket"),
        (Place(), OTHER_STORE, "not of cluster operational in store bucket"),
        (Place(cluster="analytics"), policy(), "not of cluster analytics in store claims"),
    ],
)
def test_another_archive_is_refused(place: Place, through: BackupPolicy | None, told: str) -> None:
    with pytest.raises(TaskError) as raised:
        check_archive(restorable_backup(), place, through)
    assert raised.value.reason == "OfAnotherArchive"
    assert told in raised.value.message
