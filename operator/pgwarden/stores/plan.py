"""When a BackupStore is probed, and what to say about it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgwarden.api.conditions import Judgment, Truth, find, in_progress, is_true, judge, ready, stalled
from pgwarden.api.quantities import human_bytes, human_seconds, rounded
from pgwarden.api.status import Attempt
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import Decision, Verdict, clock_time, decide
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import Plan, report_of, told
from pgwarden.jobs.state import JobState
from pgwarden.stores.access import describe
from pgwarden.stores.contract import ProbeStoreReport
from pgwarden.stores.full import STORE_FULL, SaidFull, full_still, is_news
from pgwarden.stores.resource import BackupStore, BackupStoreStatus

WRITABLE = "Writable"
DELETABLE = "Deletable"
CLOCK_AGREES = "ClockAgrees"
MOST_SKEW_SECONDS = 60.0
"""S3 and Azure refuse requests from 15 minutes on; by then it should be known for a while."""
FAILED_AGAIN_SECONDS = 60.0
FAILED_AGAIN_AT_MOST_SECONDS = 900.0
FULL_AGAIN_SECONDS = 120.0
"""A store that is full waits for room, and whoever has made it looks at it then."""
ATTEMPTS_PER_PROBE = 3
STANDS_STILL = timedelta(minutes=3)
"""A probe takes seconds: one that has not ended by then does not vouch for what was before."""
CLAIM_GONE = frozenset({"ClaimMissing", "ClaimBeingDeleted"})
"""Obstacles with which a store that was in force cannot be written any more."""


@dataclass(frozen=True)
class ObservedStore:
    """What is known about a BackupStore beside its own object."""

    job: JobState
    """Of the probe that is under way or ended last."""
    obstacle: Obstacle | None = None
    """Why no pod can probe the store now: what it would mount is not there, or may not be named."""
    full: SaidFull | None = None
    """Who found the store full last."""
    probe_interval_seconds: float = 21600.0


@dataclass
class StorePlan(Plan):
    """A Plan, and the number of the probe attempt to start."""

    attempt: int | None = None


def probed_spec(store: BackupStore) -> str:
    """Digest of what a probe depends on: when it changes, the store is probed again."""
    relevant = store.spec.model_dump_json(exclude={"suspend", "job_template"})
    return hashlib.sha256(relevant.encode()).hexdigest()[:16]


def probe_job(store: BackupStore, attempt: int) -> str:
    """Name of the Job of one attempt of the probe that is due or under way."""
    since = store.status.last_probe_time
    moment = since.isoformat() if since else "first"
    return job_name(store.metadata.name, "BackupStore", store.metadata.uid, probed_spec(store), moment, str(attempt))


def due(store: BackupStore, full: SaidFull | None, now: datetime) -> bool:
    """Whether the store is to be probed now: also when somebody has found it full since it last was."""
    next_time = store.status.next_probe_time
    other = store.status.probed_spec != probed_spec(store)
    return other or next_time is None or next_time <= now or is_news(store, full)


def plan(store: BackupStore, observed: ObservedStore, now: datetime) -> StorePlan:
    """The status of a BackupStore, and whether a probe is to be started."""
    status = store.status.model_copy(
        update={"location": describe(store), "encrypted": store.spec.encryption is not None}
    )
    if observed.obstacle is not None:
        reason, message = observed.obstacle.reason, observed.obstacle.message
        judgments = [*in_progress(reason, message), *unknown_writable(store, reason, message)]
        if in_use(store) and reason in CLAIM_GONE:
            judgments.append(judge(WRITABLE, False, reason, message))
        return concluded(store, probed_afterwards(status, now), judgments, again_after=15.0)
    if store.spec.suspend:
        return concluded(store, status, ready("Suspended", "the store is not probed (spec.suspend)"))
    if not due(store, observed.full, now):
        wait = (store.status.next_probe_time - now).total_seconds() if store.status.next_probe_time else 0.0
        return concluded(store, status, [], again_after=max(1.0, wait))
    decision = decide(open_attempts(store), observed.job, now=now, limit=ATTEMPTS_PER_PROBE)
    status = status.model_copy(update={"attempts": decision.attempts})
    return by_decision(store, status, decision, observed, now)


def by_decision(
    store: BackupStore, status: BackupStoreStatus, decision: Decision, observed: ObservedStore, now: datetime
) -> StorePlan:
    """The plan for a store whose probe is due or under way."""
    if decision.verdict == Verdict.START:
        judgments = probing(store, "Probing", "the store is being probed", decision, observed, now)
        # It is due until it has ended, also when what asked for it is not true any more.
        started = concluded(store, probed_afterwards(status, now), judgments)
        started.attempt = decision.number
        return started
    if decision.verdict in (Verdict.WAIT, Verdict.BACK_OFF):
        judgments = probing(store, decision.reason, decision.message, decision, observed, now)
        again = 10.0 if decision.verdict == Verdict.WAIT else decision.seconds
        return concluded(store, status, judgments, again_after=again)
    report = report_of(ProbeStoreReport, decision.result)
    if report is not None:
        status = status.model_copy(update=free_space(report))
    if decision.verdict == Verdict.SUCCEEDED:
        full = full_still(store, observed.full, report)
        again = FULL_AGAIN_SECONDS if full else observed.probe_interval_seconds
        judgments = succeeded(report)
        if full:
            judgments = [each for each in judgments if each.type != WRITABLE]
            judgments.append(judge(WRITABLE, False, STORE_FULL, full))
        return concluded(store, probed(status, store, now, again), judgments, again_after=again)
    again = after_failure(store, now)
    status = probed(status, store, now, again)
    judgments = [judge(WRITABLE, False, decision.reason, decision.message)]
    if not in_force(store):
        judgments += stalled(decision.reason, decision.message)
    return concluded(store, status, judgments, again_after=again)


def succeeded(report: ProbeStoreReport | None) -> list[Judgment]:
    """Judgments after a probe that could write, read and list."""
    kept = report is not None and report.kept
    message = "an object was written, read and listed" if kept else "an object was written, read, listed and deleted"
    judgments = [*ready("Probed", message), judge(WRITABLE, True, "Probed", message)]
    return judgments if report is None else [*judgments, deletable(report), clock_agrees(report)]


def deletable(report: ProbeStoreReport) -> Judgment:
    """The condition Deletable: backups are taken in any case, but does the store ever get smaller?"""
    if report.kept_reason == "ObjectLocked":
        message = (
            f"{report.kept}. Backups are safe from everybody until the lock runs out, and retention deletes them "
            "at its first turn after that: let the lock be no longer than the policy's window, or make room for more"
        )
        return judge(DELETABLE, False, "ObjectLocked", message)
    if report.kept:
        message = (
            f"{report.kept}. Backups can be written, and retention can delete none: allow these credentials to delete "
            "below the prefix, or let a lifecycle rule of the bucket delete, well after the policy's window"
        )
        return judge(DELETABLE, False, report.kept_reason, message)
    if report.versions:
        message = (
            "the bucket keeps versions: what retention deletes is hidden, and can be had back. Give the bucket a "
            "lifecycle rule that removes noncurrent versions after some days, or it only grows"
        )
        return judge(DELETABLE, True, "KeepsVersions", message)
    return judge(DELETABLE, True, "Deleted", "an object that was deleted is gone")


def clock_agrees(report: ProbeStoreReport) -> Judgment:
    """The condition ClockAgrees: times of objects decide what is old enough to be swept, and sign requests."""
    skew = report.clock_skew_seconds
    if abs(skew) <= MOST_SKEW_SECONDS:
        return judge(CLOCK_AGREES, True, "Agrees", "the store's clock and the node's agree to the minute")
    message = (
        f"the store's clock is {human_seconds(abs(skew) // 60 * 60)} {'ahead of' if skew > 0 else 'behind'} that of "
        "the node that probed it. Set the wrong one right (NTP): S3 and Azure refuse requests from 15 minutes on"
    )
    return judge(CLOCK_AGREES, False, "ClockSkewed", message)


def after_failure(store: BackupStore, now: datetime) -> float:
    """Seconds to the next probe: as long as it has been failing, so that an old trouble costs few Jobs."""
    writable = find(store.status.conditions, WRITABLE)
    if writable is None or writable.status != Truth.FALSE or store.status.probed_spec != probed_spec(store):
        return FAILED_AGAIN_SECONDS
    failing = (now - writable.last_transition_time).total_seconds()
    return min(FAILED_AGAIN_AT_MOST_SECONDS, max(FAILED_AGAIN_SECONDS, failing))


def open_attempts(store: BackupStore) -> list[Attempt]:
    """Attempts of the probe that is under way: those that began after the last probe ended."""
    since = store.status.last_probe_time
    attempts = store.status.attempts
    if store.status.probed_spec != probed_spec(store):
        attempts = [attempt for attempt in attempts if attempt.job == probe_job(store, attempt.number)]
    return [attempt for attempt in attempts if since is None or attempt.start_time >= since]


def in_force(store: BackupStore) -> bool:
    """Whether this very spec has been probed with success before: a later failure does not make it less accepted."""
    condition = find(store.status.conditions, "Ready")
    return condition is not None and condition.status == "True" and store.status.probed_spec == probed_spec(store)


def in_use(store: BackupStore) -> bool:
    """Whether somebody relies on what a probe of this very spec has found."""
    return store.status.probed_spec == probed_spec(store)


def probing(
    store: BackupStore, reason: str, message: str, decision: Decision, observed: ObservedStore, now: datetime
) -> list[Judgment]:
    """Judgments while a probe runs: what is in force stays so, unless the store was found full, or the probe stands

    still.
    """
    if not in_force(store):
        return [*in_progress(reason, message), *unknown_writable(store, reason, message)]
    if observed.full is not None and is_news(store, observed.full):
        return [judge(WRITABLE, False, STORE_FULL, observed.full.message)]
    began = decision.attempts[0].start_time if decision.attempts else now
    if now - began < STANDS_STILL or not is_true(store.status.conditions, WRITABLE):
        return []
    return [judge(WRITABLE, None, reason, f"a probe that began at {clock_time(began)} does not get on: {message}")]


def unknown_writable(store: BackupStore, reason: str, message: str = "") -> list[Judgment]:
    """Writable is unknown until this spec has been probed."""
    return [] if in_use(store) else [judge(WRITABLE, None, reason, message)]


def probed(status: BackupStoreStatus, store: BackupStore, now: datetime, again_in: float) -> BackupStoreStatus:
    """The status after a probe ended at `now`."""
    return status.model_copy(
        update={
            "last_probe_time": now.replace(microsecond=0),
            "next_probe_time": (now + timedelta(seconds=again_in)).replace(microsecond=0),
            "probed_spec": probed_spec(store),
        }
    )


def probed_afterwards(status: BackupStoreStatus, now: datetime) -> BackupStoreStatus:
    """The status by which a store is probed as soon as nothing is in the way any more."""
    planned = status.next_probe_time
    if planned is None or planned <= now:
        return status
    return status.model_copy(update={"next_probe_time": now.replace(microsecond=0)})


def free_space(report: ProbeStoreReport | None) -> dict[str, object]:
    """Status fields of a claim's free space."""
    if report is None or report.free_bytes is None or report.total_bytes is None:
        return {"free_bytes": None, "total_bytes": None, "free": ""}
    free, total = rounded(report.free_bytes), rounded(report.total_bytes)
    return {"free_bytes": free, "total_bytes": total, "free": f"{human_bytes(free)} of {human_bytes(total)}"}


def concluded(
    store: BackupStore, status: BackupStoreStatus, judgments: list[Judgment], again_after: float | None = None
) -> StorePlan:
    """A plan with an Event where Writable turned, and where the clocks or a deletion give reason to."""
    notices = told(judgments, store.status, WRITABLE) if known(judgments) else []
    bad = {judgment.type for judgment in judgments if judgment.status == Truth.FALSE}
    notices += [
        notice for type_ in (DELETABLE, CLOCK_AGREES) if type_ in bad for notice in told(judgments, store.status, type_)
    ]
    return StorePlan(status=status, judgments=judgments, notices=notices, again_after=again_after)


def known(judgments: Sequence[Judgment]) -> bool:
    """Whether the judgments say if the store is writable."""
    return any(judgment.type == WRITABLE and judgment.status != Truth.UNKNOWN for judgment in judgments)
