"""What to do about a DatabaseBackup whose pin in the store is not what spec.pinned asks for, and what to say. Pure.

The object only asks: an agent writes into the store, where the pin holds also when the object is gone. Until it has,
whoever prunes is told of the wish. An object that never pinned anything takes no pin away that somebody else set.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pgwarden.api.conditions import Truth, find, judge
from pgwarden.api.status import Attempt
from pgwarden.backups.expiry import expired, same_archive
from pgwarden.backups.plan import PINNED, WAIT_SECONDS, BackupPlan, finished
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.backups.wishes import ObservedWish, Wish
from pgwarden.jobs.attempts import Verdict
from pgwarden.jobs.names import job_name

UNPINNED = "Unpinned"
PINNING = "Pinning"
WISH = Wish(PINNED)
ASKED_AGAIN = timedelta(hours=1)


def unlike(backup: DatabaseBackup) -> bool:
    """Whether the store has, or may get, another pin than the spec asks for. Only what lies in it can be pinned."""
    if not finished(backup) or not backup.status.location or expired(backup):
        return False
    said = find(backup.status.conditions, PINNED)
    truth = said.status if said is not None else Truth.FALSE
    return truth != (Truth.TRUE if backup.spec.pinned else Truth.FALSE) or bool(open_pins(backup))


def pin_job(backup: DatabaseBackup, attempt: int) -> str:
    """Name of the Job of one attempt: it changes when an answer has come."""
    answered, metadata = backup.status.pin_answered, backup.metadata
    moment = answered.isoformat() if answered is not None else "first"
    return job_name(f"{metadata.name[:34]}-pin", "DatabaseBackup", metadata.uid, PINNED, moment, str(attempt))


def open_pins(backup: DatabaseBackup) -> list[Attempt]:
    """The attempts since the last answer."""
    return [each for each in backup.status.attempts if each.job == pin_job(backup, each.number)]


def wanted_pinned(backup: DatabaseBackup, others: Sequence[DatabaseBackup]) -> list[str]:
    """Ids of the backups of the same archive that objects want pinned."""
    return sorted(
        each.status.backup_id
        for each in others
        if each.spec.pinned and each.status.backup_id and same_archive(backup, each)
    )


def plan_pin(backup: DatabaseBackup, observed: ObservedWish, now: datetime) -> BackupPlan:
    """The status of a DatabaseBackup that is `unlike`, and whether an attempt to tell the store is to be started."""
    open_ = open_pins(backup)
    decision, status = WISH.decided(backup, open_, observed, now)
    if decision.verdict is Verdict.START:
        verb = "pins it" if backup.spec.pinned else "takes its pin away"
        queued = judge(PINNED, None, "Queued", observed.busy)
        begun = judge(PINNED, None, PINNING, f"attempt {decision.number} {verb}")
        return WISH.start(backup, status, observed, decision.number, queued=queued, begun=begun)
    if decision.verdict in (Verdict.WAIT, Verdict.BACK_OFF):
        message = decision.message or f"Job {observed.job.name} tells the store"
        waiting = judge(PINNED, None, decision.reason or PINNING, message)
        return WISH.said(backup, status, [waiting], decision.seconds or WAIT_SECONDS)
    answered = status.model_copy(update={"pin_answered": now.replace(microsecond=0)})
    if decision.verdict is Verdict.FAILED:
        ended = decision.attempts[-1].completion_time or now
        rest = min(ended - now, timedelta()) + ASKED_AGAIN
        if rest <= timedelta():
            return BackupPlan(status=answered, again_after=1.0)  # begins anew, under another name
        message = f"the store could not be told whether the backup is pinned: {decision.message}"
        told = judge(PINNED, None, decision.reason, message)
        return WISH.said(backup, status, [told], rest.total_seconds())
    # What the Job has done counts; the spec may ask for something else by now.
    if decision.reason == PINNED:
        message = "the store keeps it, with all it builds upon, until spec.pinned is false"
        return WISH.said(backup, answered, [judge(PINNED, True, PINNED, message)], None)
    gone = judge(PINNED, False, UNPINNED, "retention lets it go in its time")
    return WISH.said(backup, answered, [gone], None)
