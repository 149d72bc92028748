"""What goes on with the new timeline after a restore in place: the archives of WAL, and a full backup. Pure.

Services begin to write again once what they write can be recovered. An archive that does not come to it keeps them
waiting for a while only: the restore was for their sake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgwarden.api.conditions import STALLED, is_true
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.policies.resource import BackupPolicy

PATIENCE = timedelta(minutes=5)
"""How long services wait for the archives."""
MOST_FULLS = 8


@dataclass(frozen=True)
class Archiving:
    """What a BackupPolicy of the cluster archives of its WAL."""

    policy: str
    """Its name."""
    timeline: int = 0
    """The newest timeline whose history file and WAL from its beginning on the store holds."""
    state: str = ""
    """What the archiver is about, and why, as the policy tells it."""


def archiving_of(policies: Iterable[BackupPolicy]) -> list[Archiving]:
    """How far the archives of these policies are, of those that archive WAL."""
    return [told(policy) for policy in policies if policy.spec.wal.enabled and not policy.metadata.deletion_timestamp]


def told(policy: BackupPolicy) -> Archiving:
    wal = policy.status.wal
    if wal is None:
        return Archiving(policy.metadata.name, state="nothing was heard of its archiver yet")
    state = wal.state + (f": {wal.message}" if wal.message else "")
    return Archiving(policy.metadata.name, wal.archived_timeline or 0, state)


def behind(archiving: Sequence[Archiving], timeline: int) -> list[Archiving]:
    """The policies whose store does not hold the timeline yet."""
    return [each for each in archiving if each.timeline < timeline]


def waits(archiving: Sequence[Archiving], timeline: int, since: datetime | None, now: datetime) -> bool:
    """Whether services wait for the archives, which began `since`."""
    return bool(behind(archiving, timeline)) and (since is None or now - since < PATIENCE)


def in_words(archiving: Sequence[Archiving], timeline: int) -> str:
    """How the archives stand, for the status."""
    if not archiving:
        return (
            "no BackupPolicy archives the WAL of this cluster: what is written from now on can be recovered only once a"
            " backup of it was taken"
        )
    late = behind(archiving, timeline)
    if late:
        names = "; ".join(f"BackupPolicy {each.policy} ({each.state or 'it has told nothing yet'})" for each in late)
        return f"timeline {timeline} is not archived by {names}"
    names = ", ".join(each.policy for each in archiving)
    return f"the history file of timeline {timeline} and its WAL from the beginning on are archived by {names}"


def fulls_since(
    moment: datetime | None, policies: Sequence[BackupPolicy], backups: Iterable[DatabaseBackup]
) -> list[str]:
    """Names of the full backups that these policies have begun since the restored data are in their place."""
    uids = {policy.metadata.uid for policy in policies}
    found = [
        backup.metadata.name
        for backup in backups
        if backup.metadata.labels.get(OWNER_UID_LABEL) in uids
        and backup.spec.type is BackupType.FULL
        and moment is not None
        and (made := backup.metadata.creation_timestamp) is not None
        and made >= moment.replace(microsecond=0)
        and not is_true(backup.status.conditions, STALLED)
    ]
    return sorted(found)[:MOST_FULLS]
