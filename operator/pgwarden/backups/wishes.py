"""What people ask for of a DatabaseBackup that is finished, and a Job of the catalogue does. Pure.

A wish has a condition of its own, and Ready stays as it was: the backup is as good as before, whatever comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgwarden.api.conditions import Judgment, judge
from pgwarden.api.status import Attempt
from pgwarden.backups.plan import WAIT_SECONDS, BackupPlan
from pgwarden.backups.resource import DatabaseBackup, DatabaseBackupStatus
from pgwarden.clusters.access import Obstacle
from pgwarden.jobs.attempts import KEPT_ATTEMPTS, Decision, decide
from pgwarden.jobs.plan import told
from pgwarden.jobs.state import JobState


@dataclass(frozen=True)
class ObservedWish:
    """What is known beside the object."""

    job: JobState
    obstacle: Obstacle | None = None
    """Why the store cannot be asked now."""
    busy: str = ""
    """Why a Job cannot begin now although nothing is missing."""


@dataclass(frozen=True)
class Wish:
    """One sort of them."""

    condition: str
    """Type of the condition that tells of it."""

    def decided(
        self, backup: DatabaseBackup, open_: Sequence[Attempt], observed: ObservedWish, now: datetime
    ) -> tuple[Decision, DatabaseBackupStatus]:
        """What to do about the Job of the `open_` attempts, and the status with them brought up to date."""
        decision = decide(open_, observed.job, now=now)
        earlier = [each for each in backup.status.attempts if each not in open_]
        attempts = [*earlier, *decision.attempts][-KEPT_ATTEMPTS:]
        return decision, backup.status.model_copy(update={"attempts": attempts})

    def start(
        self,
        backup: DatabaseBackup,
        status: DatabaseBackupStatus,
        observed: ObservedWish,
        number: int,
        *,
        queued: Judgment,
        begun: Judgment,
    ) -> BackupPlan:
        """The plan that starts an attempt and says that it has `begun`, or says what it waits for."""
        if observed.obstacle is not None:
            held = judge(self.condition, None, observed.obstacle.reason, observed.obstacle.message)
            return self.said(backup, status, [held], WAIT_SECONDS)
        if observed.busy:
            return self.said(backup, status, [queued], WAIT_SECONDS)
        plan = self.said(backup, status, [begun], WAIT_SECONDS)
        plan.attempt = number
        return plan

    def said(
        self,
        backup: DatabaseBackup,
        status: DatabaseBackupStatus,
        judgments: list[Judgment],
        again_after: float | None,
    ) -> BackupPlan:
        """A plan with an Event where the condition turned."""
        notices = told(judgments, backup.status, self.condition)
        return BackupPlan(status=status, judgments=judgments, notices=notices, again_after=again_after)
