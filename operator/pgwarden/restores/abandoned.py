"""What a restore in place has left whose RestoreRequest was deleted on the way: everything becomes what it was. Pure.

Its status went with the request. The mark on the claim says that it had begun, the record on each workload what that
was, and the volume how far the restore had come. So the way back is found by looking, as often as it takes:

    end its Jobs -> see that nothing mounts the claim -> put the old data back -> start server and services
      -> take the mark away
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgwarden.clusters.access import AbandonedRestore
from pgwarden.jobs.attempts import sentence
from pgwarden.jobs.plan import report_of
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.restores.in_place_back import ALREADY_HANDED_OVER
from pgwarden.restores.in_place_contract import PlaceReport
from pgwarden.restores.in_place_look import SOON_SECONDS, WAIT_SECONDS
from pgwarden.restores.stopping import Change, Workload, start, stop

AGAIN_SECONDS = 30.0
LAST_WRITES_SECONDS = 30.0
"""For so long a look at the request that began before it was deleted may still stop something."""


@dataclass(frozen=True)
class ObservedAbandoned:
    """The cluster around a claim whose mark leads to no request any more."""

    uid: str
    """Of the request."""
    request: str
    """Namespace and name of the request; empty when nothing tells."""
    claims: str
    """The claims with data of the server, for people."""
    server: Workload
    services: Sequence[Workload]
    job: JobState
    """The Job that puts the data back."""
    at_work: Sequence[str]
    """Names of the request's own Jobs that have not ended."""
    others: Sequence[str]
    """Pods that mount the claim, but for those of the Job that puts the data back."""
    noticed: datetime
    """When this was seen first."""
    untouched: bool = False
    """Whether no Job can have come near the data: no claim of several is marked as the primary's."""


@dataclass
class AbandonedPlan:
    """What to do, and what to say."""

    said: AbandonedRestore
    changes: list[Change] = field(default_factory=list)
    delete_jobs: list[str] = field(default_factory=list)
    launch: bool = False
    """Create the Job that puts the data back."""
    unmark: bool = False
    """Take the mark off the claim: all is done."""
    again_after: float | None = None


def plan(seen: ObservedAbandoned, now: datetime) -> AbandonedPlan:
    """The next thing to do."""
    return data_back(seen, now) or start_again(seen, now)


def data_back(seen: ObservedAbandoned, now: datetime) -> AbandonedPlan | None:
    """A plan that puts the old data back, or waits for that; None once they are, or when nothing came near them."""
    if seen.untouched or not seen.server.stopped_by(seen.uid):
        return None
    if seen.job.phase == JobPhase.SUCCEEDED or handed_over(seen):
        return None
    if seen.job.phase == JobPhase.FAILED:
        return back_again(seen, now)
    change = stop(seen.server, seen.uid, seen.request)
    changes = [change] if change is not None else []
    if seen.job.phase != JobPhase.ABSENT:
        return AbandonedPlan(
            says(seen, f"Job {seen.job.name} puts the old data back"), changes, again_after=WAIT_SECONDS
        )
    if seen.at_work or seen.others or changes:
        names = ", ".join([*(f"Job {name}" for name in seen.at_work), *(f"pod {name}" for name in seen.others)])
        what = f"it waits until nothing mounts {seen.claims}: {names or seen.server}"
        return AbandonedPlan(says(seen, what), changes, list(seen.at_work), again_after=SOON_SECONDS)
    return AbandonedPlan(says(seen, "a Job puts the old data back"), launch=True, again_after=WAIT_SECONDS)


def back_again(seen: ObservedAbandoned, now: datetime) -> AbandonedPlan:
    """Somebody mends what keeps it, and the next Job succeeds."""
    why = sentence(seen.job.message, seen.job.remedy)
    said = says(seen, f"putting the old data back failed, and is tried again: {why}", stuck=True)
    left = AGAIN_SECONDS - (now - (seen.job.finished or now)).total_seconds()
    if left > 0 or seen.job.deleting:
        return AbandonedPlan(said, again_after=max(left, SOON_SECONDS))
    return AbandonedPlan(said, delete_jobs=[seen.job.name], again_after=SOON_SECONDS)


def start_again(seen: ObservedAbandoned, now: datetime) -> AbandonedPlan:
    """The data are as they should be: server and services, then the mark."""
    least = 1 if handed_over(seen) else 0
    changes = [start(seen.server, seen.uid, at_least=least), *(start(each, seen.uid) for each in seen.services)]
    wanted = [change for change in changes if change is not None]
    left = LAST_WRITES_SECONDS - (now - seen.noticed).total_seconds()
    if wanted or left > 0:
        said = says(seen, "what it had stopped starts again", handed_over=handed_over(seen))
        return AbandonedPlan(said, wanted, again_after=SOON_SECONDS if wanted else max(left, SOON_SECONDS))
    said = says(seen, outcome(seen), concluded=True, handed_over=handed_over(seen))
    return AbandonedPlan(said, unmark=True, again_after=SOON_SECONDS)


def handed_over(seen: ObservedAbandoned) -> bool:
    """Whether the restored data were in their place already: nobody takes these away again."""
    return seen.job.phase == JobPhase.FAILED and seen.job.reason == ALREADY_HANDED_OVER


def outcome(seen: ObservedAbandoned) -> str:
    """What has become of everything."""
    if handed_over(seen):
        report = report_of(PlaceReport, seen.job.result)
        where = f"; the old ones are in {report.old_data} on {seen.claims}" if report is not None else ""
        return f"the restored data had taken their place already, and server and services are started{where}"
    if seen.job.phase == JobPhase.SUCCEEDED:
        return "the old data are in their place, and server and services are started as they were before"
    return "its services are started as they were before; the server was not stopped, or had been started again already"


def says(
    seen: ObservedAbandoned, what: str, *, concluded: bool = False, stuck: bool = False, handed_over: bool = False
) -> AbandonedRestore:
    name = f"RestoreRequest {seen.request}" if seen.request else "a RestoreRequest"
    message = f"{name} (UID {seen.uid}) was deleted on the way: {what}"
    return AbandonedRestore(message, concluded=concluded, stuck=stuck, handed_over=handed_over)
