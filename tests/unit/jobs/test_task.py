"""Task and Result: what crosses between operator and agent, also when they are of neighbouring versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pgwarden.backups.contract import BackupReport, BackupTask
from pgwarden.jobs.agent import OPERATIONS, load, read_task
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.plan import report_of
from pgwarden.jobs.task import (
    RESULT_LIMIT,
    SCHEMA_VERSION,
    Operation,
    Outcome,
    Result,
    Task,
    shorten,
    shorten_bytes,
)

TASK: dict[str, Any] = {
    "schemaVersion": SCHEMA_VERSION,
    "operation": "probe-store",
    "nonce": "0123456789abcdef",
    "object": {"kind": "BackupStore", "namespace": "shop", "name": "claims", "uid": "1"},
    "attempt": 2,
    "payload": {"store": {"claim": {"path": "/x"}}},
}
ANY_TEXT = st.text(st.characters(), max_size=3000)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=30), inner, max_size=10),
    max_leaves=20,
)


def test_an_agent_reads_tasks_of_its_own_version_and_of_the_one_before() -> None:
    for version in (SCHEMA_VERSION, SCHEMA_VERSION - 1):
        assert Task.model_validate(TASK | {"schemaVersion": version}).operation == Operation.PROBE_STORE


def test_an_agent_refuses_tasks_of_a_later_or_much_earlier_version() -> None:
    for version in (SCHEMA_VERSION + 1, SCHEMA_VERSION - 2):
        with pytest.raises(ValidationError):
            Task.model_validate(TASK | {"schemaVersion": version})


def test_an_agent_refuses_a_task_that_asks_for_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError):
        Task.model_validate(TASK | {"newInNextVersion": True})
    odd = Task.model_validate(TASK | {"payload": TASK["payload"] | {"newInNextVersion": True}})
    with pytest.raises(TaskError) as refused:
        load(odd)
    assert refused.value.reason == "TaskRefused"


def test_a_task_file_that_is_none_is_refused_with_what_to_check(tmp_path: Any) -> None:
    for content in ("", "[]", "{", '{"operation": "dance"}'):
        path = tmp_path / "task.json"
        path.write_text(content)
        with pytest.raises(TaskError) as refused:
            read_task(path)
        assert (refused.value.reason, bool(refused.value.remedy)) == ("TaskRefused", True)


def test_every_operation_has_an_agent_that_takes_its_payload() -> None:
    assert set(OPERATIONS) == set(Operation)
    for operation, (_, payload_name) in OPERATIONS.items():
        assert payload_name.endswith("Task"), operation


def test_the_operator_ignores_what_a_later_agent_adds_to_a_result() -> None:
    later = {"outcome": "Succeeded", "reason": "Done", "schemaVersion": SCHEMA_VERSION + 1, "more": [1]}
    assert Result.model_validate(later).outcome == Outcome.SUCCEEDED


def test_a_report_that_says_other_things_is_none_and_no_exception() -> None:
    assert report_of(BackupReport, None) is None
    assert report_of(BackupReport, Result(outcome=Outcome.SUCCEEDED, reason="Done", report={"size": "large"})) is None


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.dictionaries(st.text(max_size=30), JSON_VALUES, max_size=8))
def test_a_result_of_any_texts_fits_the_termination_message(
    reason: str, message: str, remedy: str, report: dict[str, Any]
) -> None:
    told = Result(outcome=Outcome.FAILED, reason=reason, message=message, remedy=remedy, report=report).to_message()
    assert len(told.encode()) <= RESULT_LIMIT
    assert Result.model_validate_json(told).outcome == Outcome.FAILED


@pytest.mark.parametrize("character", ["x", "é", "漢", "😀", "\x01", '"', "\ud800"])
def test_long_texts_of_wide_characters_are_cut_and_a_small_report_is_kept(character: str) -> None:
    report = {"currentVersion": "42", "failed": {"error": character * 200}}
    result = Result(outcome=Outcome.FAILED, reason="X", message=character * 9000, remedy="y" * 9000, report=report)
    told = Result.model_validate_json(result.to_message())
    assert told.report["currentVersion"] == "42"
    assert told.message.startswith(character.encode("utf-8", "replace").decode())
    assert told.remedy


def test_a_result_that_fits_is_told_whole() -> None:
    result = Result(outcome=Outcome.SUCCEEDED, reason="Done", message="all of it", report={"a": [1, {"b": "c"}]})
    assert Result.model_validate_json(result.to_message()) == result


@given(st.text(st.characters(), max_size=300), st.integers(10, 200))
def test_shortened_texts_keep_their_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit
    cut = shorten_bytes(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode("utf-8", "replace")) <= limit:
        assert cut == text.encode("utf-8", "replace").decode()


def test_a_payload_survives_json() -> None:
    task = BackupTask.model_validate(
        {
            "backupId": "x",
            "archive": {"namespace": "a", "cluster": "b", "clusterUid": "c"},
            "database": {"host": "h"},
            "store": {"claim": {"path": "/x"}},
        }
    )
    assert BackupTask.model_validate(json.loads(task.model_dump_json(by_alias=True))) == task
