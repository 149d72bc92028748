"""Where the incident report goes: names, manifests, and what its status says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pgwarden.api.conditions import READY, STALLED, Truth
from pgwarden.api.model import ObjectMeta
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.names import (
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    OWNER_UID_LABEL,
    job_name,
    label_value,
    short_hash,
)
from pgwarden.jobs.plan import Plan
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.jobs.task import shorten
from pgwarden.restores.contract import FileReportTask
from pgwarden.restores.drills import is_drill
from pgwarden.restores.plan import finished
from pgwarden.restores.report import ended
from pgwarden.restores.resource import FiledReport, RestoreRequest
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

COMPONENT = "restore-report"
FILE = "report.md"
NAME_LENGTH = 253
WRITTEN_WITHIN = timedelta(days=1)
SUFFIX = "-report"
Body = Mapping[str, Any]


def due(request: RestoreRequest, now: datetime) -> bool:
    """Whether a report is to be written or put somewhere still. Of what never began there is nothing to tell; a drill
    is no incident; and what ended under an operator that wrote none is left as it is."""
    report, end = request.status.report, ended(request)
    fresh = end is not None and now - end < WRITTEN_WITHIN
    wanted = bool(request.status.attempts) and not is_drill(request)
    return finished(request) and wanted and fresh and (report is None or not report.complete)


def concludes(plan: Plan) -> bool:
    """Whether a plan says the last word about its object, so that the report is to be written."""
    return any(each.type in (READY, STALLED) and each.status == Truth.TRUE for each in plan.judgments)


def config_map_names(metadata: ObjectMeta) -> tuple[str, str]:
    """The name of the ConfigMap; and another, where that one holds the report of an earlier request of the name."""
    more = f"{SUFFIX}-{short_hash('RestoreRequest', metadata.uid)}"
    return report_name(metadata.name), f"{metadata.name[: NAME_LENGTH - len(more)].rstrip('-.')}{more}"


def report_name(request_name: str) -> str:
    """Name of the ConfigMap with the report of the first request of that name."""
    return f"{request_name[: NAME_LENGTH - len(SUFFIX)].rstrip('-.')}{SUFFIX}"


def config_map(request: RestoreRequest, name: str, text: str) -> Manifest:
    """The ConfigMap. Nothing owns it: the report outlives the request."""
    metadata = request.metadata
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        COMPONENT_LABEL: COMPONENT,
        OWNER_UID_LABEL: metadata.uid,
        OWNER_KIND_LABEL: "RestoreRequest",
        OWNER_NAME_LABEL: label_value(metadata.name),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": metadata.namespace, "labels": labels},
        "immutable": True,
        "data": {FILE: text},
    }


def report_job(request: RestoreRequest) -> str:
    """Name of the Job that puts the report into the store."""
    return job_name(request.metadata.name, "RestoreRequest", request.metadata.uid, "report")


def file_report(request: RestoreRequest, archive: str, text: str, store: BackupStore, launch: Launch) -> Manifest:
    """That Job; the operator's own image will do."""
    payload = FileReportTask(store=location(store), archive=archive, request_uid=request.metadata.uid, text=text)
    return launch.job(Owner.of(request), payload, store.spec.job_template, volumes=volumes(store), mounts=mounts(store))


def filed(before: FiledReport, job: JobState) -> FiledReport:
    """What the status says once the Job has ended, or is gone."""
    result = job.result
    path = str(result.report.get("path", "")) if result is not None else ""
    if path:
        return before.model_copy(update={"path": shorten(path, 1024), "complete": True})
    if job.phase == JobPhase.ABSENT:
        return kept_out(before, f"Job {before.job} was deleted before it had put it there")
    return kept_out(before, f"{job.message} ({job.reason})")


def kept_out(before: FiledReport, why: str) -> FiledReport:
    """What the status says of a report that does not go into the store."""
    message = shorten(f"the report is not in the store: {why}", 1024)
    return before.model_copy(update={"message": message, "complete": True})


def held_true(request: RestoreRequest, policy: Body | None, binding: Body | None) -> bool:
    """Whether a ValidatingAdmissionPolicy compared spec.requestedBy with who made the request: it and its binding were
    there before the request, and refuse what does not agree."""
    made = request.metadata.creation_timestamp
    if made is None or policy is None or binding is None:
        return False
    before = all(datetime.fromisoformat(each["metadata"]["creationTimestamp"]) < made for each in (policy, binding))
    spec: Body = binding.get("spec") or {}
    binds = spec.get("policyName") == policy["metadata"]["name"]
    return before and binds and "Deny" in (spec.get("validationActions") or [])
