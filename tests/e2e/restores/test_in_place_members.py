"""The data of a primary and of its standby are replaced in their own places together, or put back together."""

from __future__ import annotations

import pytest

from tests.support.place import Body, Place, condition, is_ready, is_stalled
from tests.support.postgres import wait_until
from tests.support.sample_servers import rolled_out

from .test_in_place import COUNT, MARK, RECORD, at_step, in_place, notes_on

pytestmark = pytest.mark.timeout(900)

PODS = ["operational-0", "operational-1"]
CLAIMS = ["data-operational-0", "data-operational-1"]


def test_primary_and_standby_are_restored_and_the_standby_streams_on(premises: Place) -> None:
    premises.ask("operational-0", "DELETE FROM bookings WHERE i > 5", "operational")
    premises.apply(in_place(premises, "rescue-both", "operational"))
    body = premises.until("restorerequest", "rescue-both", ended, seconds=600)
    assert is_ready(body), condition(body, "Stalled")
    steps = {step["name"]: step for step in body["status"]["steps"]}
    assert {step["state"] for step in steps.values()} == {"Done"}
    assert "data-operational-1" in steps["Reseed"]["message"]
    place = body["status"]["inPlace"]
    assert (place["claim"], place["members"], place["oldClaims"]) == (CLAIMS[0], CLAIMS, CLAIMS)
    for pod in PODS:
        assert premises.ask(pod, COUNT, "operational") == "20000"
        assert "PG_VERSION" in files(premises, pod, place["oldData"])
    both_run_as_before(premises)


def test_old_data_are_deleted_on_the_claims_of_both(premises: Place) -> None:
    old = premises.get("restorerequest", "rescue-both")["status"]["inPlace"]["oldData"]
    premises.patch("restorerequest", "rescue-both", {"spec": {"discardOld": True}})
    premises.said("restorerequest", "rescue-both", "OldDataDiscarded", "Discarded")
    for pod in PODS:
        assert old.rpartition("/")[2] not in files(premises, pod, "/data")
        assert premises.ask(pod, COUNT, "operational") == "20000"


@pytest.mark.chaos
@pytest.mark.long
def test_a_cancelled_restore_puts_primary_and_standby_back(premises: Place) -> None:
    premises.ask("operational-0", "CREATE TABLE since AS SELECT 7 AS id", "operational")
    premises.apply(in_place(premises, "cancelled-both", "operational"))
    premises.until("restorerequest", "cancelled-both", at_step("Recover", "Reseed", "HandOver"), seconds=600)
    premises.patch("restorerequest", "cancelled-both", {"spec": {"cancel": True}})
    body = premises.until("restorerequest", "cancelled-both", ended, seconds=600)
    both_run_as_before(premises)
    # One that had handed over already is finished, and says so.
    kept = premises.ask("operational-1", "SELECT to_regclass('since') IS NOT NULL", "operational") == "t"
    assert kept == is_stalled(body)


def both_run_as_before(place: Place) -> None:
    """Both members are up, the standby gets what is written now, and nothing says that a restore is at work."""
    rolled_out(place, "operational")
    assert place.get("statefulset", "operational")["spec"]["replicas"] == 2
    assert RECORD not in notes_on(place, "statefulset", "operational")
    for claim in CLAIMS:
        assert not [name for name in notes_on(place, "persistentvolumeclaim", claim) if name.startswith(MARK)]
    place.ask("operational-0", "CREATE TABLE IF NOT EXISTS seen (); DROP TABLE seen")
    written = place.ask("operational-0", "SELECT pg_current_wal_lsn()")
    wait_until(
        lambda: place.ask("operational-1", f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t",
        "the standby does not get what the primary writes",
    )
    assert place.ask("operational-1", "SELECT pg_is_in_recovery()") == "t"


def files(place: Place, pod: str, folder: str) -> list[str]:
    return place.kubectl("exec", pod, "--", "ls", folder).split()


def ended(body: Body) -> bool:
    return is_ready(body) or is_stalled(body)
