"""Before the server stops: nobody may be connected any more, or the restore puts back and names who is. Pure."""

from __future__ import annotations

from abc import ABC

from pgwarden.jobs.attempts import Verdict
from pgwarden.restores import in_place_steps
from pgwarden.restores.in_place_back import PuttingBack
from pgwarden.restores.in_place_look import InPlacePlan, Stage

NOT_ASKED = "nobody was asked who is connected: all connections end with the server (target.inPlace.disconnect)"


class SeeingConnections(PuttingBack, ABC):
    """The last look at a server that is about to be stopped."""

    def see_connections(self) -> InPlacePlan | None:
        """A plan that waits for the connections' end, or puts back; None once the server may be stopped, or is."""
        server, target = self.seen.server, self.request.spec.target.in_place
        if server is None or server.body is None or server.stopped_by(self.uid) or self.data_touched:
            return None
        if target is not None and target.disconnect:
            self.at_step(in_place_steps.CONNECTIONS, NOT_ASKED)
            return None
        decision = self.decide(Stage.CONNECTIONS)
        self.at_step(in_place_steps.CONNECTIONS, decision.message)
        if decision.verdict == Verdict.FAILED:
            return self.failed(decision.reason, decision.message)
        if decision.verdict == Verdict.SUCCEEDED:
            return None
        return self.pursue(
            Stage.CONNECTIONS,
            decision,
            reason="WaitingForConnections",
            what="waits until nobody is connected to the server any more",
        )
