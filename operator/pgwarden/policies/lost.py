"""Backups that were good when they ended and, when the archive was last read, could not be restored any more. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from pgwarden.policies.resource import CatalogueStatus
from pgwarden.policies.runs import Run, RunType

APART = timedelta(minutes=5)
"""A Job ends by its node's clock, a look begins by the operator's: a backup of so little before may not be in it."""


def without_lost(runs: Sequence[Run], seen: CatalogueStatus | None) -> list[Run]:
    """The runs, those marked that are newer than the newest of their type that the archive was seen to hold intact."""
    return [replace(run, restorable=False, lost=True) if is_lost(run, seen) else run for run in runs]


def is_lost(run: Run, seen: CatalogueStatus | None) -> bool:
    """Whether the last look into the archive would have found the backup, and did not, or found it damaged."""
    if seen is None or seen.looked_from is None or run.ended is None or not run.restorable:
        return False
    newest = {
        RunType.FULL: seen.newest_full,
        RunType.INCREMENTAL: seen.newest_incremental,
        RunType.LOGICAL: seen.newest_logical,
    }[run.type]
    return run.known + APART <= seen.looked_from and (newest is None or newest < run.ended)
