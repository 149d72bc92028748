"""A store in which something did not fit is full until a probe and its free space say otherwise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.jobs.attempts import AttemptOutcome
from pgwarden.jobs.state import ABSENT
from pgwarden.policies.resource import BackupPolicy
from pgwarden.stores.full import ROOM_BYTES, SaidFull, said_full
from pgwarden.stores.plan import FULL_AGAIN_SECONDS, ObservedStore, plan, probed_spec
from pgwarden.stores.resource import BackupStore
from tests.support.objects import (
    IN_FORCE,
    NOW,
    attempt,
    backup,
    body,
    claim_store,
    condition,
    ended_job,
    failure,
    kstatus,
    said,
    success,
    written,
)

MINUTE = timedelta(minutes=1)
SAID = SaidFull(NOW - MINUTE, "DatabaseBackup nightly: the claim is full")
STILL = SaidFull(NOW - MINUTE, "the archiver of BackupPolicy operational: the claim is full", still=True)


def store(*writable: str, probe: timedelta = -10 * MINUTE, **more: Any) -> BackupStore:
    """A store that was probed, and is to be probed next in an hour."""
    status = {
        "probedSpec": probed_spec(claim_store()),
        "lastProbeTime": (NOW + probe).isoformat(),
        "nextProbeTime": (NOW + 60 * MINUTE).isoformat(),
        "free": "5Gi of 10Gi",
        "conditions": [condition("Ready", "True"), condition("Writable", *(writable or ("True", "Probed")))],
        **more,
    }
    return claim_store(status=status)


def asked(before: BackupStore) -> BackupStore:
    """The store as it stands when the probe that was asked for has been started."""
    status = written(plan(before, ObservedStore(ABSENT, full=SAID), NOW), before)
    return claim_store(status={**status, "attempts": [{**attempt(), "startTime": NOW.isoformat()}]})


def room(free: int) -> Any:
    return success(reachable=True, writable=True, freeBytes=free, totalBytes=10 << 30)


def failed_backup(name: str = "nightly", reason: str = "StoreFull", ago: float = 60, **spec: Any) -> DatabaseBackup:
    record = attempt(1, AttemptOutcome.REJECTED, ago=ago) | {"reason": reason, "message": "the claim is full"}
    return backup(name, {"attempts": [record]}, **spec)


def archived(reason: str) -> BackupPolicy:
    spec = {
        "clusterRef": {"name": "operational"},
        "storeRef": {"name": "claims"},
        "schedules": {"full": {"schedule": "30 1 * * *"}},
    }
    status = {
        "wal": {"since": STILL.since.isoformat(), "message": "the claim is full"},
        "conditions": [condition("WALArchiving", "False", reason)],
    }
    return BackupPolicy.of(body("BackupPolicy", "operational", spec, status))


def test_who_says_that_a_store_is_full_is_heard() -> None:
    assert said_full(store(), [failed_backup()], [], NOW) == SAID
    assert said_full(store(), [failed_backup()], [archived("StoreFull")], NOW) == STILL
    others = [
        failed_backup(storeRef={"name": "other"}),
        failed_backup(reason="StoreUnreachable"),
        failed_backup(ago=-600),
        backup("new"),
    ]
    assert said_full(store(), others, [archived("StoreUnreachable")], NOW) is None


def test_a_store_that_was_called_full_is_not_writable_and_is_probed_at_once() -> None:
    result = plan(store(), ObservedStore(ABSENT, full=SAID), NOW)
    assert result.attempt == 1
    assert said(result.judgments, "Writable") == ("False", "StoreFull")
    assert [notice.reason for notice in result.notices] == ["StoreFull"]
    # What was said before the last probe is answered by it.
    assert plan(store(probe=timedelta()), ObservedStore(ABSENT, full=SAID), NOW).attempt is None


def test_a_small_object_that_fits_is_no_room_for_a_segment() -> None:
    before = asked(store("False", "StoreFull"))
    result = plan(before, ObservedStore(ended_job(room(ROOM_BYTES - 1)), full=SAID), NOW)
    assert said(result.judgments, "Writable") == ("False", "StoreFull")
    assert kstatus(result.judgments) == IN_FORCE
    assert result.again_after == FULL_AGAIN_SECONDS
    assert written(result, before)["free"] == "32Mi of 10Gi"
    mended = plan(before, ObservedStore(ended_job(room(1 << 30)), full=SAID), NOW)
    assert said(mended.judgments, "Writable") == ("True", "Probed")


def test_an_archiver_that_still_finds_it_full_counts_for_more_than_a_probe() -> None:
    """A quota tells no free space."""
    before = asked(store("False", "StoreFull"))
    result = plan(before, ObservedStore(ended_job(success(reachable=True, writable=True)), full=STILL), NOW)
    assert said(result.judgments, "Writable") == ("False", "StoreFull")
    mended = plan(before, ObservedStore(ended_job(success(reachable=True, writable=True))), NOW)
    assert said(mended.judgments, "Writable") == ("True", "Probed")


def test_a_probe_that_failed_tells_the_free_space_too() -> None:
    before = asked(store("False", "StoreFull"))
    told = failure("StoreFull", reachable=True, writable=False, freeBytes=0, totalBytes=10 << 30)
    assert written(plan(before, ObservedStore(ended_job(told)), NOW), before)["freeBytes"] == 0
