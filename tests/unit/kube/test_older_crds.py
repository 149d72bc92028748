"""CRDs that are older than the code drop fields of a status: that is said once, and written once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pgwarden.api.conditions import Judgment, ready
from pgwarden.jobs.plan import Plan
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.patch import merge_patch, pruned, without
from pgwarden.kube.types import BACKUP_STORES
from pgwarden.kube.work import write_status
from pgwarden.stores.resource import BackupStore
from tests.support.context import operator_context
from tests.support.loopback import Answer, Asked, loopback
from tests.support.objects import NAMESPACE, Body, body

KEY = Key("BackupStore", NAMESPACE, "claims")
JSON = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=9,
)


class Stored:
    """A BackupStore at an API server; its schema may not know `location` and what an attempt's `outcome` is."""

    def __init__(self, made: Body, *, old: bool) -> None:
        self.body = {**made, "metadata": dict(made["metadata"]), "status": {}}
        self.old = old
        self.version = 1

    def answer(self, asked: Asked) -> Answer:
        self.version += 1
        status: Body = self.body["status"]
        status.update(asked.body["status"])
        if self.old:
            status.pop("location", None)
            for attempt in status["attempts"]:
                attempt.pop("outcome", None)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return 200, self.body


async def look(context: OperatorContext, location: str, judgments: list[Judgment]) -> None:
    """One look at the store as it is in the cache, whose plan says this."""
    present = context.cache.get(KEY)
    assert present is not None
    store = BackupStore.of(present)
    attempts = [{"number": 1, "job": "j", "startTime": "2026-11-23T11:00:00Z", "outcome": "Succeeded"}]
    status = store.status.model_validate({**store.status.to_json(), "location": location, "attempts": attempts})
    await write_status(context, BACKUP_STORES, present, store.status, Plan(status=status, judgments=judgments))


async def test_dropped_fields_are_written_once_and_named_once() -> None:
    context = operator_context()
    made = body("BackupStore", "claims", {"claim": {"name": "backups"}})
    context.cache.put(KEY, made)
    async with loopback(Stored(made, old=True).answer) as api:
        context.client = api.client()
        with capture_logs() as logs:
            for _ in range(3):
                await look(context, "here", ready("Writable"))
            assert len(api.asked) == 1
            await look(context, "here", ready("Suspended"))
            await look(context, "there", ready("Suspended"))
        assert len(api.asked) == 2
        assert api.asked[1].body["status"]["location"] == "here"
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert warning["kind"] == "BackupStore"
    assert warning["fields"] == ["status.attempts[].outcome", "status.location"]


async def test_a_schema_of_this_version_drops_nothing() -> None:
    context = operator_context()
    made = body("BackupStore", "claims", {"claim": {"name": "backups"}})
    context.cache.put(KEY, made)
    async with loopback(Stored(made, old=False).answer) as api:
        context.client = api.client()
        with capture_logs() as logs:
            await look(context, "here", ready("Writable"))
            await look(context, "there", ready("Writable"))
        assert (len(api.asked), context.pruned, logs) == (2, {}, [])


@given(JSON)
def test_what_came_back_whole_lost_nothing(value: Any) -> None:
    assert pruned(value, value) == set()
    assert without(value, set()) == value


@given(
    st.dictionaries(st.sampled_from("abc"), JSON, max_size=3),
    st.sets(st.sampled_from([("a",), ("b", "a"), ("c", "[]", "b")])),
)
def test_what_was_dropped_is_no_difference(value: Body, dropped: set[tuple[str, ...]]) -> None:
    kept = without(value, dropped)
    assert merge_patch(kept, without(value, pruned(value, kept))) == {}


@pytest.mark.parametrize("kept", [[{"a": 1}], [{"a": 1}, {}, {}]])
def test_a_list_of_another_length_was_changed_by_somebody(kept: list[Body]) -> None:
    assert pruned([{"a": 1}, {"b": 1}], kept) == set()
