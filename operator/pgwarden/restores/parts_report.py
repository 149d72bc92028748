"""What is told of parts that were restored, cut to what a termination message takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pgwarden.restores.contract import RecoverReport
from pgwarden.restores.parts_contract import PartReport, PartsReport
from pgwarden.restores.steps import fitted

COUNTS_BYTES = 1000
"""What the rows of single tables may take of a termination message."""
FEWER = 400
"""Bytes that each database takes beside, at the most."""


def with_parts(report: RecoverReport, parts: Sequence[PartReport]) -> PartsReport:
    """The report with its parts, cut so that both fit."""
    cut = fitted(report)
    return PartsReport.model_validate({**cut.model_dump(), "parts": [each.model_dump() for each in shown(parts)]})


def shown(parts: Sequence[PartReport]) -> list[PartReport]:
    """The parts with the counts of as many tables as there is room for, the largest first."""
    room = max(0, COUNTS_BYTES - FEWER * (len(parts) - 1)) // len(parts)
    return [cut_counts(part, room) for part in parts]


def cut_counts(part: PartReport, room: int) -> PartReport:
    counts, taken = [], 0
    for each in part.counts:
        taken += len(each.model_dump_json(by_alias=True).encode())
        if taken > room:
            break
        counts.append(each)
    return part.model_copy(update={"counts": counts})


def restored_parts(parts: Sequence[PartReport]) -> str:
    """What was restored, as a sentence."""
    told = [f"{each.database} as {each.new_name}: {each.rows} rows in {each.tables} tables" for each in parts]
    return "; ".join(told)
