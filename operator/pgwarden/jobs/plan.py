"""What a plan says: the shape every capability's plan.py returns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from pgwarden.api.conditions import READY, STALLED, Judgment, Truth, find, merge
from pgwarden.api.quantities import human_bytes
from pgwarden.api.status import Status, WorkProgress, WorkStatus
from pgwarden.jobs.render import Manifest
from pgwarden.jobs.task import Progress, Report, Result

WorkStatusType = TypeVar("WorkStatusType", bound=WorkStatus)
ReportType = TypeVar("ReportType", bound=Report)

REPORT_UNREADABLE = "ReportUnreadable"


@dataclass(frozen=True)
class Notice:
    """An Event to tell people about; the same one is not told twice in a row."""

    reason: str
    message: str
    warning: bool = False


@dataclass
class Plan:
    """What to do about one object, and what to say about it."""

    status: Status
    """As it is to be, without conditions."""
    judgments: list[Judgment] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    create: list[Manifest] = field(default_factory=list)
    """Objects to create where they do not exist, in order; an existing one of ours is adopted."""
    start: Manifest | None = None
    """The Job to create."""
    delete_job: str | None = None
    """Name of a Job to end."""
    written: bool = True
    """False when the status could not be written because the object had changed: it is looked at again."""
    again_after: float | None = None
    """Seconds after which to look again; None waits for the next event or resync."""


def conclude(plan: Plan, before: Status, *, generation: int, now: datetime) -> Status:
    """The status to be written: what the plan says, with its judgments merged into the conditions there were."""
    conditions = merge(before.conditions, plan.judgments, generation=generation, now=now)
    return plan.status.model_copy(update={"conditions": conditions, "observed_generation": generation})


def with_progress(status: WorkStatusType, progress: Progress | None, now: datetime) -> WorkStatusType:
    """`status` with the progress an agent told; judged at once, rounded so that little changes write nothing."""
    if progress is None:
        return status
    before = status.progress
    same = before is not None and (before.step, before.done) == (progress.step[:63], progress.done)
    percent = max(0, min(100, progress.done * 100 // progress.total)) if progress.total else 0
    shown = WorkProgress(
        step=progress.step[:63],
        done=progress.done,
        total=progress.total,
        unit=progress.unit[:63],
        percent=percent,
        text=f"{percent}%" if progress.total else counted(progress),
        detail=progress.detail[:256],
        moved_time=before.moved_time if same and before is not None else now.replace(microsecond=0),
    )
    return status.model_copy(update={"progress": shown})


def counted(progress: Progress) -> str:
    """How much is done, of nobody knows how much; empty while that is nothing."""
    if not progress.done:
        return ""
    return human_bytes(progress.done) if progress.unit == "bytes" else f"{progress.done} {progress.unit}"[:63]


def report_of(model: type[ReportType], result: Result | None) -> ReportType | None:
    """What a task reported; None when there is nothing, or an agent of another version said it otherwise."""
    if result is None or not result.report:
        return None
    try:
        return model.model_validate(result.report)
    except ValidationError:
        return None


QUIET = frozenset(
    {
        "PodNotCreated",
        "PodStarting",
        "Migrating",
        "BackingUp",
        "Restoring",
        "NotObservedYet",
        "ClusterNotObserved",
        "StoreNotProbed",
        "NothingYet",
    }
)
"""Reasons that come and go in every run: they stand in the condition, but nobody needs an Event of them."""


def told(judgments: Sequence[Judgment], before: Status, type_: str = READY) -> list[Notice]:
    """An Event where the judgment of that type has another status or reason than the condition had.

    It is a warning when the judgment is False, or Ready is False because only a person can help.
    """
    new = next((judgment for judgment in judgments if judgment.type == type_), None)
    if new is None or new.reason in QUIET:
        return []
    old = find(before.conditions, type_)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return []
    stuck = any(judgment.type == STALLED and judgment.status == Truth.TRUE for judgment in judgments)
    warning = stuck if type_ == READY else new.status == Truth.FALSE
    return [Notice(new.reason, new.message, warning=warning)]
