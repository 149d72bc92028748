"""What a migration reports fits into a termination message, whatever it has to tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.agent import failed as failed_result
from pgwarden.jobs.task import RESULT_LIMIT, Result
from pgwarden.migrations.contract import MigrateReport
from pgwarden.migrations.failures import Failure, describe
from pgwarden.migrations.files import Direction, Migration, Script
from pgwarden.migrations.runner import Standing
from pgwarden.migrations.steps import Record, RecordState, Step
from pgwarden.migrations.task import report
from pgwarden.postgres.script import DatabaseError

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


def standing_of(versions: list[int], step: Step, failure: Failure) -> Standing:
    records = [Record(version, "m", RecordState.APPLIED, "") for version in versions]
    migrations = [Migration(version, Script(f"{version}_m.up.sql", "m", b"")) for version in versions]
    return Standing(migrations, records, ran=versions, failed_step=step, failure=failure, server_version="18.6")


@given(st.lists(st.integers(1, 10**63 - 1), min_size=1, max_size=300, unique=True), ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_failure_fits_with_its_message_and_remedy(versions: list[int], title: str, sql: str, message: str) -> None:
    script = Script(f"source/{versions[0]}_{title[:180]}.up.sql", title, sql.encode())
    step = Step(Migration(versions[0], script), Direction.UP, script)
    error, failure = describe(step, DatabaseError(message, sqlstate="42601", completed=0, hint=message, detail=message))
    made = report(standing_of(versions, step, failure), 0.0)
    error.report = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    encoded = failed_result(error).to_message()
    assert len(encoded.encode()) <= RESULT_LIMIT
    read = MigrateReport.model_validate(Result.model_validate_json(encoded).report)
    assert read.current_version == str(max(versions))
    assert read.ran and read.ran[-1] == str(versions[-1])
    assert read.failed and read.failed.sqlstate == "42601"
    assert len(read.failed.file) <= 253


def test_a_lost_connection_promises_no_rollback_it_has_not_seen() -> None:
    script = Script("1_a.up.sql", "a", b"select 1")
    step = Step(Migration(1, script), Direction.UP, script)
    lost, _ = describe(step, DatabaseError("server closed the connection unexpectedly"))
    assert (lost.reason, lost.retryable) == ("ConnectionLost", True)
    assert "unless the connection broke in the very moment of its commit" in lost.message
