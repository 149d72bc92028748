"""Tells the pod of a restore whose copy is looked at that it may go on: an annotation, of which the pod has a file."""

from __future__ import annotations

from pgwarden.jobs.state import JobPhase, JobState
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.types import PODS
from pgwarden.restores.contract import PROCEED_ANNOTATION
from pgwarden.restores.resource import RestoreRequest


async def pass_word(context: OperatorContext, request: RestoreRequest, job: JobState) -> None:
    """Annotates the Job's pod once `spec.proceed` is set; another pod that takes its place is told as well.

    Raises KubeError.
    """
    if not request.spec.proceed or request.spec.inspect is None or job.phase != JobPhase.RUNNING:
        return
    namespace = request.metadata.namespace
    for pod in context.cache.pods_of(namespace, job.name):
        metadata = pod["metadata"]
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if ended or PROCEED_ANNOTATION in (metadata.get("annotations") or {}):
            continue
        patch = {"metadata": {"uid": metadata["uid"], "annotations": {PROCEED_ANNOTATION: "true"}}}
        try:
            await context.client.merge(PODS, namespace, metadata["name"], patch)
        except KubeError as error:
            # It went meanwhile, or another one of that name has come, which is told at the next look.
            if not (error.not_found or error.status == 409):
                raise
