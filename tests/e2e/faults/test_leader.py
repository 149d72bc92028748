"""Two operators at once: one acts, the other stands by and takes over, however the first one goes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from pgwarden.kube.lease import LEASE_SECONDS, RETRY_SECONDS
from tests.support.operator_process import OperatorProcess
from tests.support.workplace import Workplace

pytestmark = pytest.mark.timeout(900)

# What is promised on a machine with time to spare; a busy one may be late with everything.
GRACEFUL_SECONDS = 5.0
LATE_SECONDS = 5.0
STATEMENT = "CREATE TABLE once (id int)"


@pytest.fixture
def pair(workplace: Workplace) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """(the one that leads, the one that stands by)."""
    lease = f"pair-{secrets.token_hex(3)}"
    with workplace.operator(leaseName=lease) as leader:
        leader.wait_until_leading()
        with workplace.operator(leaseName=lease) as standby:
            standby.wait_until_standing_by()
            yield leader, standby


def writes(operator: OperatorProcess) -> float:
    """Writes but those to the Lease."""
    name = "pgwarden_operator_api_request_duration_seconds_count"
    total = sum(operator.metric(name, verb=verb) for verb in ("create", "patch", "delete"))
    return total - operator.metric(name, verb="create", resource="leases")


def seconds_until_leading(operator: OperatorProcess, since: float) -> float:
    operator.wait_until_leading()
    return time.monotonic() - since


def test_only_the_leader_acts(workplace: Workplace, pair: tuple[OperatorProcess, OperatorProcess]) -> None:
    leader, standby = pair
    uid = workplace.migrate("together", STATEMENT)
    workplace.wait_ready("DatabaseMigration", "together")
    assert len(workplace.owned("Job", uid)) == 1
    assert writes(leader) > 0
    assert writes(standby) == 0
    assert leader.leading
    assert not standby.leading


def test_a_standby_takes_over_from_a_killed_leader_when_its_lease_has_run_out(
    workplace: Workplace, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = pair
    leader.kill()
    leader.wait()
    killed = time.monotonic()
    uid = workplace.migrate("orphaned", STATEMENT)
    assert seconds_until_leading(standby, killed) < LEASE_SECONDS + 2 * RETRY_SECONDS + LATE_SECONDS
    workplace.wait_ready("DatabaseMigration", "orphaned")
    assert len(workplace.owned("Job", uid)) == 1


def test_a_standby_takes_over_at_once_from_a_leader_that_was_told_to_end(
    workplace: Workplace, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = pair
    told = time.monotonic()
    leader.terminate()
    assert leader.wait(GRACEFUL_SECONDS + LATE_SECONDS) == 0
    assert seconds_until_leading(standby, told) < GRACEFUL_SECONDS + LATE_SECONDS
