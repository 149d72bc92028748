"""What the agents of a restore told, as its status keeps it: Job and pod may be gone when somebody asks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from pgwarden.jobs.state import JobState
from pgwarden.jobs.task import shorten
from pgwarden.restores.contract import CheckResult
from pgwarden.restores.resource import CheckOutcome, RestoreRequestStatus

AGENT = "agent"
"""The container that recovers and checks."""
MOST_CHECKS = 40
MOST_FINDINGS = 32
TEXT = 256


def with_told(status: RestoreRequestStatus, job: JobState) -> RestoreRequestStatus:
    """The status with checks and findings, also those of a restore that failed over them."""
    told = job.told.get(AGENT)
    if told is None:
        return status
    checks, findings = outcomes(told.report.get("checks")), sentences(told.report.get("findings"))
    return status.model_copy(
        update={"checks": checks or status.checks, "findings": findings or status.findings},
    )


def outcomes(told: Any) -> list[CheckOutcome]:
    """The checks, failed ones first; none where an agent of another version told them otherwise."""
    try:
        checks = [CheckResult.model_validate(each) for each in told or []]
    except (TypeError, ValidationError):
        return []
    by_name = {each.name: each for each in sorted(checks, key=lambda check: check.passed)}
    return [
        CheckOutcome(
            name=shorten(each.name, 63),
            passed=each.passed,
            answer=shorten(each.detail, TEXT),
            built_in=each.built_in,
            advisory=each.advisory,
        )
        for each in list(by_name.values())[:MOST_CHECKS]
    ]


def sentences(told: Any) -> list[str]:
    """The findings that are texts."""
    listed: Sequence[Any] = told if isinstance(told, list) else []
    return [shorten(each, TEXT) for each in listed if isinstance(each, str)][:MOST_FINDINGS]
