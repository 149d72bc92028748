"""The Lease's arithmetic, and its times."""

from __future__ import annotations

from pgwarden.kube.lease import (
    END_SECONDS,
    LEASE_SECONDS,
    RENEW_SECONDS,
    REQUEST_SECONDS,
    RETRY_SECONDS,
    micro_time,
)


def test_a_leader_that_cannot_renew_has_ended_before_another_may_begin() -> None:
    longest = RETRY_SECONDS + RENEW_SECONDS + 2 * REQUEST_SECONDS
    assert longest + END_SECONDS <= LEASE_SECONDS


def test_times_are_written_in_utc() -> None:
    assert micro_time("2026-11-23T12:00:00.5+02:00") == "2026-11-23T10:00:00.500000Z"
    assert micro_time(None).endswith("Z")
