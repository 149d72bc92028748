"""What is different about a restore in place where the server has several members. Pure.

A pod that mounts the claims of all of them is the proof that they can be had together. The preflight's pod is that
where the members run on one node. Where they run on several, nobody can mount them all before they stopped; then a Job
of its own looks, before anything is touched, and one that gets no node in time ends the restore.
"""

from __future__ import annotations

from pgwarden.api.conditions import in_progress
from pgwarden.jobs.attempts import AttemptOutcome, Verdict
from pgwarden.jobs.plan import REPORT_UNREADABLE, report_of
from pgwarden.jobs.state import JobPhase
from pgwarden.jobs.task import shorten
from pgwarden.restores import in_place_steps
from pgwarden.restores.in_place_contract import LookReport
from pgwarden.restores.in_place_look import (
    SOON_SECONDS,
    InPlacePlan,
    Look,
    Stage,
    attempts_at,
    with_attempts,
    with_place,
)

TOGETHER_SECONDS = 300.0
"""How long the claims of all members may take to be mounted by one pod, while nothing runs."""
STANDBYS_SECONDS = 600.0
"""How long a finished restore waits for standbys that do not become ready."""
CLAIMS_APART = "ClaimsApart"


class SeveralMembers(Look):
    """What is asked of several members."""

    @property
    def primary_unknown(self) -> bool:
        """Whether nobody has seen yet which member is the primary; no Job has come near the data then."""
        return self.several and not self.place.claim

    @property
    def primary_unmarked(self) -> bool:
        """Whether it is known which claim is the primary's, and no claim says so yet."""
        return self.several and self.place.claim != self.seen.marked_primary

    def find_primary(self) -> InPlacePlan | None:
        """A plan that looks which member is the primary, waits for that, or marks its claim; None when it will never be
        known: `look_failed` says why."""
        decision = self.decide(Stage.LOOK)
        if decision.verdict == Verdict.FAILED:
            return None
        if decision.verdict == Verdict.SUCCEEDED:
            report = report_of(LookReport, decision.result)
            if report is None:
                return None
            self.status = with_place(self.status, claim=report.primary)
            marking = self.said(in_progress("Starting", decision.message), SOON_SECONDS)
            marking.mark = True
            return marking
        job = self.job(Stage.LOOK)
        waited = (self.now - (job.created or self.now)).total_seconds()
        if job.phase == JobPhase.QUEUED and waited > TOGETHER_SECONDS:
            return self.never_together(job.name, job.message)
        return self.pursue(
            Stage.LOOK, decision, reason="Looking", what=f"looks on {self.claims_named} which member is the primary"
        )

    def never_together(self, job: str, why: str) -> InPlacePlan:
        """The plan for claims that no pod could mount in time: the attempt has ended, and its Job goes."""
        message = f"{self.claims_named} cannot be mounted by one pod, which copies from one to the others: {why}"
        *before, last = attempts_at(self.status, Stage.LOOK)
        ended = {
            "completion_time": self.now.replace(microsecond=0),
            "outcome": AttemptOutcome.REJECTED.value,
            "reason": CLAIMS_APART,
            "message": shorten(message, 1024),
        }
        self.status = with_attempts(self.status, Stage.LOOK, [*before, last.model_copy(update=ended)])
        waiting = self.said(in_progress(CLAIMS_APART, message), SOON_SECONDS)
        waiting.delete_job = job
        return waiting

    def stop_looking(self) -> InPlacePlan | None:
        """A plan that ends the Job that looks for the primary; None where none is at work."""
        job = self.job_at_work(Stage.LOOK)
        if job is None:
            return None
        ending = self.said(in_progress("PuttingBack", f"Job {job} ends"), SOON_SECONDS)
        ending.delete_job = job
        return ending

    @property
    def look_failed(self) -> tuple[str, str]:
        """Why it is not known which member is the primary: reason and sentence."""
        last = attempts_at(self.status, Stage.LOOK)[-1]
        if last.outcome != AttemptOutcome.SUCCEEDED:
            return last.reason, last.message
        return REPORT_UNREADABLE, "what the look told cannot be read: bring operator and agent images to one version"

    def wait_for_standbys(self) -> InPlacePlan | None:
        """A plan that waits for standbys that are not ready; None once they are, or have had their time."""
        if not self.seen.members_behind:
            return None
        self.at_step(in_place_steps.START_STANDBYS)
        step = next(each for each in self.status.steps if each.name == in_place_steps.START_STANDBYS)
        since = (self.now - (step.start_time or self.now)).total_seconds()
        if since > STANDBYS_SECONDS:
            return None
        message = f"the primary answers, and the services run; {self.seen.members_behind}"
        return self.said(in_progress("StartingStandbys", message), SOON_SECONDS)
