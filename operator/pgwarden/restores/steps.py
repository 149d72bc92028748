"""The steps of a restore, with their times, and reports that fit into a termination message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import RecoverReport, StepReport

MAX_DATABASES = 20
REPORT_BYTES = 2600
"""What a report may take of the 4,096 bytes of a Result, which also holds message and remedy."""


class Steps:
    """Writes down when each step began and ended."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context
        self.reports: list[StepReport] = []
        self.detail = ""
        """What is worth knowing of the step that runs."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step; one that fails is not written down."""
        started = datetime.now(UTC)
        self.detail = ""
        self.context.progress(name)
        try:
            yield
        except TaskError as error:
            # Whoever reads the failure learns from those that are done which one it was.
            error.report.setdefault("steps", [told.model_dump(mode="json", by_alias=True) for told in self.reports])
            raise
        self.reports.append(StepReport(name=name, started=started, finished=datetime.now(UTC), detail=self.detail))


def fitted(report: RecoverReport) -> RecoverReport:
    """`report` cut until it fits into a Result: lists first, then what the checks say. Failed checks come first."""
    failed_first = sorted(report.checks, key=lambda check: check.passed)
    cut = report.model_copy(update={"databases": report.databases[:MAX_DATABASES], "checks": failed_first})
    for sentences, characters in ((10, 200), (5, 120), (3, 80), (1, 40), (0, 0)):
        if size(cut) <= REPORT_BYTES:
            break
        cut = cut.model_copy(
            update={
                "findings": first_of(report.findings, sentences, characters),
                "databases": report.databases[: 2 * sentences],
                "checks": [
                    check.model_copy(update={"detail": check.detail[:characters]})
                    for check in failed_first[: 4 + 3 * sentences]
                ],
            }
        )
    return cut


def first_of(sentences: list[str], count: int, characters: int) -> list[str]:
    """The first sentences, cut, and how many more there are."""
    more = [f"and {len(sentences) - count} more: see the pod's log"] if len(sentences) > count else []
    return [sentence[:characters] for sentence in sentences[:count]] + more


def size(report: RecoverReport) -> int:
    return len(report.model_dump_json(by_alias=True, exclude_none=True).encode())
