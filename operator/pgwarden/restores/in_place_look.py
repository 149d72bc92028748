"""What a look at a restore in place sees, what a plan for it may say, and what every step of it needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pgwarden.api.conditions import Judgment, in_progress
from pgwarden.api.status import Attempt
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import MAX_ATTEMPTS, Decision, Verdict, decide
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import Plan, told
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Progress
from pgwarden.restores import in_place_steps
from pgwarden.restores.fence import Home, named
from pgwarden.restores.going_on import Archiving
from pgwarden.restores.plan import restore_job
from pgwarden.restores.resource import InPlaceStatus, RestoreRequest, RestoreRequestStatus
from pgwarden.restores.stopping import Change, Workload

WAIT_SECONDS = 5.0
SOON_SECONDS = 1.0
FOR_EVER = 1 << 31


class Stage(StrEnum):
    """The Jobs of a restore in place; each stage may take several attempts."""

    PREFLIGHT = "preflight"
    CONNECTIONS = "connections"
    LOOK = "look"
    RESTORE = "restore"
    HAND_OVER = "hand_over"
    PUT_BACK = "put_back"
    DISCARD = "discard"


@dataclass(frozen=True)
class ObservedInPlace:
    """What is known about a restore in place beside its own object."""

    token: str = ""
    """restoreToken of the DatabaseCluster as it stands in its status now."""
    refusal: Obstacle | None = None
    """Why work can never begin as asked for."""
    obstacle: Obstacle | None = None
    """Why no Job that reads the store can be made now."""
    busy: str = ""
    """What else is at work on the cluster."""
    home: Home | None = None
    marked_by: str = ""
    """UID of the RestoreRequest that works on the claims, as any of them says; empty when none does."""
    abandoned: bool = False
    """Whether that one was deleted on the way; what it had stopped is put back before anything else begins."""
    all_marked: bool = True
    """Whether every claim says so, once one does."""
    marked_primary: str = ""
    """Which claim of several is marked as the primary's by this request; empty when none is."""
    leftovers: Sequence[str] = ()
    """Claims of members that the server does not have any more."""
    server: Workload | None = None
    services: Sequence[Workload] = ()
    strangers: Sequence[str] = ()
    """Pods that mount a claim of the server and are none of this request's."""
    own_pods: Sequence[str] = ()
    """Pods of this request's Jobs that mount a claim of the server."""
    jobs: Mapping[Stage, JobState] = field(default_factory=dict)
    """Of each stage the last attempt's Job; where none is recorded, the first one's."""
    progress: Progress | None = None
    server_ready: bool = False
    """Of several members: whether the primary answers."""
    members_behind: str = ""
    """Which of several members are not ready yet, and what they say; empty once all are."""
    server_problem: str = ""
    """What the server's workload says while it is not ready."""
    archiving: Sequence[Archiving] = ()
    """How far the archives of the cluster's WAL are."""
    fulls: Sequence[str] = ()
    """Full backups that policies have begun since the restored data are in their place."""


@dataclass
class InPlacePlan(Plan):
    """A Plan, and what only a restore in place does."""

    status: RestoreRequestStatus
    launch: tuple[Stage, int] | None = None
    """The Job to create: its stage and the number of the attempt."""
    changes: list[Change] = field(default_factory=list)
    """Patches of workloads."""
    mark: bool | None = None
    """True marks the claims as this request's, False takes the mark away, None leaves it."""


def stage_job(request: RestoreRequest, stage: Stage, attempt: int) -> str:
    """Name of the Job of one attempt at one stage."""
    if stage is Stage.RESTORE:
        return restore_job(request, attempt)
    # The old data of several members are deleted one after another, each where that member runs.
    which = [claim_to_clear(place_of(request.status))] if stage is Stage.DISCARD and request.status.in_place else []
    about = [stage.value, *(each for each in which if each != place_of(request.status).claim), str(attempt)]
    return job_name(request.metadata.name, "RestoreRequest", request.metadata.uid, *about)


def claim_to_clear(place: InPlaceStatus) -> str:
    """The claim whose old data are deleted next."""
    return place.old_claims[0] if place.old_claims else place.claim


def attempts_at(status: RestoreRequestStatus, stage: Stage) -> list[Attempt]:
    """The attempts that were recorded of a stage."""
    if stage is Stage.RESTORE:
        return status.attempts
    found: list[Attempt] = getattr(place_of(status), stage.value)
    return found


def with_attempts(status: RestoreRequestStatus, stage: Stage, attempts: list[Attempt]) -> RestoreRequestStatus:
    if stage is Stage.RESTORE:
        return status.model_copy(update={"attempts": attempts})
    return with_place(status, **{stage.value: attempts})


def place_of(status: RestoreRequestStatus) -> InPlaceStatus:
    return status.in_place or InPlaceStatus()


def with_place(status: RestoreRequestStatus, **changes: object) -> RestoreRequestStatus:
    return status.model_copy(update={"in_place": place_of(status).model_copy(update=changes)})


class Look:
    """One look at one request."""

    def __init__(self, request: RestoreRequest, seen: ObservedInPlace, now: datetime) -> None:
        self.request = request
        self.seen = seen
        self.now = now
        self.uid = request.metadata.uid
        self.status = request.status
        # Who has handed over knows where, whatever becomes of the workload.
        if seen.home is not None and not self.place.handed_over:
            self.status = with_place(self.status, **self.whereabouts(seen.home))
        if self.place.claim:
            self.status = self.status.model_copy(update={"target": f"{self.place.claim}, in place"})
        if self.several:
            self.status = self.status.model_copy(update={"steps": in_place_steps.of_several(self.status.steps)})

    def whereabouts(self, home: Home) -> dict[str, object]:
        """Where the data are. Once somebody has looked at the members, these count, however many there are now."""
        looked_at = bool(attempts_at(self.request.status, Stage.PREFLIGHT))
        members = self.place.members if looked_at else list(home.members)
        known = self.place.claim if looked_at else ""
        claim = self.seen.marked_primary or known if members else home.claim or known
        return {"claim": claim, "members": members, "data_directory": home.data_directory}

    @property
    def place(self) -> InPlaceStatus:
        return place_of(self.status)

    @property
    def several(self) -> bool:
        """Whether the server has more members than one."""
        return bool(self.place.members)

    @property
    def claims_named(self) -> str:
        """The claims with data of the server, for people."""
        return named(self.place.members or [self.place.claim])

    @property
    def replaces(self) -> str:
        target = self.request.spec.target.in_place
        return target.replaces if target is not None else ""

    @property
    def begun(self) -> bool:
        """Whether anything may have been stopped, or touched."""
        stopped = any(each.stopped_by(self.uid) for each in (*self.seen.services, *self.servers))
        return self.seen.marked_by == self.uid or stopped or self.data_touched

    @property
    def server_stopped(self) -> bool:
        """Whether this request has stopped the server."""
        return any(each.stopped_by(self.uid) for each in self.servers)

    @property
    def data_touched(self) -> bool:
        """Whether a Job may have come near the data."""
        return bool(self.status.attempts) or self.job(Stage.RESTORE).phase != JobPhase.ABSENT

    @property
    def servers(self) -> list[Workload]:
        return [self.seen.server] if self.seen.server is not None else []

    def job(self, stage: Stage) -> JobState:
        return self.seen.jobs.get(stage, ABSENT)

    def job_at_work(self, stage: Stage) -> str | None:
        """Name of the stage's Job while it is queued or runs."""
        job = self.job(stage)
        return job.name if job.phase in (JobPhase.QUEUED, JobPhase.RUNNING) else None

    @property
    def name(self) -> str:
        """The request, as the workloads that it stops are told."""
        return f"{self.request.metadata.namespace}/{self.request.metadata.name}"

    def decide(self, stage: Stage) -> Decision:
        """What to do about a stage; its attempts are recorded as far as they are known."""
        limit = FOR_EVER if stage is Stage.PUT_BACK else MAX_ATTEMPTS
        decision = decide(attempts_at(self.status, stage), self.job(stage), now=self.now, limit=limit)
        self.status = with_attempts(self.status, stage, decision.attempts)
        return decision

    def pursue(self, stage: Stage, decision: Decision, *, reason: str, what: str) -> InPlacePlan:
        """The plan for a stage that has not ended: start its Job, wait, or back off."""
        if decision.verdict == Verdict.BACK_OFF:
            return self.said(in_progress(decision.reason, decision.message), decision.seconds)
        if decision.verdict == Verdict.WAIT:
            told = self.seen.progress.detail if self.seen.progress is not None and stage is Stage.PREFLIGHT else ""
            message = decision.message or f"Job {self.job(stage).name} {what}{f': {told}' if told else ''}"
            said = reason if self.job(stage).phase == JobPhase.RUNNING else decision.reason
            return self.said(in_progress(said, message), WAIT_SECONDS)
        if self.seen.obstacle is not None and stage in (Stage.PREFLIGHT, Stage.RESTORE):
            return self.said(in_progress(self.seen.obstacle.reason, self.seen.obstacle.message), WAIT_SECONDS)
        begun = self.said(in_progress(reason, f"attempt {decision.number} begins: a Job {what}"), WAIT_SECONDS)
        begun.launch = (stage, decision.number)
        return begun

    def at_step(self, step: str, message: str = "") -> None:
        """Says that the step is worked on, and what comes before it is done."""
        steps = in_place_steps.steps_at(self.status.steps, step, self.now, message=message)
        self.status = self.status.model_copy(update={"steps": steps, "step": step, "progress": None})

    def said(self, judgments: Sequence[Judgment], again_after: float | None) -> InPlacePlan:
        """A plan with an Event where Ready turned."""
        notices = told(judgments, self.request.status)
        return InPlacePlan(status=self.status, judgments=list(judgments), notices=notices, again_after=again_after)
