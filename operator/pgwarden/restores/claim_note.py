"""What the claim says of the restore in place that works on it, for whoever goes on when its request is gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field, ValidationError

from pgwarden.clusters.resource import Dependent
from pgwarden.jobs.task import ReportModel
from pgwarden.restores.stopping import Workload

NOTE = "pgwarden.dev/restoring-what"
"""Annotation of a claim beside the mark."""


class ClaimNote(ReportModel):
    """The note."""

    request: str = ""
    """Namespace and name of the RestoreRequest."""
    services: list[Dependent] = Field(default_factory=list)
    """The workloads that it stops, beside the server."""


def note(request: str, services: Iterable[Workload]) -> str:
    """The note as it is written."""
    stopped = [Dependent(kind=each.kind, namespace=each.namespace, name=each.name) for each in services]
    return ClaimNote(request=request, services=stopped).model_dump_json(by_alias=True)


def noted(annotations: Mapping[str, str]) -> ClaimNote:
    """The note as it is read; an empty one where there is none, or somebody broke what is written."""
    try:
        return ClaimNote.model_validate_json(annotations.get(NOTE, "{}"))
    except ValidationError:
        return ClaimNote()
