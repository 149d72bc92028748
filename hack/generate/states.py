"""The states an object can be in, and what kstatus, Argo CD and Flux make of each.

The table stands in the API reference, and a test runs the shipped Lua and CEL on every row of it. The column kstatus
follows the rules of sigs.k8s.io/cli-utils/pkg/kstatus for custom resources; it is written down, not run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GENERATION = 3


@dataclass(frozen=True)
class State:
    """One state, as the object's status and spec show it, and how three tools read it."""

    title: str
    example: str
    kstatus: str
    argocd: str
    flux: str
    conditions: dict[str, str] = field(default_factory=dict)
    """Condition type -> status."""
    observed: int | None = GENERATION
    """status.observedGeneration; None is an object without status."""
    suspend: bool = False

    def manifest(self, api_version: str, kind: str) -> dict[str, Any]:
        """An object in this state."""
        result: dict[str, Any] = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "example", "namespace": "default", "generation": GENERATION},
            "spec": {"suspend": self.suspend},
        }
        if self.observed is not None:
            result["status"] = {
                "observedGeneration": self.observed,
                "conditions": [
                    {"type": name, "status": status, "reason": "Example", "message": f"{name} is {status}"}
                    for name, status in self.conditions.items()
                ],
            }
        return result


IN_FORCE = {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
WORKING = {"Ready": "False", "Reconciling": "True", "Stalled": "False"}
STUCK = {"Ready": "False", "Reconciling": "False", "Stalled": "True"}

STATES: tuple[State, ...] = (
    State(
        "never looked at",
        "just created, or no operator runs",
        kstatus="Current (an object without status counts as done)",
        argocd="Progressing",
        flux="InProgress",
        observed=None,
    ),
    State(
        "changed and not looked at again",
        "`spec` was edited a moment ago",
        kstatus="InProgress",
        argocd="Progressing",
        flux="InProgress",
        conditions=IN_FORCE,
        observed=GENERATION - 1,
    ),
    State(
        "stalled before the change, and not looked at again",
        "the fix has just been applied",
        kstatus="InProgress",
        argocd="Progressing",
        flux="InProgress",
        conditions=STUCK,
        observed=GENERATION - 1,
    ),
    State(
        "in force, or done",
        "cluster reachable, store writable, migrations applied, backup restorable, restore handed over",
        kstatus="Current",
        argocd="Healthy",
        flux="Current",
        conditions=IN_FORCE,
    ),
    State(
        "in force, while the last outcome was bad",
        "a cluster that does not answer now, a policy whose last backup failed: `Reachable=False` or"
        " `LastBackupSucceeded=False` raises the alert, releases go on",
        kstatus="Current",
        argocd="Healthy",
        flux="Current",
        conditions={**IN_FORCE, "Reachable": "False"},
    ),
    State(
        "worked on, or waiting for what may come",
        "a Job runs; a Secret is missing; another operation holds the cluster",
        kstatus="InProgress",
        argocd="Progressing",
        flux="InProgress",
        conditions=WORKING,
    ),
    State(
        "stalled",
        "only a change of `spec` (or a new object) helps: a migration failed, a backup is damaged",
        kstatus="Failed",
        argocd="Degraded",
        flux="Failed",
        conditions=STUCK,
    ),
    State(
        "suspended while in force or done",
        "`spec.suspend: true` on a cluster",
        kstatus="Current",
        argocd="Suspended",
        flux="Current",
        conditions=IN_FORCE,
        suspend=True,
    ),
    State(
        "suspended before its work",
        "`spec.suspend: true` on a backup that waits for a person",
        kstatus="InProgress",
        argocd="Suspended",
        flux="InProgress",
        conditions=WORKING,
        suspend=True,
    ),
    State(
        "suspended and stalled",
        "a failed migration that somebody then suspended",
        kstatus="Failed",
        argocd="Degraded",
        flux="Failed",
        conditions=STUCK,
        suspend=True,
    ),
)
