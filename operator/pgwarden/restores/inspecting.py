"""A restore that waits until somebody has looked at the recovered copy: what its pod gets, and what is said. Pure."""

from __future__ import annotations

from pgwarden.jobs.render import Manifest
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.restores.contract import PROCEED, PROCEED_ANNOTATION, PSQL_SCRIPT, SHARED, WORD_FOLDER
from pgwarden.restores.progress import INSPECT
from pgwarden.restores.resource import RestoreRequest, RestoreRequestStatus

INSPECTING = "Inspecting"
"""Reason while the copy is open."""

WORD_VOLUME: Manifest = {
    "name": "word",
    "downwardAPI": {
        "items": [{"path": PROCEED, "fieldRef": {"fieldPath": f"metadata.annotations['{PROCEED_ANNOTATION}']"}}]
    },
}
WORD_MOUNT: Manifest = {"name": "word", "mountPath": WORD_FOLDER, "readOnly": True}


def word_volumes(request: RestoreRequest) -> list[Manifest]:
    """The volume in which the agent hears that it may go on; none for a restore that goes on by itself."""
    return [WORD_VOLUME] if request.spec.inspect is not None else []


def word_mounts(request: RestoreRequest) -> list[Manifest]:
    """The mount of that volume."""
    return [WORD_MOUNT] if request.spec.inspect is not None else []


def inspect_seconds(request: RestoreRequest) -> int | None:
    """For how long the copy may be looked at; None for a restore that goes on by itself."""
    return request.spec.inspect.time_limit_seconds if request.spec.inspect is not None else None


def open_copy(request: RestoreRequest, status: RestoreRequestStatus, job: JobState) -> str:
    """How to look at the copy, and what to say then; empty while it is not open."""
    progress = status.progress
    if progress is None or progress.step != INSPECT or not progress.detail or job.phase != JobPhase.RUNNING:
        return ""
    metadata = request.metadata
    where = f"--namespace {metadata.namespace}"
    if request.spec.proceed:
        return "the recovered copy was looked at, and the restore is told to go on (spec.proceed)"
    return (
        f"the recovered copy is {progress.detail}, for reading only. To look at it:"
        f" kubectl exec -it {where} job/{job.name} --container postgres -- sh {SHARED}/{PSQL_SCRIPT}"
        f" . To go on with it: kubectl pgwarden restore proceed {metadata.name} {where} ."
        f" To drop it: kubectl pgwarden restore cancel {metadata.name} {where}"
    )
