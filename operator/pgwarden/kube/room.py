"""Whether there is room for one more Job now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgwarden.jobs.exclusion import blocking
from pgwarden.jobs.names import OWNER_UID_LABEL, SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.state import ended_condition
from pgwarden.jobs.task import Operation
from pgwarden.kube.context import OperatorContext, Reservation
from pgwarden.kube.work import running_operations


def no_room(context: OperatorContext, operation: Operation, system_identifier: str, owner_uid: str) -> str:
    """The sentence that says why a Job has to wait; empty when it need not."""
    about = {uid: each for uid, each in context.reservations.items() if uid != owner_uid}
    starting = [each.operation for each in about.values() if each.system_identifier == system_identifier]
    running = running_operations(context, system_identifier, owner_uid) if system_identifier else []
    other = blocking(operation, [*running, *starting])
    if other is not None:
        return f"waits for another {other} on the same PostgreSQL cluster to end"
    limits = context.config.limits
    total, on_cluster = len(about), len(starting)
    for job in context.cache.bodies("Job"):
        labels = job["metadata"].get("labels") or {}
        if labels.get(OWNER_UID_LABEL) == owner_uid or ended_condition(job) is not None:
            continue
        total += 1
        on_cluster += bool(system_identifier) and labels.get(SYSTEM_IDENTIFIER_LABEL) == system_identifier
    if on_cluster >= limits.jobs_per_cluster:
        return f"{on_cluster} Jobs run on the same PostgreSQL cluster, and limits.jobsPerCluster allows no more"
    if total >= limits.jobs_total:
        return f"{total} Jobs run, and limits.jobsTotal allows no more"
    return ""


@contextmanager
def reserved(context: OperatorContext, operation: Operation, system_identifier: str, owner_uid: str) -> Iterator[None]:
    """Keeps the room that was found until the Job exists: several objects are looked at at the same time."""
    context.reservations[owner_uid] = Reservation(operation, system_identifier)
    try:
        yield
    finally:
        context.reservations.pop(owner_uid, None)
