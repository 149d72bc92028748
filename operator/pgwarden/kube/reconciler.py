"""One look at one object, whatever its kind: what goes wrong in it is told to the people who read the object."""

from __future__ import annotations

import math

from pgwarden.api.conditions import READY, STALLED, in_progress, merge
from pgwarden.jobs.plan import Notice
from pgwarden.jobs.task import shorten
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.events import conditions_of
from pgwarden.kube.key import Key
from pgwarden.kube.objects import UnreadableObject
from pgwarden.kube.types import ResourceType

NEVER = math.inf
UNREADABLE_RETRY_SECONDS = 60.0


class Reconciler:
    """Hands keys to the controllers of their kinds."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context
        self.by_kind = {controller.type.kind: controller for controller in context.controllers}

    async def reconcile(self, key: Key) -> float | None:
        """Seconds after which to look again, None for the next resync, NEVER for an object that is gone.

        One that is being deleted and waits for what belongs to it (`--cascade=foreground`) is left alone: what is
        missing beneath it was just taken away, and would be made again.
        """
        if is_leaving(self.context.cache.get(key)):
            return None
        controller = self.by_kind[key.kind]
        try:
            after = await controller.reconcile(key)
        except UnreadableObject as error:
            after = await self.unreadable(controller.type, key, error)
        except KubeError as error:
            if not error.passing:
                self.tell(key, error)
            raise
        except Exception as error:
            self.tell(key, error)
            raise
        return after if self.context.cache.get(key) is not None else NEVER

    async def unreadable(self, type_: ResourceType, key: Key, error: UnreadableObject) -> float | None:
        """Says in the object why nothing is done about it. What was concluded before stays as it is."""
        body = self.context.cache.get(key)
        if body is None:
            return None
        self.context.events.tell(body, Notice("Unreadable", str(error), warning=True))
        conditions = conditions_of(body)
        if any(c.type in (READY, STALLED) and c.status == "True" for c in conditions):
            return None
        # Not Stalled: another version of pgwarden may understand it, and would take Stalled for its own last word.
        judgments = in_progress("Unreadable", str(error))
        merged = merge(
            conditions, judgments, generation=body["metadata"].get("generation", 0), now=self.context.clock()
        )
        told = [condition.to_json() for condition in merged]
        if told != (body.get("status") or {}).get("conditions"):
            metadata = body["metadata"]
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": {"conditions": told}}
            try:
                self.context.cache.put(
                    key, await self.context.client.merge_status(type_, key.namespace, key.name, patch)
                )
            except KubeError as refused:
                if not refused.not_found:
                    raise
        return UNREADABLE_RETRY_SECONDS

    def tell(self, key: Key, error: Exception) -> None:
        """An Event about a look that failed in a way that no condition tells."""
        body = self.context.cache.get(key)
        if body is not None:
            said = error.message if isinstance(error, KubeError) else f"{type(error).__name__}: {error}"
            message = f"looking at this object failed and is repeated, less and less often: {shorten(said, 700)}"
            self.context.events.tell(body, Notice("ReconcileFailed", message, warning=True))


def is_leaving(body: Body | None) -> bool:
    """Whether somebody has deleted the object and it is still there."""
    return body is not None and "deletionTimestamp" in body["metadata"]
