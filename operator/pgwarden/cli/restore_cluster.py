"""`pgwarden restore` through a Kubernetes cluster: RestoreRequests and the ConfigMaps with their reports."""

from __future__ import annotations

from typing import Any

from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import CONFIG_MAPS, RESTORES, Person, as_person
from pgwarden.restores.filing import COMPONENT, FILE, report_name
from pgwarden.restores.resource import RestoreRequest


def requests(namespace: str | None) -> list[RestoreRequest]:
    """The RestoreRequests of a namespace, the oldest first. Raises TaskError."""

    async def work(person: Person) -> list[RestoreRequest]:
        found = [RestoreRequest.of(body) for body in await person.client.list(RESTORES, person.namespace)]
        if not found:
            await person.check_namespace()
        return sorted(found, key=lambda each: (str(each.metadata.creation_timestamp), each.metadata.name))

    return as_person(namespace, work)


def request(namespace: str | None, name: str) -> RestoreRequest:
    """One RestoreRequest. Raises TaskError with reason ObjectNotFound."""
    return RestoreRequest.of(as_person(namespace, lambda person: person.get(RESTORES, name)))


def report(namespace: str | None, name: str) -> str:
    """The incident report of a RestoreRequest; also of one that is gone. Raises TaskError: ObjectNotFound,
    ReportNotThere."""

    async def work(person: Person) -> str:
        body = await person.client.get(RESTORES, person.namespace, name)
        filed = RestoreRequest.of(body).status.report if body is not None else None
        kept = filed.config_map if filed is not None and filed.config_map else report_name(name)
        found = await person.client.get(CONFIG_MAPS, person.namespace, kept)
        if found is not None and (body is None or filed is not None):
            return content(found)
        if body is None:
            await person.get(RESTORES, name)
        raise TaskError(
            "ReportNotThere",
            f"RestoreRequest {person.namespace}/{name} has no report"
            + (f": {filed.message}" if filed is not None and filed.message else ": it has not ended, or never began"),
            remedy=f"kubectl pgwarden restore show {name} tells where it stands.",
            retryable=filed is None,
        )

    return as_person(namespace, work)


def content(config_map: dict[str, Any]) -> str:
    """The text in a ConfigMap. Raises TaskError with reason ReportNotThere where it is another sort of ConfigMap."""
    metadata = config_map["metadata"]
    labels = metadata.get("labels") or {}
    if COMPONENT not in labels.values() or FILE not in (config_map.get("data") or {}):
        raise TaskError(
            "ReportNotThere",
            f"ConfigMap {metadata['namespace']}/{metadata['name']} is none of pgwarden's reports",
            remedy="kubectl get configmaps -l app.kubernetes.io/component=restore-report lists those that are there.",
        )
    return str(config_map["data"][FILE])
