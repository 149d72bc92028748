"""Conditions after kstatus: Ready, Reconciling, Stalled, and the domain conditions of each kind.

kstatus reads Ready=False as "in progress", so a failure that only a change of spec can mend also sets
Stalled=True. Ready means "accepted and in force" for clusters, stores and policies, and "done" for objects that
describe one piece of work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgwarden.api.masking import masked
from pgwarden.api.model import Model, Reason

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"


class Truth(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One condition, shaped as metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Name of the condition."""
    status: Truth
    """True, False or Unknown."""
    reason: Reason
    """One word for programs: why the condition has this status."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """A sentence for people: what happened, to which object, why, and what to do now."""
    last_transition_time: datetime
    """When status last changed."""
    observed_generation: int = 0
    """The metadata.generation this condition speaks of."""


class Judgment(Model):
    """A condition as a plan states it: without times, which `merge` adds."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def judge(type_: str, status: bool | None, reason: str, message: str = "") -> Judgment:
    """A judgment; a status of None is Unknown."""
    truth = Truth.UNKNOWN if status is None else Truth.TRUE if status else Truth.FALSE
    return Judgment(type=type_, status=truth, reason=as_reason(reason), message=masked(message)[:4096])


def as_reason(text: str) -> str:
    """`text` as the API server takes it for a reason: reasons also come from agents of other versions."""
    cleaned = re.sub(r"[^A-Za-z0-9_,:]", "", text)[:128].rstrip(",:").lstrip("0123456789_,:")
    return cleaned or "Unspecified"


def ready(reason: str, message: str = "") -> list[Judgment]:
    """The three kstatus judgments of an object that is as it should be."""
    return [
        judge(READY, True, reason, message),
        judge(RECONCILING, False, reason),
        judge(STALLED, False, reason),
    ]


def in_progress(reason: str, message: str = "") -> list[Judgment]:
    """The three kstatus judgments of an object that is being worked on, or waits for something that may come."""
    return [
        judge(READY, False, reason, message),
        judge(RECONCILING, True, reason, message),
        judge(STALLED, False, reason),
    ]


def stalled(reason: str, message: str = "") -> list[Judgment]:
    """The three kstatus judgments of an object that will not get further without a person."""
    return [
        judge(READY, False, reason, message),
        judge(RECONCILING, False, reason),
        judge(STALLED, True, reason, message),
    ]


def merge(
    existing: Sequence[Condition], judgments: Iterable[Judgment], *, generation: int, now: datetime
) -> list[Condition]:
    """The new conditions list: `judgments` laid over `existing`.

    A condition's last_transition_time moves only when its status does. Conditions that no judgment names stay as
    they were; where two name the same, the last one counts. Order is stable: that of `existing`, then new ones as
    judged.
    """
    result = {condition.type: condition for condition in existing}
    for judgment in {judgment.type: judgment for judgment in judgments}.values():
        before = result.get(judgment.type)
        same = before is not None and before.status == judgment.status
        result[judgment.type] = Condition(
            type=judgment.type,
            status=judgment.status,
            reason=judgment.reason,
            message=judgment.message,
            last_transition_time=before.last_transition_time if same and before else now.replace(microsecond=0),
            observed_generation=generation,
        )
    return list(result.values())


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether the condition exists and is True."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == Truth.TRUE
