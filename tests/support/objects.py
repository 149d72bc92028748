"""Objects as the API server gives them, and the states of their Jobs, for tests of plans."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pgwarden.api.conditions import Condition, Judgment, Truth
from pgwarden.api.references import JobTemplate
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.attempts import AttemptOutcome
from pgwarden.jobs.names import ATTEMPT_ANNOTATION, OPERATION_LABEL, OWNER_UID_LABEL
from pgwarden.jobs.plan import Plan, conclude
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import TASK_ANNOTATION, Outcome, Result
from pgwarden.kube.cache import JOB_NAME_LABEL
from pgwarden.migrations.resource import DatabaseMigration
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore

Body = dict[str, Any]

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NAMESPACE = "shop"
IN_FORCE = ("True", "False", "False")
WORKING = ("False", "True", "False")
STUCK = ("False", "False", "True")


def body(kind: str, name: str, spec: Body, status: Body | None = None, **metadata: Any) -> Body:
    """An object of one of our kinds."""
    return {
        "apiVersion": "pgwarden.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name[:40]}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T11:00:00Z",
            **metadata,
        },
        "spec": spec,
        **({"status": status} if status is not None else {}),
    }


def condition(type_: str, status: str, reason: str = "Because", **more: Any) -> Body:
    """One condition as it stands in a status."""
    return {"type": type_, "status": status, "reason": reason, "lastTransitionTime": "2026-11-23T11:00:00Z", **more}


def cluster(name: str = "operational", status: Body | None = None, **spec: Any) -> DatabaseCluster:
    """A DatabaseCluster with all credentials."""
    roles = ("monitor", "backup", "migration", "restore")
    full = {
        "primary": {"host": "db.example.com"},
        "credentials": {role: {"secretName": f"{role}-role"} for role in roles},
        **spec,
    }
    return DatabaseCluster.of(body("DatabaseCluster", name, full, status))


def observed_cluster(name: str = "operational", **spec: Any) -> DatabaseCluster:
    """A DatabaseCluster that answers."""
    status = {
        "version": "17.10",
        "role": "Primary",
        "systemIdentifier": "7301",
        "conditions": [condition("Reachable", "True"), condition("DuplicateOf", "False")],
    }
    return cluster(name, status, **spec)


def claim_store(name: str = "claims", status: Body | None = None, **spec: Any) -> BackupStore:
    """A BackupStore on a claim."""
    return BackupStore.of(body("BackupStore", name, {"claim": {"name": "backups"}, **spec}, status))


def bucket_store(name: str = "bucket", status: Body | None = None, **spec: Any) -> BackupStore:
    """A BackupStore in a bucket, behind a certificate authority of its own."""
    s3 = {
        "endpoint": "https://s3.example.com",
        "bucket": "backups",
        "ca": {"name": "authority"},
        "credentials": {"secretName": "bucket-key"},
    }
    return BackupStore.of(body("BackupStore", name, {"s3": s3, **spec}, status))


def migration(name: str = "schema", status: Body | None = None, **spec: Any) -> DatabaseMigration:
    """A DatabaseMigration out of one ConfigMap."""
    full = {
        "clusterRef": {"name": "operational"},
        "database": "app",
        "sources": [{"configMap": {"name": "files"}}],
        **spec,
    }
    return DatabaseMigration.of(body("DatabaseMigration", name, full, status))


def backup(name: str = "nightly", status: Body | None = None, **spec: Any) -> DatabaseBackup:
    """A DatabaseBackup."""
    full = {"clusterRef": {"name": "operational"}, "storeRef": {"name": "claims"}, **spec}
    return DatabaseBackup.of(body("DatabaseBackup", name, full, status))


def restorable_backup(name: str = "nightly", **status: Any) -> DatabaseBackup:
    """A DatabaseBackup that is done."""
    done = {
        "backupID": "20261123T110000Z-full-0123456789",
        "location": "shop/operational/1/backups/20261123T110000Z-full-0123456789",
        "completionTime": "2026-11-23T11:05:00Z",
        "postgresVersion": "17.10",
        "systemIdentifier": "7301",
        "plainBytes": 1 << 30,
        "encrypted": False,
        "conditions": [condition("Ready", "True"), condition("Restorable", "True")],
        **status,
    }
    return backup(name, done)


def restore_request(name: str = "rescue", status: Body | None = None, **spec: Any) -> RestoreRequest:
    """A RestoreRequest into a new instance of 2 GiB."""
    full = {
        "source": {"backupRef": {"name": "nightly"}},
        "target": {"newInstance": {"name": "rescued", "storage": {"size": "2Gi"}}},
        **spec,
    }
    return RestoreRequest.of(body("RestoreRequest", name, full, status))


def drill_request(name: str = "exercise", status: Body | None = None, *, by: str = "", **spec: Any) -> RestoreRequest:
    """A RestoreRequest for a drill to the latest moment; made by the policy with the UID `by`, or by a person."""
    full = {
        "source": {"policyRef": {"name": "operational"}, "target": {"latest": True}},
        "target": {"drill": {}},
        **spec,
    }
    labels = {OWNER_UID_LABEL: by} if by else {}
    return RestoreRequest.of(body("RestoreRequest", name, full, status, labels=labels))


def parts_request(name: str = "exercise", status: Body | None = None, **spec: Any) -> RestoreRequest:
    """A RestoreRequest of one table as it was at a moment, into the server `live`."""
    tables = [{"schemaName": "billing", "tableName": "invoices"}]
    databases = [{"database": "shop", "newName": "shop_then", "tables": tables}]
    full = {
        "source": {"policyRef": {"name": "operational"}, "target": {"time": "2026-11-23T11:30:00Z"}},
        "target": {"into": {"clusterRef": {"name": "live"}, "databases": databases}},
        **spec,
    }
    return RestoreRequest.of(body("RestoreRequest", name, full, status))


def job_state(phase: JobPhase, name: str = "job-1", attempt: int = 1, **more: Any) -> JobState:
    """The state of a Job that has not ended."""
    return JobState(phase, name=name, attempt=attempt, **more)


def ended_job(result: Result | None, name: str = "job-1", attempt: int = 1, **more: Any) -> JobState:
    """The state of a Job that ended with a result, or whose result is lost."""
    failed = result is None or result.outcome == Outcome.FAILED
    told = {"reason": result.reason, "message": result.message, "remedy": result.remedy} if result else {}
    return JobState(
        JobPhase.FAILED if failed else JobPhase.SUCCEEDED,
        name=name,
        attempt=attempt,
        result=result,
        finished=NOW,
        **{"reason": "PodDeleted", "message": "the pod is gone", **told, **more},
    )


def success(reason: str = "Done", **report: Any) -> Result:
    return Result(outcome=Outcome.SUCCEEDED, reason=reason, message="it is done", report=report)


def failure(reason: str = "Broken", *, retryable: bool = False, **report: Any) -> Result:
    return Result(
        outcome=Outcome.FAILED, reason=reason, message="it broke", remedy="Mend it.", retryable=retryable, report=report
    )


def attempt(number: int = 1, outcome: AttemptOutcome | None = None, *, ago: float = 0.0, job: str = "") -> Body:
    """The record of an attempt: open, or ended `ago` seconds before NOW."""
    record: Body = {"number": number, "job": job or f"job-{number}", "startTime": "2026-11-23T11:00:00Z"}
    if outcome is not None:
        ended = (NOW - timedelta(seconds=ago)).isoformat()
        record |= {"completionTime": ended, "outcome": outcome.value, "reason": "Ended", "message": "it ended"}
    return record


def kstatus(judgments: list[Judgment]) -> tuple[str, ...]:
    """What a plan says of Ready, Reconciling and Stalled; "" where it says nothing."""
    said = {judgment.type: judgment.status.value for judgment in judgments}
    return tuple(said.get(type_, "") for type_ in ("Ready", "Reconciling", "Stalled"))


def said(judgments: list[Judgment], type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of the judgment of that type."""
    found = next(judgment for judgment in judgments if judgment.type == type_)
    return found.status.value, found.reason


def written(plan: Plan, before: Any, generation: int = 1) -> Body:
    """The status a plan leaves behind, as it is written."""
    return conclude(plan, before.status, generation=generation, now=NOW).to_json()


def conditions_of(status: Body) -> dict[str, Condition]:
    return {each["type"]: Condition.model_validate(each) for each in status["conditions"]}


def is_true(status: Body, type_: str) -> bool:
    return conditions_of(status)[type_].status == Truth.TRUE


def job_body(name: str = "job-1", owner_uid: str = "uid-of-nightly", *, ended: str = "", **labels: str) -> Body:
    """A Job as the API server gives it; `ended` is Complete or Failed."""
    conditions = [{"type": ended, "status": "True", "lastTransitionTime": "2026-11-23T12:00:00Z"}] if ended else []
    task = json.dumps({"nonce": "0123456789abcdef"})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T11:59:00Z",
            "labels": {OWNER_UID_LABEL: owner_uid, OPERATION_LABEL: "backup", **labels},
            "annotations": {ATTEMPT_ANNOTATION: "1"},
        },
        "spec": {"suspend": False, "template": {"metadata": {"annotations": {TASK_ANNOTATION: task}}}},
        "status": {"conditions": conditions},
    }


def pod_body(job: str = "job-1", *, name: str = "", status: Body | None = None) -> Body:
    """A pod of a Job."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"{job}-x",
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name or job}-x",
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T11:59:01Z",
            "labels": {JOB_NAME_LABEL: job, OWNER_UID_LABEL: "uid-of-nightly"},
        },
        "status": status or {},
    }


def template(**fields: Any) -> JobTemplate:
    return JobTemplate.model_validate(fields)
