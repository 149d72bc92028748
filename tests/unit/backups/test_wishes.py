"""What holds for everything that people ask for of a finished backup, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from pgwarden.backups.expiry import plan_expiry
from pgwarden.backups.pinning import plan_pin
from pgwarden.backups.plan import BackupPlan
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.backups.wishes import ObservedWish
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.state import ABSENT
from tests.support.objects import NOW, kstatus, restorable_backup, said

Planner = Callable[[DatabaseBackup, ObservedWish, datetime], BackupPlan]
WISHES = pytest.mark.parametrize(
    ("plan", "field", "condition", "doing"),
    [(plan_expiry, "expire", "Expired", "Expiring"), (plan_pin, "pinned", "Pinned", "Pinning")],
)


def wanted(field: str) -> DatabaseBackup:
    """A finished backup with that wish in its spec."""
    done = restorable_backup()
    return done.model_copy(update={"spec": done.spec.model_copy(update={field: True})})


@WISHES
def test_the_first_look_starts_a_job_and_leaves_the_backup_ready(
    plan: Planner, field: str, condition: str, doing: str
) -> None:
    result = plan(wanted(field), ObservedWish(ABSENT), NOW)
    assert result.attempt == 1
    assert said(result.judgments, condition) == ("Unknown", doing)
    assert kstatus(result.judgments) == ("", "", "")


@WISHES
@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (ObservedWish(ABSENT, Obstacle("StoreNotWritable", "it is read-only")), "StoreNotWritable"),
        (ObservedWish(ABSENT, busy="another look runs"), "Queued"),
    ],
)
def test_it_waits_for_what_the_condition_names(
    plan: Planner, field: str, condition: str, doing: str, observed: ObservedWish, reason: str
) -> None:
    result = plan(wanted(field), observed, NOW)
    assert (result.attempt, said(result.judgments, condition)) == (None, ("Unknown", reason))
    assert result.again_after
