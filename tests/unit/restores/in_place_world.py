"""A small cluster to plan restores in place against: workloads, a claim, Jobs that do something to a volume.

It is no stand-in for Kubernetes (end-to-end tests have the real one): it only lets a plan be followed through thousands
of orders of events, in which any write may be lost after it took place, and any Job may fail or lose its result.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pgwarden.clusters.resource import DependentKind
from pgwarden.jobs.attempts import begin
from pgwarden.jobs.plan import conclude
from pgwarden.jobs.state import ABSENT, JobPhase, JobState
from pgwarden.jobs.task import Outcome, Result
from pgwarden.restores.contract import Resolved
from pgwarden.restores.fence import Home
from pgwarden.restores.going_on import Archiving
from pgwarden.restores.in_place import plan
from pgwarden.restores.in_place_claims import MARK, annotation, marked_by, marked_primary, marks, unmarks
from pgwarden.restores.in_place_contract import PreflightReport
from pgwarden.restores.in_place_look import (
    InPlacePlan,
    ObservedInPlace,
    Stage,
    attempts_at,
    place_of,
    stage_job,
    with_attempts,
)
from pgwarden.restores.plan import finished
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.stopping import RECORD, Change, Workload
from tests.support.objects import NAMESPACE, NOW, body

Body = dict[str, Any]

TOKEN = "7301-1"
UID = "uid-of-rescue"
HOME = Home(claim="data-operational-0", mount_path="/data", data_directory="/data/pgdata")
PRIMARY_CLAIM = "data-operational-1"
HOME_OF_TWO = Home("", "/data", "/data/pgdata", members=("data-operational-0", PRIMARY_CLAIM))


def in_place_request(status: Body | None = None, **spec: Any) -> RestoreRequest:
    """A RestoreRequest that replaces the data of the cluster."""
    full = {"source": {"backupRef": {"name": "nightly"}}, "target": {"inPlace": {"replaces": TOKEN}}, **spec}
    return RestoreRequest.of(body("RestoreRequest", "rescue", full, status))


def workload(kind: DependentKind, name: str, **spec: Any) -> Workload:
    status = {"replicas": spec.get("replicas", 0)}
    return Workload(kind, NAMESPACE, name, body(kind.value, name, spec, status))


def server(replicas: int = 1) -> Workload:
    return workload(DependentKind.STATEFUL_SET, "operational", replicas=replicas)


def services() -> list[Workload]:
    """Workloads of each kind, some of which were stopped before."""
    return [
        workload(DependentKind.DEPLOYMENT, "api", replicas=3),
        workload(DependentKind.DEPLOYMENT, "idle", replicas=0),
        workload(DependentKind.STATEFUL_SET, "queue", replicas=2),
        workload(DependentKind.CRON_JOB, "nightly", suspend=False),
        workload(DependentKind.CRON_JOB, "paused", suspend=True),
    ]


def wanted(each: Workload) -> Body:
    """What is wanted of a workload."""
    return {key: value for key, value in each.spec.items() if key in ("replicas", "suspend")}


def success(reason: str, report: Mapping[str, Any]) -> Result:
    return Result(outcome=Outcome.SUCCEEDED, reason=reason, message=f"{reason}.", report=dict(report))


def failure(reason: str, **report: str) -> Result:
    return Result(outcome=Outcome.FAILED, reason=reason, message=f"{reason}.", report=dict(report))


def annotated(changed: Body, patch: Body) -> Body:
    """The annotations of an object after a patch."""
    merged = (changed["metadata"].get("annotations") or {}) | patch["metadata"]["annotations"]
    return {key: value for key, value in merged.items() if value is not None}


RESOLVED = Resolved(
    backup_id="B1", location="B1", target="its end", timeline=1, end_lsn="0/3000100", wal_until="0/3000100", archive="a"
)
FOUND = PreflightReport(resolved=RESOLVED, needed_bytes=1, needed_files=1)
HANDED_OVER = {"pgdata": "/data/pgdata", "oldData": "/data/pgdata.before-0"}
RECOVERED: Body = {"endLsn": "0/3000110", "timeline": 2, "systemIdentifier": "7301", "checks": []}
RECOVERED["findings"] = ["prepared transaction billing-17 in postgres"]


@dataclass
class Volume:
    """What the data volume holds, as far as the order of things is concerned."""

    guarded: bool = False
    recovered: bool = False
    replaced: bool = False
    given_up: bool = False

    def restore(self) -> Result:
        if self.replaced:
            return success("Recovered", RECOVERED)
        if self.given_up:
            return failure("PutBack")
        self.guarded = self.recovered = True
        return success("Recovered", RECOVERED)

    def hand_over(self) -> Result:
        if self.given_up or not (self.recovered or self.replaced):
            return failure("NothingLaidOut")
        self.guarded, self.replaced = False, True
        return success("HandedOver", HANDED_OVER)

    def put_back(self) -> Result:
        if self.replaced:
            return failure("AlreadyHandedOver", **HANDED_OVER)
        self.guarded, self.given_up, self.recovered = False, True, False
        return success("PutBack", {"pgdata": "/data/pgdata"})

    def see_connections(self) -> Result:
        return success("NobodyConnected", {})

    def run(self, stage: Stage) -> Result:
        """What an agent does, all of it, and what it tells."""
        return {
            Stage.CONNECTIONS: self.see_connections,
            Stage.RESTORE: self.restore,
            Stage.HAND_OVER: self.hand_over,
            Stage.PUT_BACK: self.put_back,
        }[stage]()


@dataclass
class World:
    """The cluster around one request."""

    request: RestoreRequest = field(default_factory=in_place_request)
    server: Workload = field(default_factory=server)
    services: list[Workload] = field(default_factory=services)
    volume: Volume = field(default_factory=Volume)
    home: Home = HOME
    on_one_node: bool = True
    """Whether the preflight can mount the claims of all members."""
    standbys_ready: bool = True
    claims: dict[str, Body] = field(default_factory=dict)
    token: str = TOKEN
    jobs: dict[str, JobState] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    archiving: list[Archiving] = field(default_factory=list)
    """The archives of the server's WAL."""
    fulls: list[str] = field(default_factory=list)
    now: datetime = NOW
    trouble: list[str] = field(default_factory=list)
    """Promises that were broken on the way."""

    def __post_init__(self) -> None:
        if self.home.members:
            self.server = server(len(self.home.members))
        self.claims = {name: body("PersistentVolumeClaim", name, {}) for name in self.home.claims}
        self.before = {str(each): wanted(each) for each in (self.server, *self.services)}

    @property
    def mark(self) -> str:
        return marked_by(self.claims.values(), UID)

    @property
    def ended(self) -> bool:
        return finished(self.request)

    def observed(self) -> ObservedInPlace:
        jobs = {}
        for stage in Stage:
            attempts = attempts_at(self.request.status, stage)
            name = attempts[-1].job if attempts else stage_job(self.request, stage, 1)
            jobs[stage] = self.jobs.get(name, ABSENT)
        at_work = [
            name
            for name, job in self.jobs.items()
            if job.phase == JobPhase.RUNNING and self.stages[name] not in (Stage.PREFLIGHT, Stage.CONNECTIONS)
        ]
        return ObservedInPlace(
            token=self.token,
            home=self.home,
            marked_by=self.mark,
            all_marked=all(annotation(each, MARK) == UID for each in self.claims.values()),
            marked_primary=marked_primary(self.claims, UID),
            server=self.server,
            services=self.services,
            strangers=["operational-0"] if self.server.replicas else [],
            own_pods=at_work,
            jobs=jobs,
            server_ready=self.server.replicas > 0 and not self.volume.guarded,
            archiving=self.archiving,
            fulls=self.fulls,
            members_behind="" if self.standbys_ready else "the standby is not ready",
        )

    def look(self, *, lose_status: bool = False, stop_after: int = 1 << 10) -> InPlacePlan:
        """One look of the operator. It may die after any of its writes: `stop_after` of them, or before the status."""
        self.now += timedelta(seconds=1)
        planned = plan(self.request, self.observed(), self.now)
        writes: list[Change | tuple[str, Body]] = [*planned.changes]
        if planned.mark is not None:
            place = place_of(planned.status)
            writes += marks(self.claims, place, UID, "a note") if planned.mark else unmarks(self.claims, UID)
        for write in writes[:stop_after]:
            if isinstance(write, Change):
                self.patch(write.workload, write.patch)
            else:
                name, patch = write
                self.claims[name]["metadata"]["annotations"] = annotated(self.claims[name], patch)
        if len(writes) > stop_after:
            return planned
        if planned.launch is not None and not self.launch(planned):
            return planned
        if planned.delete_job:
            self.jobs.pop(planned.delete_job, None)
        if not lose_status:
            status = conclude(planned, self.request.status, generation=1, now=self.now)
            self.request = self.request.model_copy(update={"status": status})
        return planned

    def launch(self, planned: InPlacePlan) -> bool:
        assert planned.launch is not None
        stage, number = planned.launch
        name = stage_job(self.request, stage, number)
        near_data = stage not in (Stage.PREFLIGHT, Stage.CONNECTIONS, Stage.LOOK)
        if near_data and self.home.members and not marked_primary(self.claims, UID):
            self.trouble.append(f"{stage} begins, and no claim says that it is the primary's")
        if name not in self.jobs:
            self.jobs[name] = JobState(JobPhase.RUNNING, name=name, attempt=number, created=self.now)
            self.stages[name] = stage
        attempts = attempts_at(planned.status, stage)
        if not any(attempt.job == name for attempt in attempts):
            planned.status = with_attempts(planned.status, stage, [*attempts, begin(number, name, now=self.now)])
        return True

    def patch(self, target: Workload, patch: Body) -> None:
        """Carries a patch out, and looks whether it keeps what was promised."""
        changed = copy.deepcopy(target.body)
        assert changed is not None
        changed["metadata"]["annotations"] = annotated(changed, patch)
        changed["spec"] |= patch.get("spec", {})
        changed["status"] = {"replicas": changed["spec"].get("replicas", 0)}
        new = Workload(target.kind, target.namespace, target.name, changed)
        self.check(target, new)
        if target.name == self.server.name:
            self.server = new
        else:
            self.services = [new if each.name == target.name else each for each in self.services]

    def run(self, stage: Stage) -> Result:
        """What a Job tells."""
        if stage is Stage.PREFLIGHT:
            seen = self.home.members and self.on_one_node
            found = FOUND.model_copy(update={"primary": PRIMARY_CLAIM if seen else ""})
            return success("Passed", found.model_dump(mode="json", by_alias=True))
        if stage is Stage.LOOK:
            return success("Found", {"primary": PRIMARY_CLAIM})
        if stage is Stage.DISCARD:
            return success("Discarded", {"pgdata": "/data/pgdata"})
        return self.volume.run(stage)

    def check(self, old: Workload, new: Workload) -> None:
        was = self.before[str(old)]
        if wanted(new) != was and RECORD not in new.annotations:
            known = old.name == self.server.name and self.volume.replaced
            if not known:
                self.trouble.append(f"{new} was stopped without being recorded")
        if RECORD in new.annotations:
            record = json.loads(new.annotations[RECORD])
            if {key: record[key] for key in was} != was:
                self.trouble.append(f"{new} is recorded as {record}, and was {was}")
        if new.name == self.server.name and new.replicas > old.replicas and self.volume.guarded:
            self.trouble.append("the server was started while the guard stands")

    def finish_job(self, outcome: str) -> None:
        """A Job that runs ends: well, killed before or after its work, or with a failure."""
        running = [name for name, job in self.jobs.items() if job.phase == JobPhase.RUNNING]
        if not running:
            return
        name = running[0]
        stage = self.stages[name]
        if stage is Stage.HAND_OVER and self.server.replicas and not (self.volume.guarded or self.volume.replaced):
            self.trouble.append("data were replaced under a server that runs")
        result: Result | None = None
        if outcome in ("well", "result lost"):
            result = self.run(stage)
        if outcome == "refused":
            result = failure("Refused")
        if outcome == "result lost":
            result = None
        failed = result is None or result.outcome == Outcome.FAILED
        self.jobs[name] = JobState(
            JobPhase.FAILED if failed else JobPhase.SUCCEEDED,
            name=name,
            attempt=self.jobs[name].attempt,
            reason=result.reason if result is not None else "PodDeleted",
            message=result.message if result is not None else "",
            result=result,
            told={"agent": result} if result is not None else {},
            finished=self.now,
        )
