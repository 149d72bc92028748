"""Whether there is room for one more Job now."""

from __future__ import annotations

from pgwarden.jobs.exclusion import blocking
from pgwarden.jobs.names import OWNER_UID_LABEL, SYSTEM_IDENTIFIER_LABEL
from pgwarden.jobs.state import observe
from pgwarden.jobs.task import Operation
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.work import running_operations


def no_room(context: OperatorContext, operation: Operation, system_identifier: str, owner_uid: str) -> str:
    """The sentence that says why a Job has to wait; empty when it need not."""
    other = blocking(operation, running_operations(context, system_identifier, owner_uid))
    if other is not None:
        return f"waits for another {other} on the same PostgreSQL cluster to end"
    limits = context.config.limits
    total = on_cluster = 0
    for job in context.cache.bodies("Job"):
        labels = job["metadata"].get("labels") or {}
        if labels.get(OWNER_UID_LABEL) == owner_uid or observe(job, []).ended:
            continue
        total += 1
        on_cluster += labels.get(SYSTEM_IDENTIFIER_LABEL) == system_identifier
    if on_cluster >= limits.jobs_per_cluster:
        return f"{on_cluster} Jobs run on the same PostgreSQL cluster, and limits.jobsPerCluster allows no more"
    if total >= limits.jobs_total:
        return f"{total} Jobs run, and limits.jobsTotal allows no more"
    return ""
