"""What the operator asks of every capability's handler."""

from __future__ import annotations

from typing import Protocol

from pgwarden.kube.key import Key
from pgwarden.kube.types import ResourceType


class Controller(Protocol):
    """Looks at the objects of one kind."""

    type: ResourceType

    async def reconcile(self, key: Key) -> float | None:
        """Observes, plans and applies; returns seconds after which to look again, None for the next resync."""
        ...

    def dependents(self, changed: Key) -> list[Key]:
        """Objects of this kind that want to be looked at because another object of ours changed or went."""
        ...


class Background(Protocol):
    """Work beside looking at objects."""

    async def run(self) -> None:
        """Works until cancelled."""
        ...
