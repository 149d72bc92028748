"""BackupPolicies, and the DatabaseBackups that they have made, for tests of their plan."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pgwarden.archiving.contract import ArchiveGap, ArchiverReport, ArchiverState
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import PolicyPlan, plan
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import Run, RunType
from pgwarden.policies.wal import Archiver
from tests.support.objects import NOW, Body, body, written

DAILY = {"schedule": "30 1 * * *"}
HOURLY = {"schedule": "10 * * * *"}


def policy(name: str = "operational", status: Body | None = None, **spec: Any) -> BackupPolicy:
    """A BackupPolicy with a daily full and hourly incrementals."""
    full = {
        "clusterRef": {"name": "operational"},
        "storeRef": {"name": "claims"},
        "schedules": {"full": DAILY, "incremental": HOURLY},
        **spec,
    }
    return BackupPolicy.of(body("BackupPolicy", name, full, status))


def after(result: PolicyPlan, before: BackupPolicy) -> BackupPolicy:
    """The policy with the status that a plan has written."""
    return BackupPolicy.of(
        {
            "metadata": before.metadata.to_json(),
            "spec": before.spec.to_json(),
            "status": written(result, before),
        }
    )


def settled(now: datetime = NOW, **spec: Any) -> BackupPolicy:
    """A policy that has been looked at for a while, with everything run up to `now`."""
    new = policy(**spec)
    return after(plan(new, ObservedPolicy(runs=[full(now - timedelta(hours=9))]), now), new)


def full(made: datetime, name: str = "", **more: Any) -> Run:
    """A restorable full backup."""
    return done(RunType.FULL, made, name, **more)


def done(type_: RunType, made: datetime, name: str = "", **more: Any) -> Run:
    """A restorable backup that took a minute."""
    name = name or f"{type_.value.lower()}-{made:%d-%H%M}"
    facts: dict[str, Any] = {
        "finished": True,
        "restorable": True,
        "reason": "Completed",
        "message": "done",
        "backup_id": f"id-of-{name}",
        "ended": made + timedelta(minutes=1),
        "holds": made + timedelta(minutes=1),
        "timeline": 1,
        "start_lsn": "0/2000028",
        "stop_lsn": "0/2000158",
        "stored_bytes": 1 << 20,
        "size": "1Mi",
    }
    return Run(name=name, type=type_, made=made, **{**facts, **more})


def failed(type_: RunType, made: datetime, name: str = "", reason: str = "StoreFull") -> Run:
    """A backup that failed for good."""
    name = name or f"{type_.value.lower()}-{made:%d-%H%M}"
    return Run(name=name, type=type_, made=made, finished=True, reason=reason, message="it broke")


def running(type_: RunType, made: datetime, name: str = "", reason: str = "BackingUp") -> Run:
    return Run(
        name=name or f"{type_.value.lower()}-{made:%d-%H%M}", type=type_, made=made, reason=reason, job=f"job-of-{name}"
    )


def streaming(now: datetime = NOW, **more: Any) -> Archiver:
    """An archiver that keeps up."""
    facts: dict[str, Any] = {
        "time": now,
        "policy": "operational",
        "state": ArchiverState.STREAMING,
        "reason": "Streaming",
        "since": NOW - timedelta(hours=1),
        "server": "db:5432",
        "timeline": 1,
        "acknowledged_lsn": "0/5000000",
        "lag_bytes": 100,
        "lag_seconds": 4.0,
        "recovery_point_time": now - timedelta(seconds=4),
    }
    return Archiver(ArchiverReport(**{**facts, **more}))


def gap(start: str = "0/3000000", end: str = "0/4000000", timeline: int = 1) -> ArchiveGap:
    return ArchiveGap(
        timeline=timeline, start=start, end=end, reason="SlotLost", message="the slot was dropped", time=NOW
    )
