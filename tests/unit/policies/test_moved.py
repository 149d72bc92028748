"""A policy with another store promises nothing that only the old one holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.looks import look_job
from pgwarden.policies.moved import in_its_store
from pgwarden.policies.plan import plan
from pgwarden.policies.resource import BackupPolicy, BackupPolicyStatus
from tests.support.objects import NOW, condition, said
from tests.unit.policies.bodies import after, full, policy, streaming

HOUR = timedelta(hours=1)


def of_a_month(store: str = "claims", **spec: Any) -> BackupPolicy:
    """A policy whose status tells of a month in the store `claims`."""
    moment = {"time": (NOW - timedelta(days=30)).isoformat()}
    status = {
        "store": "claims",
        "earliestRecoverable": moment,
        "latestRecoverable": {"time": NOW.isoformat()},
        "lastFull": {"name": "old", **moment},
        "catalogue": {"time": NOW.isoformat(), "size": "80Gi", "fulls": 30},
        "wal": {"archive": "0002", "state": "Streaming"},
        "conditions": [condition("Recoverable", "False", "WindowLost"), condition("ArchiveSound", "False", "Flawed")],
    }
    return policy(status=status, storeRef={"name": store}, wal={"enabled": True}, **spec)


def looked_at(before: BackupPolicy, observed: ObservedPolicy) -> BackupPolicyStatus:
    before = in_its_store(before)
    return after(plan(before, observed, NOW), before).status


def test_nothing_that_only_the_old_store_holds_is_promised_any_more() -> None:
    status = looked_at(of_a_month("bucket"), ObservedPolicy())
    assert status.store == "bucket"
    assert (status.earliest_recoverable, status.latest_recoverable, status.last_full) == (None, None, None)
    assert status.catalogue is not None
    assert (status.catalogue.size, status.catalogue.time) == ("", None)
    told = plan(in_its_store(of_a_month("bucket")), ObservedPolicy(), NOW).judgments
    assert said(told, "Recoverable") == ("False", "NothingYet")
    assert "ArchiveSound" not in {each.type for each in in_its_store(of_a_month("bucket")).status.conditions}


def test_the_first_full_in_the_new_store_is_where_the_window_begins() -> None:
    status = looked_at(of_a_month("bucket"), ObservedPolicy(runs=[full(NOW - HOUR)]))
    assert status.earliest_recoverable is not None
    assert status.earliest_recoverable.time == NOW - HOUR + timedelta(minutes=1)


def test_a_status_of_the_present_store_is_kept() -> None:
    status = looked_at(of_a_month(), ObservedPolicy())
    assert status.earliest_recoverable == of_a_month().status.earliest_recoverable
    unnamed = of_a_month()
    unnamed.status.store = ""
    assert in_its_store(unnamed).status == of_a_month().status


def test_a_look_into_the_old_store_is_none_into_the_new_one() -> None:
    first = policy(status={})
    assert look_job(first) != look_job(policy(storeRef={"name": "bucket"}))


def test_the_first_archive_of_another_store_takes_nothings_place() -> None:
    moved = in_its_store(of_a_month("bucket"))
    result = plan(moved, ObservedPolicy(archiver=streaming(archive="0001")), NOW)
    assert "ArchiveSucceeded" not in [notice.reason for notice in result.notices]
    assert after(result, moved).status.wal.archive == "0001"  # type: ignore[union-attr]


def test_an_archiver_that_does_not_know_its_archive_yet_takes_nothings_place() -> None:
    before = in_its_store(of_a_month())
    result = plan(before, ObservedPolicy(archiver=streaming(archive="")), NOW)
    assert "ArchiveSucceeded" not in [notice.reason for notice in result.notices]
    known = after(result, before)
    assert known.status.wal.archive == "0002"  # type: ignore[union-attr]
    # Store and cluster were deleted and made anew: nothing tells that the first archive took another one's place.
    anew = plan(known, ObservedPolicy(archiver=streaming(archive="0001")), NOW)
    assert "ArchiveSucceeded" not in [notice.reason for notice in anew.notices]
