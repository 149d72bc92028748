"""The keeper of the archivers, over real HTTP: makes and mends them, reads them, and tells why one is silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.api.model import Resource
from pgwarden.archiving.board import ArchiverBoard
from pgwarden.archiving.contract import ArchiverReport, ArchiverState
from pgwarden.archiving.handlers import RETIREMENT_SECONDS, WAKE_SECONDS, ArchiverKeeper
from pgwarden.archiving.render import archiver_name
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.keeper import STARTING_SECONDS
from pgwarden.kube.key import Key
from tests.support.keepers import ALL, SILENT, AtWork, check_silence, keeping
from tests.support.loopback import Answer, refusal
from tests.support.objects import NAMESPACE, NOW, Body, claim_store, observed_cluster
from tests.unit.policies.bodies import policy

KEY = Key("BackupPolicy", NAMESPACE, "operational")

Kept = AtWork[ArchiverKeeper]


@pytest.fixture
async def it() -> AsyncIterator[Kept]:
    """A keeper with one policy that wants WAL."""
    async with keeping(lambda context: ArchiverKeeper(context, ArchiverBoard())) as kept:
        put(kept.context, observed_cluster())
        put(kept.context, claim_store())
        put(kept.context, policy(wal={"enabled": True}))
        yield kept


def problem(it: Kept) -> str:
    return it.keeper.board.known(KEY).problem


def put(context: OperatorContext, made: Resource, version: str = "1") -> None:
    kind = made.INFO.kind
    content: Any = made
    metadata = {**made.metadata.to_json(), "resourceVersion": version, "generation": int(version)}
    context.cache.put(
        Key(kind, NAMESPACE, made.metadata.name),
        {"kind": kind, "metadata": metadata, "spec": content.spec.to_json(), "status": content.status.to_json()},
    )


def document(seconds: float = 0, **more: Any) -> Answer:
    """What an archiver answers that streams."""
    facts: dict[str, Any] = {"state": ArchiverState.STREAMING, "reason": "Streaming", "since": NOW, **more}
    moment = NOW + timedelta(seconds=seconds)
    report = ArchiverReport(time=moment, policy="operational", recovery_point_time=moment, **facts)
    return 200, report.model_dump_json(by_alias=True)


async def test_a_policy_with_wal_gets_an_archiver_once(it: Kept) -> None:
    assert await it.round() == ALL
    assert await it.round() == []


async def test_a_policy_without_wal_gets_none_and_nobody_is_asked_again(it: Kept) -> None:
    put(it.context, policy(), "2")
    assert await it.round() == []
    kept = it.keeper._kept[KEY]
    assert kept.next_look - kept.made_at > it.context.config.monitor_interval


async def test_wal_that_is_turned_off_takes_the_archiver_away(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    put(it.context, policy(), "2")
    # Its slots go first.
    assert await it.round() == ["configmaps"]
    assert json.loads(it.place.kept["configmaps"]["data"]["settings.json"])["retired"]
    assert await it.round() == []
    it.place.pod = document(state=ArchiverState.RETIRED, reason="Retired")
    assert await it.round() == []
    assert await it.round() == ["deployments", "services"]
    assert it.keeper.board.known(KEY).report is None
    assert await it.round() == []


async def test_an_archiver_that_cannot_drop_its_slots_goes_all_the_same(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    put(it.context, policy(), "2")
    assert await it.round() == ["configmaps"]
    it.place.pod = document(state=ArchiverState.WAITING_FOR_PRIMARY, reason="SlotNotDropped")
    assert await it.round(after=RETIREMENT_SECONDS - 60) == []
    assert await it.round(after=120) == ["deployments", "services"]


async def test_wal_that_is_turned_on_again_has_the_archiver_go_on(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    put(it.context, policy(), "2")
    assert await it.round() == ["configmaps"]
    put(it.context, policy(wal={"enabled": True}), "3")
    assert await it.round() == ["configmaps"]
    assert not json.loads(it.place.kept["configmaps"]["data"]["settings.json"])["retired"]
    assert it.woken() == {KEY}


async def test_what_it_answers_is_taken_and_only_news_wake_the_policy(it: Kept) -> None:
    await it.round()
    assert it.woken() == set()
    it.place.pod = document()
    await it.round()
    assert it.woken() == {KEY}
    it.place.pod = document(5, acknowledged_lsn="0/5000000", lag_bytes=7, lag_seconds=1.0)
    await it.round()
    assert it.woken() == set()
    it.place.pod = document(10, state=ArchiverState.STORE_UNREACHABLE, reason="StoreUnreachable")
    await it.round()
    assert it.woken() == {KEY}
    assert it.pod.asked[-1].path == "/status"


async def test_what_always_moves_wakes_the_policy_once_a_minute(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    it.woken()
    it.place.pod = document(61)
    await it.round()
    assert it.woken() == set()
    it.keeper._woken[KEY] -= WAKE_SECONDS + 1
    await it.round()
    assert it.woken() == {KEY}


async def test_other_settings_reach_the_archiver(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    put(it.context, policy(wal={"enabled": True, "tailSeconds": 1}), "2")
    assert await it.round() == ["configmaps"]
    put(it.context, observed_cluster(primary={"host": "elsewhere"}), "2")
    assert await it.round() == ["configmaps"]


async def test_an_archiver_runs_on_while_its_cluster_or_store_is_away(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    it.context.cache.drop(Key("BackupStore", NAMESPACE, "claims"))
    assert await it.round() == []
    assert set(it.place.kept) == set(ALL)


async def test_one_that_somebody_deleted_is_made_again(it: Kept) -> None:
    await it.round()
    del it.place.kept["deployments"]
    await it.round(after=STARTING_SECONDS + 1)
    assert problem(it).endswith("it was deleted; it is made again")
    assert await it.round() == ["deployments"]


@pytest.mark.parametrize(("deployment", "why"), SILENT)
async def test_one_that_stays_silent_is_told_with_its_reason_once(it: Kept, deployment: Body, why: str) -> None:
    await check_silence(it, problem, KEY, deployment, why)
    it.place.pod = document()
    await it.round()
    assert problem(it) == ""


@pytest.mark.parametrize(
    ("refused", "told"),
    [(refusal(403, "Forbidden", "no rights"), "cannot be made: no rights"), (refusal(404, "NotFound"), "")],
)
async def test_a_refusal_is_told_unless_the_namespace_goes(it: Kept, refused: Answer, told: str) -> None:
    it.place.refuses = refused
    await it.round()
    assert problem(it).endswith(told) and bool(problem(it)) == bool(told)


async def test_somebody_elses_object_of_that_name_is_left_alone(it: Kept) -> None:
    it.place.kept["services"] = {"metadata": {"name": "x"}}
    assert await it.round() == ["configmaps"]
    assert "is not this policy's; rename or remove it" in problem(it)


async def test_a_policy_that_is_gone_is_forgotten(it: Kept) -> None:
    it.place.pod = document()
    await it.round()
    it.context.cache.drop(KEY)
    assert await it.round() == []
    assert it.keeper.board.known(KEY).report is None


async def test_nothing_is_made_again_for_a_policy_that_is_being_deleted(it: Kept) -> None:
    await it.round()
    it.place.kept.clear()
    body = it.context.cache.get(KEY)
    assert body is not None
    it.context.cache.put(
        KEY, {**body, "metadata": {**body["metadata"], "resourceVersion": "2", "deletionTimestamp": NOW.isoformat()}}
    )
    await it.round(after=STARTING_SECONDS + 1)
    assert await it.round(after=STARTING_SECONDS + 1) == []


async def test_a_policy_that_was_made_anew_gets_an_archiver_of_its_own(it: Kept) -> None:
    """`kubectl replace --force` deletes and creates at once: nobody sees the policy gone."""
    it.place.pod = document()
    await it.round()
    (first,) = it.place.names
    anew = policy(wal={"enabled": True})
    anew.metadata.uid = "another"
    it.place.kept.clear()
    put(it.context, anew, "2")
    assert await it.round() == ALL
    (second,) = it.place.names - {first}
    assert second == archiver_name(anew)
    assert it.keeper._kept[KEY].name == second
