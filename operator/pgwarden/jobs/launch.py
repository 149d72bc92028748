"""One attempt at an operation: the task that an agent gets, and the Job it runs in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgwarden.api.references import JobTemplate
from pgwarden.jobs.render import JobRequest, Manifest, Owner, render_job
from pgwarden.jobs.task import ObjectRef, Payload, Task


@dataclass(frozen=True)
class Launch:
    """What an attempt has for itself, whatever is attempted."""

    name: str
    """Of the Job."""
    attempt: int
    nonce: str
    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()

    def job(
        self,
        owner: Owner,
        payload: Payload,
        template: JobTemplate,
        *,
        cluster: str = "",
        system_identifier: str = "",
        volumes: Sequence[Manifest] = (),
        mounts: Sequence[Manifest] = (),
    ) -> Manifest:
        """The Job of one agent with that task. Raises TaskTooLarge."""
        request = JobRequest(
            name=self.name,
            owner=owner,
            task=task_of(owner, payload, self.attempt, self.nonce),
            image=self.image,
            template=template,
            cluster=cluster,
            system_identifier=system_identifier,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            volumes=tuple(volumes),
            mounts=tuple(mounts),
        )
        return render_job("jobs/job.yaml.j2", request)


def task_of(owner: Owner, payload: Payload, attempt: int, nonce: str) -> Task:
    """What an agent is told that works for `owner`."""
    return Task(
        operation=payload.OPERATION,
        nonce=nonce,
        object=ObjectRef(kind=owner.kind, namespace=owner.namespace, name=owner.name, uid=owner.uid),
        attempt=attempt,
        payload=payload.model_dump(mode="json", by_alias=True),
    )
