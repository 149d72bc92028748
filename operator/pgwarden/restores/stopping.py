"""Stopping workloads and starting them again: what each was stands on itself, and nobody has to remember. Pure.

One patch both records and stops, on the very version that was looked at: nothing is stopped without being recorded, and
what is recorded is what was there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pgwarden.clusters.resource import Dependent, DependentKind

Body = dict[str, Any]

RECORD = "pgwarden.dev/stopped-by-restore"
"""Annotation of a workload that a restore has stopped."""
CONSENT = "pgwarden.dev/stopped-for"
"""Annotation of a workload of another namespace: `<namespace>/<name>` of the DatabaseCluster it may be stopped for."""


@dataclass(frozen=True)
class Workload:
    """A workload as it was last seen."""

    kind: DependentKind
    namespace: str
    name: str
    body: Body | None
    """None when there is no such workload."""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def replicas(self) -> int:
        """How many pods are wanted."""
        found = self.spec.get("replicas")
        return 1 if found is None else int(found)

    @property
    def spec(self) -> Body:
        spec: Body = (self.body or {}).get("spec") or {}
        return spec

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = ((self.body or {}).get("metadata") or {}).get("annotations") or {}
        return found

    @property
    def record(self) -> Body:
        """What a restore has written down about it; empty where none stopped it, or somebody broke what is written."""
        try:
            record = json.loads(self.annotations.get(RECORD, "{}"))
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it is wanted, and nothing of it runs. The Jobs that a CronJob has started run to their
        end."""
        if self.kind == DependentKind.CRON_JOB:
            return bool(self.spec.get("suspend"))
        return self.replicas == 0 and not ((self.body or {}).get("status") or {}).get("replicas")

    def stopped_by(self, request_uid: str) -> bool:
        """Whether that RestoreRequest has stopped it."""
        return self.record.get("uid") == request_uid


@dataclass(frozen=True)
class Change:
    """A patch of one workload."""

    workload: Workload
    patch: Body
    why: str
    """For people: what is done to it."""


def stop(workload: Workload, request_uid: str, request: str) -> Change | None:
    """The patch that stops a workload and records what it was; None where that is done, or there is none.

    One that somebody has started again meanwhile is stopped again, and what is recorded stays.
    """
    if workload.body is None:
        return None
    recorded = workload.stopped_by(request_uid)
    if workload.kind == DependentKind.CRON_JOB:
        was: Body = {"suspend": bool(workload.spec.get("suspend"))}
        rest: Body = {"suspend": True}
        stopped = was["suspend"]
    else:
        was = {"replicas": workload.replicas}
        rest = {"replicas": 0}
        stopped = workload.replicas == 0
    if recorded and stopped:
        return None
    note = workload.record if recorded else {"uid": request_uid, "request": request, **was}
    metadata = {"resourceVersion": version(workload), "annotations": {RECORD: json.dumps(note, sort_keys=True)}}
    return Change(workload, {"metadata": metadata, "spec": rest}, f"stop {workload}")


def start(workload: Workload, request_uid: str, *, at_least: int = 0) -> Change | None:
    """The patch that makes a workload what it was, or has at least so many replicas; None where no record of this
    request stands. One that somebody has started meanwhile stays as they wanted it."""
    if workload.body is None or not workload.stopped_by(request_uid):
        return None
    record = workload.record
    spec: Body = {}
    if workload.kind == DependentKind.CRON_JOB:
        if workload.spec.get("suspend"):
            spec = {"suspend": bool(record.get("suspend", False))}
    elif workload.replicas == 0:
        spec = {"replicas": max(at_least, int(record.get("replicas", 1)))}
    metadata = {"resourceVersion": version(workload), "annotations": {RECORD: None}}
    return Change(workload, {"metadata": metadata, "spec": spec}, f"start {workload}")


def version(workload: Workload) -> str:
    return str(((workload.body or {}).get("metadata") or {}).get("resourceVersion", ""))


def may_stop(workload: Workload, dependent: Dependent, cluster: str) -> str:
    """Why a workload of another namespace may not be stopped; empty when it may. `cluster` is `<namespace>/<name>`."""
    home = cluster.partition("/")[0]
    if dependent.namespace in (None, home) or workload.annotations.get(CONSENT) == cluster:
        return ""
    return (
        f"{workload} is in another namespace and does not consent: whoever it belongs to annotates it with"
        f" {CONSENT}: {cluster}"
    )
