"""Incrementals that cannot be trusted are refused with what to do; a catalogue key outlives its store."""

from __future__ import annotations

import pytest

from tests.support.place import Place, backup, condition, holds, is_ready, is_stalled, is_writable, store

pytestmark = pytest.mark.timeout(600)


def test_a_release_below_the_floor_takes_fulls_that_say_so_and_no_incrementals(place: Place) -> None:
    """The server is 18.6."""
    place.apply(backup("before-incrementals", "sound", "shelf"))
    full = place.until("databasebackup", "before-incrementals", is_ready)
    assert condition(full, "Restorable")["status"] == "True"
    assert condition(full, "UsableAsParent")["status"] == "False"
    place.apply(backup("too-early", "sound", "shelf", type="Incremental"))
    refused = place.until("databasebackup", "too-early", is_stalled)
    assert condition(refused, "Stalled")["reason"] == "BelowIncrementalFloor"
    assert "18.7" in condition(refused, "Stalled")["message"]
    assert condition(refused, "Restorable")["status"] == "False"


def test_a_parent_without_an_incremental_and_a_change_of_mind_are_refused_by_the_schema(place: Place) -> None:
    assert "needs type Incremental" in place.refusal(backup("orphan", "sound", "shelf", parent="full-1"))
    place.apply(backup("decided", "sound", "shelf", suspend=True))
    changed = backup("decided", "sound", "shelf", suspend=True, **{"from": "PreferReplica"})
    assert "cannot be changed" in place.refusal(changed)


def test_a_store_made_anew_finds_its_catalogue_key_again(place: Place) -> None:
    passing = store("passing", claim={"name": "shelf"}, prefix="passing")
    place.apply(passing)
    place.until("backupstore", "passing", is_writable)
    key = place.secret("passing-catalogue-key")
    assert set(key) == {"identity", "hmac"}
    place.kubectl("delete", "backupstore", "passing", "--wait")
    place.apply(passing)
    place.until("backupstore", "passing", holds("Writable"))
    assert place.secret("passing-catalogue-key") == key
    assert place.secret("shelf-catalogue-key") != key
