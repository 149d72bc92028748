"""What to do about a RestoreRequest, and what to say about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from pgwarden.api.conditions import Judgment, find, in_progress, ready, stalled
from pgwarden.api.quantities import human_bytes, human_seconds, parse_quantity
from pgwarden.api.wal import USUAL_SEGMENT_BYTES, parse_lsn, room_to_recover
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import Decision, Verdict, decide
from pgwarden.jobs.names import job_name
from pgwarden.jobs.plan import REPORT_UNREADABLE, Plan, report_of, told, with_progress
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import Progress, Result, shorten
from pgwarden.restores import parts
from pgwarden.restores.contract import RecoverReport, Resolved
from pgwarden.restores.drills import given_up, in_words, is_drill, measured
from pgwarden.restores.inspecting import INSPECTING, open_copy
from pgwarden.restores.parts import wants_parts
from pgwarden.restores.parts_contract import LoadReport, PartReport, PartsReport
from pgwarden.restores.progress import DRILL_STEPS, DUMP_STEPS, PARTS_STEPS, STEPS, steps_of
from pgwarden.restores.resource import (
    NewInstance,
    ResolvedPoint,
    RestoreRequest,
    RestoreRequestStatus,
    RestoreTarget,
)
from pgwarden.restores.scratch import on_scratch, scratch_storage
from pgwarden.restores.told import with_told

WAIT_SECONDS = 10.0
START_LOOK_SECONDS = 2.0
# What a file system keeps for itself: ext4 about 5%.
FILE_SYSTEM_FACTOR = 1.05
PORT = 5432


@dataclass(frozen=True)
class ObservedRestore:
    """What is known about a RestoreRequest beside its own object."""

    backup: DatabaseBackup | None
    job: JobState
    obstacle: Obstacle | None = None
    """Why work cannot begin now."""
    refusal: Obstacle | None = None
    """Why work can never begin as asked for."""
    busy: str = ""
    progress: Progress | None = None
    instance_ready: bool = False
    """Whether the new instance answers."""
    instance_problem: str = ""
    """What its pod says while it does not."""


@dataclass
class RestorePlan(Plan):
    """A Plan, the number of the attempt to start, and whether the new instance or its DatabaseCluster is to be made."""

    attempt: int | None = None
    make_instance: bool = False
    make_cluster: bool = False


def restore_job(request: RestoreRequest, attempt: int) -> str:
    """Name of the Job of one attempt."""
    return job_name(request.metadata.name, "RestoreRequest", request.metadata.uid, str(attempt))


def new_instance(request: RestoreRequest) -> NewInstance:
    """The new instance of a request. Raises ValueError for one that wants something else."""
    if request.spec.target.new_instance is None:
        raise ValueError(f"RestoreRequest {request.metadata.name} wants no new instance")
    return request.spec.target.new_instance


def secret_name(request: RestoreRequest) -> str:
    return f"{new_instance(request).name}-superuser"


def claim_name(request: RestoreRequest) -> str:
    """The name the StatefulSet gives its claim, so that it takes the restored one."""
    return f"data-{new_instance(request).name}-0"


def finished(request: RestoreRequest) -> bool:
    """Whether nothing more is to be done about it."""
    done, stuck = find(request.status.conditions, "Ready"), find(request.status.conditions, "Stalled")
    completed = done is not None and done.status == "True" and request.status.completion_time is not None
    return completed or (stuck is not None and stuck.status == "True")


def plan(request: RestoreRequest, observed: ObservedRestore, now: datetime) -> RestorePlan:
    """The status of a RestoreRequest, and what is to be started, made or ended."""
    if finished(request):
        return RestorePlan(status=request.status)
    decision = decide(request.status.attempts, observed.job, now=now)
    known = {"attempts": decision.attempts, "target": target_in_short(request.spec.target)}
    status = with_told(with_resolved(request.status.model_copy(update=known), observed.job), observed.job)
    if request.spec.cancel:
        return cancelled(request, status, observed)
    if status.restored_to is not None and not on_scratch(request):
        # The data are recovered, whatever has become of the Job since. Another one must not come near them.
        return hand_over(request, status, observed, now)
    late = given_up(request, observed.job, held_up(observed), now) if is_drill(request) else None
    if late is not None:
        over = said(request, status.model_copy(update={"progress": None}), stalled(late.reason, late.message), None)
        over.delete_job = observed.job.name or None
        return over
    if decision.verdict == Verdict.START:
        return start(request, status, decision, observed, now)
    if decision.verdict == Verdict.WAIT:
        status = with_steps(request, with_progress(status, observed.progress, now), observed)
        if looked_at := open_copy(request, status, observed.job):
            return said(request, status, in_progress(INSPECTING, looked_at), WAIT_SECONDS)
        reason = "Restoring" if observed.job.phase == JobPhase.RUNNING else decision.reason
        at = f", step {status.step}" if status.step else ""
        message = decision.message or f"Job {observed.job.name} restores the backup{at}"
        return said(request, status, in_progress(reason, message), WAIT_SECONDS)
    status = with_steps(request, status.model_copy(update={"progress": None}), observed)
    if decision.verdict == Verdict.BACK_OFF:
        return said(request, status, in_progress(decision.reason, decision.message), decision.seconds)
    if decision.verdict == Verdict.SUCCEEDED:
        report = report_in(request, decision.result)
        if report is None:
            return said(request, status, stalled(REPORT_UNREADABLE, unreadable(request)), None)
        if isinstance(report, LoadReport):
            return loaded(request, status, report.parts, now)
        if isinstance(report, PartsReport):
            return loaded(request, recovered(request, status, report), report.parts, now)
        if is_drill(request):
            status = measured(request, recovered(request, status, report), now)
            return said(request, status, ready("Completed", in_words(status)), None)
        return hand_over(request, recovered(request, status, report), observed, now)
    return said(request, status, stalled(decision.reason, decision.message), None)


def loaded(
    request: RestoreRequest, status: RestoreRequestStatus, made: Sequence[PartReport], now: datetime
) -> RestorePlan:
    """The plan for parts that are in the server that runs."""
    status = parts.loaded(request, status, made, now)
    return said(request, status, ready("Completed", parts.in_words(request, status)), None)


def report_in(request: RestoreRequest, result: Result | None) -> RecoverReport | LoadReport | None:
    """What the agent reported; None where it cannot be read."""
    if not wants_parts(request):
        return report_of(RecoverReport, result)
    return report_of(PartsReport, result) or report_of(LoadReport, result)


def start(
    request: RestoreRequest,
    status: RestoreRequestStatus,
    decision: Decision,
    observed: ObservedRestore,
    now: datetime,
) -> RestorePlan:
    """The plan that starts an attempt, or says what it waits for or why it never will begin."""
    if request.spec.suspend:
        return said(request, status, in_progress("Suspended", "the restore is held back (spec.suspend)"), None)
    refusal = observed.refusal or too_small(request, observed.backup)
    if refusal is not None:
        return said(request, status, stalled(refusal.reason, refusal.message), None)
    if observed.obstacle is not None:
        return said(request, status, in_progress(observed.obstacle.reason, observed.obstacle.message), WAIT_SECONDS)
    if observed.busy:
        return said(request, status, in_progress("Queued", observed.busy), WAIT_SECONDS)
    backup = observed.backup
    status = status.model_copy(
        update={
            # Where the copy is thrown away there is nothing to go on with: each attempt has a volume of its own.
            "steps": [] if on_scratch(request) else status.steps,
            "start_time": status.start_time or now.replace(microsecond=0),
            "backup_id": backup.status.backup_id if backup else status.backup_id,
            "location": backup.status.location if backup else status.location,
            "restored_time": backup.status.completion_time if backup else status.restored_time,
            "secret_name": "" if on_scratch(request) else secret_name(request),
        }
    )
    status = with_steps(request, status, observed)
    what = f"backup {status.backup_id}" if status.backup_id else "the target"
    message = f"attempt {decision.number}: {what} is restored {where_to(request)}"
    begun = said(request, status, in_progress("Starting", message), WAIT_SECONDS)
    begun.attempt = decision.number
    return begun


def target_in_short(target: RestoreTarget) -> str:
    """What is restored into, in a word: the new instance, the cluster loaded into, else what kind of target it is."""
    if target.into is not None:
        return f"{target.into.cluster_ref.name}, beside"
    return target.new_instance.name if target.new_instance is not None else next(iter(target.to_json()), "")


def where_to(request: RestoreRequest) -> str:
    """Where to, as words of a sentence."""
    if is_drill(request):
        return "in a drill"
    if wants_parts(request):
        return f"into {parts.described(request)}"
    return f"into the new instance {new_instance(request).name}"


def with_resolved(status: RestoreRequestStatus, job: JobState) -> RestoreRequestStatus:
    """The status with where the restore begins, once the Job has told."""
    told = job.told.get("restore")
    try:
        resolved = Resolved.model_validate(told.report["resolved"]) if told is not None else None
    except (KeyError, ValidationError):
        return status
    if resolved is None:
        return status
    point = ResolvedPoint(
        target=shorten(resolved.target, 256),
        backup_id=resolved.backup_id,
        chain=resolved.chain,
        timeline=resolved.timeline,
        lsn=resolved.end_lsn,
        time=resolved.end_time,
        archived_lsn=resolved.archived_lsn,
        archived_time=resolved.archived_time,
        known_until=resolved.known_until,
    )
    known = {"resolved": point, "backup_id": resolved.backup_id, "location": resolved.location}
    return status.model_copy(update=known)


def too_small(request: RestoreRequest, backup: DatabaseBackup | None) -> Obstacle | None:
    """A claim that cannot hold the backup is refused before anything is made; a dump passes through the pod."""
    if parts.from_dump(backup):
        return None
    target = request.spec.target
    size = scratch_storage(request).size if on_scratch(request) else new_instance(request).storage.size
    needed = space_needed(backup) if backup is not None else 0
    if size is None or parse_quantity(size) >= needed:
        return None
    room = ", and the instance needs room to grow" if target.new_instance is not None else ""
    where = next(name for name in ("newInstance", "drill", "into") if name in target.to_json())
    message = (
        f"target.{where}.storage.size {size} is too small: restoring and recovering the backup takes at least"
        f" {human_bytes(needed)}{room}. Make a new RestoreRequest with a larger claim"
    )
    return Obstacle("VolumeTooSmall", message)


def space_needed(backup: DatabaseBackup) -> int:
    """Bytes the claim must have at least; the Job, which sees the volume, counts again with what is really free."""
    status = backup.status
    wal = parse_lsn(status.stop_lsn) - parse_lsn(status.start_lsn) if status.stop_lsn and status.start_lsn else 0
    segments = wal // USUAL_SEGMENT_BYTES + 1
    return int(room_to_recover(status.plain_bytes or 0, segments, USUAL_SEGMENT_BYTES) * FILE_SYSTEM_FACTOR)


def cancelled(request: RestoreRequest, status: RestoreRequestStatus, observed: ObservedRestore) -> RestorePlan:
    """The plan that ends a restore; nothing that was restored is deleted without a person."""
    if not status.attempts:
        message = "the restore was cancelled (spec.cancel) before it began; nothing was made for it"
        return said(request, status, stalled("Cancelled", message), None)
    message = f"the restore was cancelled (spec.cancel); {left_behind(request, status)}"
    plan = said(request, status.model_copy(update={"progress": None}), stalled("Cancelled", message), None)
    if observed.job.phase in (JobPhase.QUEUED, JobPhase.RUNNING):
        plan.delete_job = observed.job.name
    return plan


def left_behind(request: RestoreRequest, status: RestoreRequestStatus) -> str:
    """What is left of a restore that was cancelled, and what to do with it."""
    if is_drill(request):
        return "what the drill had restored goes with its Job"
    if wants_parts(request):
        return parts.left_behind(request)
    names = f"claim {claim_name(request)} and Secret {secret_name(request)}"
    if status.restored_to is not None:
        names = f"StatefulSet and Service {new_instance(request).name}, {names}"
    return f"delete {names} when nothing needs them"


def held_up(observed: ObservedRestore) -> str:
    """Why no attempt can begin now, or empty."""
    return observed.obstacle.message if observed.obstacle is not None else observed.busy


def recovered(request: RestoreRequest, status: RestoreRequestStatus, report: RecoverReport) -> RestoreRequestStatus:
    """The status with what the recovery reported."""
    return status.model_copy(
        update={
            "restored_to": report.end_lsn or None,
            "restored_time": restored_time(request, status, report),
            "timeline": report.timeline,
            "checks_passed": sum(check.passed for check in report.checks),
            "host": "" if on_scratch(request) else f"{new_instance(request).name}.{request.metadata.namespace}.svc",
        }
    )


def restored_time(request: RestoreRequest, status: RestoreRequestStatus, report: RecoverReport) -> datetime | None:
    """The moment the data are of: the time that was asked for, or the last one that recovery is known to have come to.

    The archive tells the time also while nothing is committed.
    """
    target = request.spec.source.target
    if target is None or target.immediate:
        resolved = status.resolved.time if status.resolved is not None else None
        return status.restored_time or resolved
    if target.time is not None:
        return target.time
    point = status.resolved or ResolvedPoint()
    told = [report.end_time]
    reached = parse_lsn(report.end_lsn) if report.end_lsn else 0
    if target.latest and point.archived_lsn and parse_lsn(point.archived_lsn) <= reached:
        told.append(point.archived_time)
    return max((each for each in told if each is not None), default=point.time)


def unreadable(request: RestoreRequest) -> str:
    """The sentence for a recovery that ended well, as far as can be told."""
    if wants_parts(request):
        where = f"in {parts.described(request)}"
    else:
        where = "of the drill" if is_drill(request) else f"on claim {claim_name(request)}"
    return (
        f"the data {where} are recovered, but the agent's report cannot be read. Bring operator"
        " and agent images to the same version and make a new RestoreRequest"
    )


def hand_over(
    request: RestoreRequest,
    status: RestoreRequestStatus,
    observed: ObservedRestore,
    now: datetime,
) -> RestorePlan:
    """The plan for data that are recovered and checked: make the instance, wait until it answers."""
    name = new_instance(request).name
    status = status.model_copy(update={"progress": None})
    if not observed.instance_ready:
        status = with_steps(request, status, observed, starting=True, now=now)
        message = f"the data are recovered to {status.restored_to} and checked; StatefulSet {name} is starting"
        if observed.obstacle is not None:
            message += f" as soon as it can be made: {observed.obstacle.message}"
        elif observed.instance_problem:
            message += f": {observed.instance_problem}"
        waiting = said(request, status, in_progress("StartingInstance", message), START_LOOK_SECONDS)
        waiting.make_instance = True
        return waiting
    began = status.start_time or now
    seconds = max(0.0, (now - began).total_seconds())
    status = with_steps(request, status, observed, starting=True, started=True, now=now).model_copy(
        update={"completion_time": now.replace(microsecond=0), "duration_seconds": round(seconds, 1), "step": "Done"}
    )
    message = (
        f"{status.host}:{PORT} answers, restored to {status.restored_to} in {human_seconds(seconds)};"
        f" its superuser's password is in Secret {secret_name(request)}"
    )
    done = said(request, status, ready("Completed", message), None)
    done.make_cluster = True
    return done


def with_steps(
    request: RestoreRequest,
    status: RestoreRequestStatus,
    observed: ObservedRestore,
    *,
    starting: bool = False,
    started: bool = False,
    now: datetime | None = None,
) -> RestoreRequestStatus:
    """The status with its steps brought up to date."""
    steps = steps_of(
        status.steps,
        observed.job,
        observed.progress,
        names=step_names(request, status, observed.backup),
        starting=starting,
        started=started,
        now=now,
    )
    current = next((step.name for step in steps if step.state in ("Running", "Failed")), status.step)
    return status.model_copy(update={"steps": steps, "step": current})


def step_names(request: RestoreRequest, status: RestoreRequestStatus, backup: DatabaseBackup | None) -> Sequence[str]:
    """The steps that the restore goes."""
    if wants_parts(request):
        # The backup may be gone by now.
        dump = [each.name for each in status.steps] == list(DUMP_STEPS) or parts.from_dump(backup)
        return DUMP_STEPS if dump else PARTS_STEPS
    return DRILL_STEPS if is_drill(request) else STEPS


def said(
    request: RestoreRequest,
    status: RestoreRequestStatus,
    judgments: Sequence[Judgment],
    again_after: float | None,
) -> RestorePlan:
    """A plan with an Event where Ready turned."""
    notices = told(judgments, request.status)
    return RestorePlan(status=status, judgments=list(judgments), notices=notices, again_after=again_after)
