"""A drill: a restore that is measured, checked and thrown away. What differs from one that is handed over. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pgwarden.api.quantities import human_seconds
from pgwarden.api.wal import USUAL_SEGMENT_BYTES, parse_lsn, room_to_recover
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    OWNER_UID_LABEL,
    label_value,
)
from pgwarden.jobs.render import Manifest
from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.restores.progress import AMCHECK, RESOLVE
from pgwarden.restores.resource import RestoreRequest, RestoreRequestStatus, Step
from pgwarden.restores.scratch import on_scratch, scratch_storage

BEGINS_WITHIN = timedelta(hours=1)
"""A drill that could not begin for so long is given up: the next one would wait for it."""
STANDS_STILL = timedelta(days=1)
"""One that is at work is ended when nothing of it has moved for so long. Reading a large volume takes hours."""
GROWTH = 1.25
"""What is restored may have grown since the backup, and file systems keep a part for themselves."""
MIB = 1 << 20


def is_drill(request: RestoreRequest) -> bool:
    return request.spec.target.drill is not None


def is_physical(backup: DatabaseBackup) -> bool:
    return backup.spec.type != BackupType.LOGICAL


def wants_size(request: RestoreRequest) -> bool:
    """Whether it is left to the backups how large the volume of a copy is that is thrown away."""
    return on_scratch(request) and scratch_storage(request).size is None


def size_unknown(cluster: str) -> Obstacle:
    message = (
        f"nothing tells how large the data of {cluster} are: no physical DatabaseBackup of it in that store. Set"
        " storage.size of its target in a new RestoreRequest, or import the backups: pgwarden backup import"
    )
    return Obstacle("VolumeSizeUnknown", message)


def given_up(request: RestoreRequest, job: JobState, held_up: str, now: datetime) -> Obstacle | None:
    """Why a drill will not be waited for any longer: it has not begun, or it does not get on.

    A Job that has no pod at work for an hour never gets one without a person. Before there is a Job only a drill that a
    policy has made is given up: one that a person made may have been held back.
    """
    attempts, progress = request.status.attempts, request.status.progress
    moved = progress.moved_time if progress is not None else None
    if job.phase is JobPhase.RUNNING and progress is not None and moved is not None and now - moved > STANDS_STILL:
        message = (
            f"the drill has not got on in step {progress.step} for {human_seconds(STANDS_STILL.total_seconds())}, and"
            f" its Job {job.name} is ended. Look at the store, and at the node and the volume it ran on"
        )
        return Obstacle("DrillStuck", message)
    if job.phase is JobPhase.QUEUED and attempts:
        since, why = attempts[-1].start_time, f"its Job {job.name} has no pod at work: {job.message}"
    elif not attempts and OWNER_UID_LABEL in request.metadata.labels and held_up:
        since, why = request.metadata.creation_timestamp or now, held_up
    else:
        return None
    if now - since <= BEGINS_WITHIN:
        return None
    message = f"the drill could not begin within {human_seconds(BEGINS_WITHIN.total_seconds())}: {why}"
    return Obstacle("DrillNotBegun", message)


def volume_bytes(base: DatabaseBackup | None, others: Iterable[DatabaseBackup]) -> int | None:
    """Bytes of the volume for a drill that begins with `base`, whose chain is looked for among `others`; None where
    nothing tells.

    A backup of the chain that has no object any more is taken for as large as the largest that has one. While a chain
    is put together there are the backups and what becomes of them.
    """
    known = {each.status.backup_id: each for each in others if is_physical(each)}
    sizes = [each.status.plain_bytes or 0 for each in known.values()]
    if base is None or not base.status.plain_bytes:
        return None
    chain, parent = [base.status.plain_bytes], base.status.parent
    for _ in range((base.status.chain_length or 1) - 1):
        found = known.get(parent)
        told = found.status.plain_bytes if found is not None else None
        chain.append(told or max([*sizes, *chain]))
        parent = found.status.parent if found is not None else ""
    plain = sum(chain) * (2 if len(chain) > 1 else 1)
    status = base.status
    wal = parse_lsn(status.stop_lsn) - parse_lsn(status.start_lsn) if status.stop_lsn and status.start_lsn else 0
    return int(room_to_recover(plain, wal // USUAL_SEGMENT_BYTES + 1, USUAL_SEGMENT_BYTES) * GROWTH)


def volume(request: RestoreRequest, size_bytes: int) -> Manifest:
    """The volume `data` of a pod whose copy is thrown away: it goes when the pod goes."""
    storage = scratch_storage(request)
    size = str(storage.size) if storage.size is not None else f"{-(-size_bytes // MIB)}Mi"
    if storage.storage_class_name == "":
        return {"name": "data", "emptyDir": {"sizeLimit": size}}
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    template = {"metadata": {"labels": owner_labels(request)}, "spec": spec}
    return {"name": "data", "ephemeral": {"volumeClaimTemplate": template}}


def owner_labels(request: RestoreRequest) -> dict[str, str]:
    """Labels of everything that is made for a request."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        OWNER_UID_LABEL: request.metadata.uid,
        OWNER_KIND_LABEL: "RestoreRequest",
        OWNER_NAME_LABEL: label_value(request.metadata.name),
    }


def measured(request: RestoreRequest, status: RestoreRequestStatus, now: datetime) -> RestoreRequestStatus:
    """The status of a drill that went well, with what it measured.

    Both ends of the recovery time are told by the cluster's clock, the length of pg_amcheck by the node's.
    """
    last = status.attempts[-1]
    ended = last.completion_time or now
    recovery = (ended - last.start_time) - length(step_of(status, AMCHECK))
    began = status.start_time or last.start_time
    return status.model_copy(
        update={
            "completion_time": ended.replace(microsecond=0),
            "duration_seconds": round(max(0.0, (ended - began).total_seconds()), 1),
            "recovery_seconds": max(0, round(recovery.total_seconds())),
            "data_loss_seconds": data_loss(request, status),
            "step": "Done",
        }
    )


def data_loss(request: RestoreRequest, status: RestoreRequestStatus) -> int | None:
    """Seconds between the moment the data are of and the one at which the drill looked for the latest; None where it
    was to come to another one, or nothing tells."""
    target, looked = request.spec.source.target, step_of(status, RESOLVE)
    if target is None or not target.latest or status.restored_time is None or looked is None:
        return None
    began = looked.start_time or status.attempts[-1].start_time
    return max(0, round((began - status.restored_time).total_seconds()))


def in_words(status: RestoreRequestStatus) -> str:
    """What came of a drill that went well, as a sentence."""
    lost = status.data_loss_seconds
    loss = f", and {human_seconds(lost)} of data would have been lost" if lost is not None else ""
    return (
        f"the drill came to {status.restored_to} and passed {status.checks_passed} checks: a restore takes"
        f" {human_seconds(status.recovery_seconds or 0)}{loss}. What was restored is thrown away"
    )


def step_of(status: RestoreRequestStatus, name: str) -> Step | None:
    return next((step for step in status.steps if step.name == name), None)


def length(step: Step | None) -> timedelta:
    """How long a step took; nothing where it was not done."""
    if step is None or step.start_time is None or step.completion_time is None:
        return timedelta()
    return max(timedelta(), step.completion_time - step.start_time)
