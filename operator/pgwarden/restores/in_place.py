"""What to do about a restore in place, and what to say about it. Pure.

Each look does one thing: it changes workloads, or marks the claim, or starts a Job, or waits. Where the work stands is
read from the cluster: the mark on the claim says that it has begun, the record on each workload what that was, the Jobs
and the volume behind them the rest. So whoever looks next goes on, whatever was lost in between:

    preflight -> mark the claims -> stop the services -> see that nobody is connected -> stop the server
      -> restore beside the old data -> hand over -> start the server -> archive its timeline -> start the services
      -> finished
    any failure, or spec.cancel, before the hand-over:
      -> put the old data back -> start the server -> start the services -> put back
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgwarden.api.conditions import Judgment, in_progress, judge, ready, stalled
from pgwarden.api.quantities import human_seconds
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import Verdict
from pgwarden.jobs.plan import REPORT_UNREADABLE, report_of, told, with_progress
from pgwarden.jobs.state import JobPhase
from pgwarden.restores import going_on, in_place_steps
from pgwarden.restores.contract import RecoverReport
from pgwarden.restores.in_place_connections import SeeingConnections
from pgwarden.restores.in_place_contract import PreflightReport
from pgwarden.restores.in_place_look import (
    SOON_SECONDS,
    WAIT_SECONDS,
    InPlacePlan,
    ObservedInPlace,
    Stage,
    place_of,
    with_place,
)
from pgwarden.restores.inspecting import INSPECTING, open_copy
from pgwarden.restores.plan import finished, restored_time, with_resolved
from pgwarden.restores.resource import RestoreRequest, RestoreRequestStatus, Step, StepState
from pgwarden.restores.stopping import Change, start, stop
from pgwarden.restores.told import with_told

OLD_DATA_DISCARDED = "OldDataDiscarded"


def plan(request: RestoreRequest, seen: ObservedInPlace, now: datetime) -> InPlacePlan:
    """The status of a restore in place, and the one thing that is to be done."""
    return Restoration(request, seen, now).plan()


def at_rest(request: RestoreRequest) -> bool:
    """Whether nothing is to be done about a restore in place, also not about the old data that it keeps."""
    place = place_of(request.status)
    return finished(request) and not (request.spec.discard_old and place.handed_over and place.old_data)


class Restoration(SeeingConnections):
    """One look at one request."""

    def plan(self) -> InPlacePlan:
        if finished(self.request):
            return self.discard_old()
        if self.place.handed_over:
            return self.bring_up()
        handing_over = bool(self.place.hand_over) or self.job(Stage.HAND_OVER).phase != JobPhase.ABSENT
        if self.place.failure_reason or (self.request.spec.cancel and not handing_over):
            return self.give_up()
        return self.work() if self.begun else self.before()

    def before(self) -> InPlacePlan:
        """Nothing was stopped yet: whether it can succeed at all."""
        if self.request.spec.suspend:
            return self.said(in_progress("Suspended", "the restore is held back (spec.suspend)"), None)
        if not self.seen.token:
            message = "the DatabaseCluster has not been seen yet, so nobody knows what would be replaced"
            return self.said(in_progress("ClusterNotObserved", message), WAIT_SECONDS)
        if self.seen.abandoned:
            message = (
                f"it waits until what another RestoreRequest (UID {self.seen.marked_by}), which was deleted on the way,"
                " had stopped is put back: the condition RestoresConcluded of the DatabaseCluster tells"
            )
            return self.said(in_progress("Queued", message), WAIT_SECONDS)
        refusal = self.seen.refusal or self.wrong_token() or self.taken() or self.scaled_since()
        if refusal is not None:
            return self.said(stalled(refusal.reason, refusal.message), None)
        decision = self.decide(Stage.PREFLIGHT)
        if decision.verdict != Verdict.SUCCEEDED:
            self.at_step(in_place_steps.PREFLIGHT)
        if decision.verdict == Verdict.FAILED:
            message = f"{decision.message} Nothing was stopped"
            failed = in_place_steps.failed(self.status.steps, decision.message, self.now)
            self.status = self.status.model_copy(update={"steps": failed})
            return self.said(stalled(decision.reason, message), None)
        if decision.verdict != Verdict.SUCCEEDED:
            return self.pursue(
                Stage.PREFLIGHT, decision, reason="Preflight", what="looks whether the restore can succeed"
            )
        if self.seen.busy:
            return self.said(in_progress("Queued", self.seen.busy), WAIT_SECONDS)
        report = report_of(PreflightReport, decision.result)
        if self.several and report is not None and report.primary:
            self.status = with_place(self.status, claim=report.primary)
        if self.request.status.start_time is None:
            # On record first: once the mark stands on the claim, nobody asks for the preflight again.
            found = decision.message + self.leftovers_told()
            self.at_step(in_place_steps.PREFLIGHT, found)
            self.status = self.status.model_copy(update={"start_time": self.now.replace(microsecond=0)})
            return self.said(in_progress("Preflight", f"the restore can succeed: {found}"), SOON_SECONDS)
        found = in_place_steps.step_of(self.status.steps, in_place_steps.PREFLIGHT).message
        message = f"the restore can succeed: {found}. The services are stopped now"
        marking = self.said(in_progress("Starting", message), SOON_SECONDS)
        marking.mark = True
        return marking

    def wrong_token(self) -> Obstacle | None:
        if self.seen.token == self.replaces:
            return None
        message = (
            f"the request replaces {self.replaces} (system identifier and timeline), and the restoreToken of the"
            f" DatabaseCluster is {self.seen.token}: the request was carried out before, or the"
            " cluster has been promoted or made anew since. Nothing was stopped. To replace what is there now, copy"
            " status.restoreToken of the DatabaseCluster into a new RestoreRequest"
        )
        return Obstacle("ReplacesAnother", message)

    def leftovers_told(self) -> str:
        """What to know of claims that no member has any more; empty when there are none."""
        if not self.seen.leftovers:
            return ""
        return (
            f"; {', '.join(self.seen.leftovers)} belonged to members that the StatefulSet does not have any more, and"
            " stay as they are: delete them before it is scaled up, or those members come back with old data"
        )

    def scaled_since(self) -> Obstacle | None:
        """Another number of members than the preflight has looked at."""
        then, now = self.place.members, list(self.seen.home.members) if self.seen.home is not None else []
        if then == now or self.seen.home is None:
            return None
        message = (
            f"the StatefulSet was scaled from {max(1, len(then))} to {max(1, len(now))} members since it was looked at."
            " Make a new RestoreRequest"
        )
        return Obstacle("MembersChanged", message)

    def taken(self) -> Obstacle | None:
        if self.seen.marked_by in ("", self.uid):
            return None
        message = (
            f"another RestoreRequest (UID {self.seen.marked_by}) works on {self.claims_named}. Wait for its end, then"
            " make a new RestoreRequest"
        )
        return Obstacle("RestoreRunning", message)

    def work(self) -> InPlacePlan:
        """Everything from the first service that stops to the data in their place."""
        changed = None if self.server_stopped or self.data_touched else self.scaled_since()
        if changed is not None:
            return self.failed(changed.reason, changed.message)
        if not self.seen.all_marked or self.primary_unmarked:
            marking = self.said(in_progress("Starting", f"{self.claims_named} are marked"), SOON_SECONDS)
            marking.mark = True
            return marking
        stopping = self.stop_services() or self.see_connections() or self.stop_server()
        if stopping is not None:
            return stopping
        if self.primary_unknown:
            looking = self.find_primary()
            return looking if looking is not None else self.failed(*self.look_failed)
        decision = self.decide(Stage.RESTORE)
        job = self.job(Stage.RESTORE)
        self.status = with_told(with_resolved(self.status, job), job)
        if self.status.restored_to is None or decision.verdict != Verdict.SUCCEEDED:
            steps = in_place_steps.steps_of_job(self.status.steps, job, self.seen.progress, self.now)
            self.status = self.status.model_copy(update={"steps": steps, "step": running(steps)})
            if decision.verdict == Verdict.FAILED:
                return self.failed(decision.reason, decision.message)
            if decision.verdict != Verdict.SUCCEEDED:
                self.status = with_progress(self.status, self.seen.progress, self.now)
                if looked_at := open_copy(self.request, self.status, job):
                    return self.said(in_progress(INSPECTING, looked_at), WAIT_SECONDS)
                return self.pursue(Stage.RESTORE, decision, reason="Restoring", what="restores beside the old data")
            report = report_of(RecoverReport, decision.result)
            if report is None:
                message = "what the recovery told cannot be read: bring operator and agent images to one version"
                return self.failed(REPORT_UNREADABLE, message)
            self.status = self.recovered(report)
        return self.hand_over()

    def stop_services(self) -> InPlacePlan | None:
        changes = [change for each in self.seen.services if (change := stop(each, self.uid, self.name)) is not None]
        moving = [str(each) for each in self.seen.services if each.body is not None and not each.at_rest]
        return self.stopping(in_place_steps.STOP_SERVICES, changes, moving, "services")

    def stop_server(self) -> InPlacePlan | None:
        if self.seen.server is None or self.seen.server.body is None:
            message = "the StatefulSet of the server is gone. Create it again, or cancel the restore (spec.cancel)"
            return self.said(in_progress("WorkloadNotFound", message), WAIT_SECONDS)
        change = stop(self.seen.server, self.uid, self.name)
        moving = [str(self.seen.server)] if not self.seen.server.at_rest else []
        moving += [f"pod {pod}, which mounts {self.claims_named}" for pod in self.seen.strangers]
        return self.stopping(in_place_steps.STOP_SERVER, [change] if change is not None else [], moving, "server")

    def stopping(self, step: str, changes: list[Change], moving: list[str], what: str) -> InPlacePlan | None:
        """A plan that stops, or waits for what is stopping; None where all is at rest."""
        if not changes and not moving:
            return None
        # Once the long Job has begun, this is somebody's attempt to start things again, and no step of its own.
        if not self.data_touched:
            self.at_step(step)
        names = [*self.place.stopped, *(str(change.workload) for change in changes)]
        self.status = with_place(self.status, stopped=list(dict.fromkeys(names))[:64])
        waits = ", ".join(moving or [str(change.workload) for change in changes])
        message = f"the {what} stop: {waits}"
        planned = self.said(in_progress("Stopping", message), SOON_SECONDS)
        planned.changes = changes
        return planned

    def hand_over(self) -> InPlacePlan:
        """The data are recovered and checked, and nothing mounts the claim: into their place with them."""
        decision = self.decide(Stage.HAND_OVER)
        self.at_step(in_place_steps.HAND_OVER)
        if decision.verdict == Verdict.FAILED:
            return self.failed(decision.reason, decision.message)
        if decision.verdict != Verdict.SUCCEEDED:
            return self.pursue(
                Stage.HAND_OVER, decision, reason="HandingOver", what="puts the restored data in their place"
            )
        return self.handed_over(decision)

    def bring_up(self) -> InPlacePlan:
        """The restored data are in their place: server, then services."""
        if not place_of(self.request.status).handed_over:
            # On record first: an operator that dies after it has started the server must not stop it again.
            self.at_step(in_place_steps.START_SERVER)
            message = "the restored data are in their place, and the server starts"
            return self.said(in_progress("StartingServer", message), SOON_SECONDS)
        server = self.seen.server
        change = start(server, self.uid, at_least=1) if server is not None else None
        if change is not None or not self.seen.server_ready:
            self.at_step(in_place_steps.START_SERVER)
            problem = f": {self.seen.server_problem}" if self.seen.server_problem else ""
            message = f"the restored data are in their place, and the server starts{problem}"
            starting = self.said(in_progress("StartingServer", message), SOON_SECONDS)
            starting.changes = [change] if change is not None else []
            return starting
        changes = [change for each in self.seen.services if (change := start(each, self.uid)) is not None]
        if changes or self.seen.marked_by == self.uid:
            waiting = self.archive_timeline() or (None if changes else self.wait_for_standbys())
            if waiting is not None:
                return waiting
            self.at_step(in_place_steps.START_SERVICES)
            starting = self.said(
                in_progress("StartingServices", "the server answers, and the services start"), SOON_SECONDS
            )
            starting.changes = changes
            starting.mark = None if changes else False
            return starting
        return self.completed()

    def archive_timeline(self) -> InPlacePlan | None:
        """A plan that waits until what the services write can be recovered; None once it can, or after some minutes."""
        step = in_place_steps.step_of(self.status.steps, in_place_steps.ARCHIVE_TIMELINE)
        if step.state == StepState.DONE:
            return None
        timeline = self.status.timeline or 0
        words = going_on.in_words(self.seen.archiving, timeline)
        wait = going_on.waits(self.seen.archiving, timeline, step.start_time, self.now)
        if not wait and going_on.behind(self.seen.archiving, timeline):
            words = f"{words}; the services start all the same"
        self.at_step(in_place_steps.ARCHIVE_TIMELINE, words)
        if not wait:
            return None
        message = f"the server answers, and the services wait until the archive has its new timeline: {words}"
        return self.said(in_progress("ArchivingTimeline", message), SOON_SECONDS)

    def completed(self) -> InPlacePlan:
        seconds = (self.now - (self.status.start_time or self.now)).total_seconds()
        self.status = with_place(self.status, fulls=list(self.seen.fulls))
        self.status = self.status.model_copy(
            update={
                "steps": in_place_steps.all_done(self.status.steps, self.now),
                "step": "Done",
                "progress": None,
                "completion_time": self.now.replace(microsecond=0),
                "duration_seconds": round(max(0.0, seconds), 1),
            }
        )
        message = (
            f"restored in place to {self.status.restored_to or 'the target'} in {human_seconds(seconds)}; server and"
            " services run as before."
        )
        if self.seen.members_behind:
            message += f" Look after the standbys: {self.seen.members_behind}."
        if self.place.old_data:
            message += (
                f" The old data are in {self.place.old_data} on {self.claims_named} until kubectl pgwarden restore"
                f" discard-old {self.request.metadata.name}"
            )
        return self.said(ready("Completed", message), None)

    def discard_old(self) -> InPlacePlan:
        """Deletes what a finished restore has kept, when that is asked for."""
        kept = InPlacePlan(status=self.request.status)
        if not (self.request.spec.discard_old and self.place.handed_over and self.place.old_data):
            return kept
        claim, *others = self.place.old_claims or [self.place.claim]
        decision = self.decide(Stage.DISCARD)
        said: list[Judgment]
        if decision.verdict == Verdict.SUCCEEDED and others:
            said = [judge(OLD_DATA_DISCARDED, None, "Discarding", f"{decision.message} on claim {claim}")]
            self.status = with_place(self.status, old_claims=others, discard=[])
        elif decision.verdict == Verdict.SUCCEEDED:
            said = [judge(OLD_DATA_DISCARDED, True, "Discarded", decision.message)]
            self.status = with_place(self.status, old_data="", old_claims=[])
        elif decision.verdict == Verdict.FAILED:
            said = [judge(OLD_DATA_DISCARDED, False, decision.reason, f"claim {claim}: {decision.message}")]
        else:
            message = f"{self.place.old_data} is deleted on claim {claim}"
            said = [judge(OLD_DATA_DISCARDED, None, "Discarding", message)]
        planned = InPlacePlan(status=self.status, judgments=said)
        planned.notices = told(said, self.request.status, OLD_DATA_DISCARDED)
        unfinished = others or decision.verdict in (Verdict.START, Verdict.WAIT, Verdict.BACK_OFF)
        planned.again_after = WAIT_SECONDS if unfinished and decision.verdict != Verdict.FAILED else None
        if decision.verdict == Verdict.START:
            planned.launch = (Stage.DISCARD, decision.number)
        return planned

    def recovered(self, report: RecoverReport) -> RestoreRequestStatus:
        """The status with what the recovery reported."""
        return self.status.model_copy(
            update={
                "restored_to": report.end_lsn,
                "restored_time": restored_time(self.request, self.status, report),
                "timeline": report.timeline,
                "checks_passed": sum(check.passed for check in report.checks),
            }
        )


def running(found: Sequence[Step]) -> str:
    """Name of the step that is worked on, or between two the next one; empty when there is none."""
    at_work = next((each.name for each in found if each.state == "Running"), "")
    return at_work or next((each.name for each in found if each.state == "Pending"), "")
