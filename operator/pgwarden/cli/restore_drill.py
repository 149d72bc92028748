"""`pgwarden restore drill` through a Kubernetes cluster: makes a RestoreRequest, follows it, tells its steps."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from pgwarden.api.conditions import READY, find, is_true
from pgwarden.api.model import API_VERSION
from pgwarden.api.quantities import human_seconds
from pgwarden.cli.output import print_json, printable
from pgwarden.cli.waiting import waited_for
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.names import label_value
from pgwarden.kube.client import Body
from pgwarden.kube.person import BACKUPS, POLICIES, RESTORES, Person, as_person
from pgwarden.policies.runs import POLICY_LABEL
from pgwarden.restores.drills import length
from pgwarden.restores.plan import finished
from pgwarden.restores.resource import RestoreRequest, Step, StepState

POLL_SECONDS = 1.0
OF_TARGET = ("image", "storage", "resources")
OF_REQUEST = ("checks", "identity")
"""Fields of a policy's spec.drill that hold for a drill by hand as well."""


@dataclass(frozen=True)
class DrillWish:
    """A drill that a person wants now."""

    policy: str | None
    backup: str | None
    at: datetime | None
    size: str | None = None
    storage_class: str | None = None

    def source(self) -> Body:
        """spec.source. Raises TaskError with reason DrillNotNamed."""
        if (self.policy is None) == (self.backup is None):
            raise TaskError(
                "DrillNotNamed",
                "it takes a policy or a backup, and not both, to know what to restore",
                remedy="Name a BackupPolicy (--policy), or a DatabaseBackup (--backup).",
            )
        time = f"{self.at.astimezone(UTC).isoformat()}" if self.at is not None else None
        if self.backup is not None:
            target = {"target": {"time": time}} if time is not None else {}
            return {"backupRef": {"name": self.backup}, **target}
        return {"policyRef": {"name": self.policy}, "target": {"time": time} if time is not None else {"latest": True}}

    def spec(self, policy: Body | None) -> Body:
        """The spec of its RestoreRequest: as the policy makes its own drills, where one is named. Raises TaskError."""
        like = (policy or {}).get("drill") or {}
        storage = dict(like.get("storage") or {})
        storage |= {"size": self.size} if self.size is not None else {}
        storage |= {"storageClassName": self.storage_class} if self.storage_class is not None else {}
        target = {**{key: like[key] for key in OF_TARGET if key in like}, "storage": storage}
        template = like.get("jobTemplate") or (policy or {}).get("jobTemplate")
        return {
            "source": self.source(),
            "target": {"drill": target},
            **{key: like[key] for key in OF_REQUEST if key in like},
            **({"jobTemplate": template} if template is not None else {}),
        }

    def manifest(self, namespace: str, policy: Body | None) -> Body:
        """The RestoreRequest. It carries the policy's name, so that its result counts there. Raises TaskError."""
        spec = self.spec(policy)
        of = (self.policy or self.backup or "")[:200]
        name = f"{of}-drill-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"
        labels = {POLICY_LABEL: label_value(self.policy)} if self.policy is not None else {}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        return {"apiVersion": API_VERSION, "kind": "RestoreRequest", "metadata": metadata, "spec": spec}


@dataclass
class StepTeller:
    """Prints each step once it is done."""

    output: TextIO
    told: set[str] = field(default_factory=set)

    def begun(self, name: str) -> None:
        print(f"restorerequest.pgwarden.dev/{name} created", file=self.output, flush=True)

    def tell(self, request: RestoreRequest) -> None:
        """A line for each step that has ended since."""
        for step in request.status.steps:
            if step.state in (StepState.DONE, StepState.FAILED) and step.name not in self.told:
                self.told.add(step.name)
                print(line_of(step), file=self.output, flush=True)


def line_of(step: Step) -> str:
    """One step: what, how long, what came of it."""
    took = human_seconds(length(step).total_seconds()) if step.completion_time is not None else ""
    said = "FAILED" if step.state is StepState.FAILED else printable(step.message)
    return f"{step.name:<14}{took:>8}  {said}".rstrip()


def drill_now(
    namespace: str | None, wish: DrillWish, seconds: float, *, wait: bool, tell: StepTeller
) -> RestoreRequest:
    """Makes the RestoreRequest of a drill and, if wanted, follows it to its end. Raises TaskError."""

    async def work(person: Person) -> RestoreRequest:
        wish.source()
        policy = (await person.get(POLICIES, wish.policy))["spec"] if wish.policy is not None else None
        if wish.backup is not None:
            await person.get(BACKUPS, wish.backup)
        made = await person.client.create(RESTORES, person.namespace, wish.manifest(person.namespace, policy))
        tell.begun(made["metadata"]["name"])
        return await followed(person, made["metadata"]["name"], seconds, tell) if wait else RestoreRequest.of(made)

    return as_person(namespace, work)


async def followed(person: Person, name: str, seconds: float, tell: StepTeller) -> RestoreRequest:
    """The RestoreRequest once nothing more is to be done about it. Raises TaskError with reason StillRunning."""

    async def look() -> RestoreRequest | None:
        request = RestoreRequest.of(await person.get(RESTORES, name))
        tell.tell(request)
        return request if finished(request) else None

    return await waited_for(
        look,
        seconds,
        f"RestoreRequest {person.namespace}/{name} has not ended after {seconds:.0f} s; it goes on",
        f"Follow it with: kubectl get restorerequest {name} --namespace {person.namespace} --watch",
        poll=POLL_SECONDS,
    )


def show_outcome(request: RestoreRequest, *, as_json: bool, ended: bool) -> bool:
    """Prints what came of a drill, or its name alone where nobody waited; returns whether it succeeded."""
    ready = find(request.status.conditions, READY)
    good = is_true(request.status.conditions, READY)
    reason, message = (ready.reason, ready.message) if ready is not None else ("", "")
    if as_json:
        print_json(facts(request, reason, message, good=good))
    elif ended:
        said = message if good else f"failed ({reason}): {message}"
        print(f"{request.metadata.name}: {printable(said)}", file=sys.stdout if good else sys.stderr)
    return good


def facts(request: RestoreRequest, reason: str, message: str, *, good: bool) -> dict[str, Any]:
    """A drill as JSON; what is not known yet is null."""
    status = request.status
    return {
        "name": request.metadata.name,
        "succeeded": good,
        "reason": reason,
        "message": message,
        "backupId": status.backup_id,
        "restoredTo": status.restored_to,
        "restoredTime": status.restored_time.isoformat() if status.restored_time is not None else None,
        "recoverySeconds": status.recovery_seconds,
        "dataLossSeconds": status.data_loss_seconds,
        "steps": [step.to_json() for step in status.steps],
    }
