"""Giving a restore in place up: the old data, the server and the services become what they were. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pgwarden.api.conditions import in_progress, stalled
from pgwarden.jobs.attempts import Decision, Verdict
from pgwarden.jobs.plan import report_of
from pgwarden.jobs.task import shorten
from pgwarden.restores import in_place_steps
from pgwarden.restores.in_place_contract import PlaceReport
from pgwarden.restores.in_place_look import SOON_SECONDS, WAIT_SECONDS, InPlacePlan, Stage, with_place
from pgwarden.restores.in_place_members import SeveralMembers
from pgwarden.restores.stopping import start, stop

AGAIN_SECONDS = 300.0
ALREADY_HANDED_OVER = "AlreadyHandedOver"


class PuttingBack(SeveralMembers, ABC):
    """The way back."""

    @abstractmethod
    def bring_up(self) -> InPlacePlan:
        """The plan for restored data that are in their place."""

    def handed_over(self, decision: Decision) -> InPlacePlan:
        """The plan once a Job has told that the restored data are in their place, and where the old ones are."""
        report = report_of(PlaceReport, decision.result)
        old_data = report.old_data if report is not None else ""
        self.status = with_place(self.status, handed_over=True, old_data=old_data, old_claims=self.place.members)
        return self.bring_up()

    def failed(self, reason: str, message: str) -> InPlacePlan:
        """The plan that begins to put back."""
        self.status = with_place(self.status, failure_reason=reason[:63], failure_message=shorten(message, 1024))
        return self.give_up()

    def give_up(self) -> InPlacePlan:
        """Back to what was: the old data, then the server, then the services."""
        if not self.place.failure_reason:
            if not self.begun:
                planned = self.said(
                    stalled("Cancelled", "the restore was cancelled (spec.cancel) before anything was stopped"), None
                )
                planned.delete_job = self.job_at_work(Stage.PREFLIGHT)
                return planned
            self.status = with_place(
                self.status, failure_reason="Cancelled", failure_message="the restore was cancelled (spec.cancel)"
            )
        back = in_place_steps.put_back(self.status.steps, self.place.failure_message, self.now)
        self.status = self.status.model_copy(update={"steps": back, "step": in_place_steps.PUT_BACK, "progress": None})
        waiting = self.put_data_back()
        if waiting is not None:
            return waiting
        changes = [change for each in self.servers if (change := start(each, self.uid)) is not None]
        changes += [change for each in self.seen.services if (change := start(each, self.uid)) is not None]
        if changes or self.seen.marked_by == self.uid:
            planned = self.said(
                in_progress("PuttingBack", self.because("server and services start again")), SOON_SECONDS
            )
            planned.changes = changes
            planned.mark = None if changes else False
            planned.delete_job = self.job_at_work(Stage.CONNECTIONS)
            return planned
        back = in_place_steps.put_back(self.status.steps, self.place.failure_message, self.now, done=True)
        self.status = self.status.model_copy(update={"steps": back, "completion_time": self.now.replace(microsecond=0)})
        message = self.because("the old data are in their place, and server and services are as they were before")
        return self.said(stalled(self.place.failure_reason, message), None)

    def put_data_back(self) -> InPlacePlan | None:
        """A plan that puts the old data back, or waits for that; None once they are, or when nothing came near them."""
        if self.primary_unknown:
            return self.stop_looking()
        put_back = self.decide(Stage.PUT_BACK)
        if put_back.verdict == Verdict.SUCCEEDED or not (self.server_stopped or self.data_touched):
            return None
        if put_back.verdict == Verdict.FAILED and put_back.reason == ALREADY_HANDED_OVER:
            # The hand-over had ended, and nobody was told.
            self.status = with_place(self.status, failure_reason="", failure_message="")
            return self.handed_over(put_back)
        for stage in (Stage.RESTORE, Stage.HAND_OVER):
            if self.job_at_work(stage):
                ending = self.said(
                    in_progress("PuttingBack", self.because(f"Job {self.job(stage).name} ends")), SOON_SECONDS
                )
                # One that hands over is left to its end: it is a moment's work, and tells whether it came to it.
                ending.delete_job = self.job_at_work(stage) if stage is Stage.RESTORE else None
                return ending
        changes = [change for each in self.servers if (change := stop(each, self.uid, self.name)) is not None]
        beginning = put_back.verdict in (Verdict.START, Verdict.FAILED)
        others = [*self.seen.strangers, *(self.seen.own_pods if beginning else ())]
        if changes or others:
            message = self.because(f"it waits until nothing mounts {self.claims_named}: {', '.join(others)}")
            waiting = self.said(in_progress("PuttingBack", message), SOON_SECONDS)
            waiting.changes = changes
            return waiting
        if put_back.verdict == Verdict.FAILED:
            return self.put_back_again(put_back)
        return self.pursue(
            Stage.PUT_BACK, put_back, reason="PuttingBack", what=self.because("the old data are put back")
        )

    def put_back_again(self, failed: Decision) -> InPlacePlan:
        """Giving up is not given up: somebody mends what keeps it, and the next attempt succeeds."""
        last = failed.attempts[-1]
        since = (self.now - (last.completion_time or self.now)).total_seconds()
        message = self.because(f"putting the old data back failed, and is tried again: {failed.message}")
        if since < AGAIN_SECONDS:
            return self.said(in_progress("PutBackFailed", message), AGAIN_SECONDS - since)
        again = self.said(in_progress("PutBackFailed", message), WAIT_SECONDS)
        again.launch = (Stage.PUT_BACK, last.number + 1)
        return again

    def because(self, what: str) -> str:
        return f"{self.place.failure_message.rstrip('. ')}: {what}"
