"""A report always fits into a termination message, and failed checks are the last to go."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.task import RESULT_LIMIT, Outcome, Result
from pgwarden.restores.contract import CheckResult, RecoverReport, StepReport
from pgwarden.restores.steps import fitted

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
TEXTS = st.text(max_size=200)


@given(
    databases=st.lists(st.text(min_size=1, max_size=63), max_size=60),
    findings=st.lists(TEXTS, max_size=60),
    checks=st.lists(st.tuples(st.text(max_size=63), st.booleans(), TEXTS), max_size=32),
)
def test_any_report_fits(databases: list[str], findings: list[str], checks: list[tuple[str, bool, str]]) -> None:
    report = RecoverReport(
        end_lsn="FFFFFFFF/FFFFFFFF",
        timeline=4294967295,
        system_identifier="7711254254696325175",
        databases=databases,
        findings=findings,
        checks=[CheckResult(name=name, passed=passed, detail=detail) for name, passed, detail in checks],
        superuser="p" * 63,
        steps=[StepReport(name="VerifyFiles", started=NOW, finished=NOW) for _ in range(5)],
    )
    shown = fitted(report)
    result = Result(
        outcome=Outcome.FAILED,
        reason="CheckFailed",
        message="m" * 2000,
        remedy="r" * 500,
        report=shown.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
    assert len(result.to_message().encode()) <= RESULT_LIMIT


def test_failed_checks_come_first() -> None:
    checks = [CheckResult(name=f"check {number}", passed=number != 25) for number in range(30)]
    report = RecoverReport(end_lsn="0/1", timeline=2, system_identifier="1", checks=checks, findings=["x" * 300] * 50)
    shown = fitted(report)
    assert shown.checks[0].name == "check 25"
    assert shown.findings[-1].startswith("and ")
