"""What every handler gets: the client, the cache, the queue, the recorder of Events, the configuration, the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pgwarden.jobs.task import Operation
from pgwarden.kube.cache import Cache
from pgwarden.kube.client import KubeClient
from pgwarden.kube.config import OperatorConfig
from pgwarden.kube.controller import Controller
from pgwarden.kube.events import EventRecorder
from pgwarden.kube.key import Key
from pgwarden.kube.patch import Path
from pgwarden.kube.progress import ProgressBoard
from pgwarden.kube.queue import Queue


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Reservation:
    """A Job that is just being created."""

    operation: Operation
    system_identifier: str


@dataclass
class OperatorContext:
    """One operator process."""

    config: OperatorConfig
    client: KubeClient
    cache: Cache
    queue: Queue
    events: EventRecorder
    progress: ProgressBoard
    clock: Callable[[], datetime] = field(default=utc_now)
    controllers: list[Controller] = field(default_factory=list)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    """Jobs that are just being created, by the UID of the object they are for."""

    pruned: dict[str, set[Path]] = field(default_factory=dict)
    """Kind -> fields of its status that the CRD in the cluster does not know, as far as writes have shown."""

    def wake(self, key: Key) -> None:
        """Has an object looked at."""
        self.queue.add(key)

    def dependents(self, changed: Key) -> list[Key]:
        """Objects of ours that want to be looked at because this one changed or went."""
        return [key for controller in self.controllers for key in controller.dependents(changed)]
