"""Which objects are looked at at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgwarden.kube import types
from pgwarden.kube.key import Key
from pgwarden.kube.reconciler import NEVER, Reconciler
from tests.support.context import operator_context
from tests.support.objects import NAMESPACE, Body

KEY = Key("BackupPolicy", NAMESPACE, "nightly")


@dataclass
class Onlooker:
    """A controller that only remembers what it was shown."""

    type: types.ResourceType = types.BACKUP_POLICIES
    seen: list[Key] = field(default_factory=list)

    async def reconcile(self, key: Key) -> float | None:
        self.seen.append(key)
        return 7.0

    def dependents(self, changed: Key) -> list[Key]:
        return []


def policy(**metadata: str) -> Body:
    named = {"name": KEY.name, "namespace": NAMESPACE, "uid": "one", "resourceVersion": "1"}
    return {"kind": KEY.kind, "metadata": {**named, **metadata}}


async def test_an_object_that_is_being_deleted_is_left_alone_until_it_is_gone() -> None:
    context, onlooker = operator_context(), Onlooker()
    context.controllers.append(onlooker)
    reconciler = Reconciler(context)
    context.cache.put(KEY, policy())
    assert await reconciler.reconcile(KEY) == 7.0
    context.cache.put(KEY, policy(resourceVersion="2", deletionTimestamp="2026-11-23T12:00:00Z"))
    assert await reconciler.reconcile(KEY) is None
    assert onlooker.seen == [KEY]
    # That it is gone is the controller's to know: it forgets what it kept of it.
    context.cache.drop(KEY)
    assert await reconciler.reconcile(KEY) == NEVER
    assert onlooker.seen == [KEY, KEY]
