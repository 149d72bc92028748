"""Chains of backups: a full, and the incrementals that build upon it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from pgwarden.catalogue.contents import Flaw, StoredBackup

Known = Mapping[str, StoredBackup]


def by_id(backups: Iterable[StoredBackup]) -> dict[str, StoredBackup]:
    return {backup.backup_id: backup for backup in backups}


def chain_of(backup: StoredBackup, known: Known) -> tuple[StoredBackup, ...]:
    """The backups a restore needs, the full first and `backup` last; without those that are missing."""
    return (*(known[each] for each in backup.chain if each in known), backup)


def flaw_of(backup: StoredBackup, known: Known) -> tuple[Flaw | None, str]:
    """Why a backup is not to be relied on, and about what; (None, "") when it can be restored."""
    if backup.flaw is not None:
        return backup.flaw, backup.flaw_detail
    for each in backup.chain:
        parent = known.get(each)
        if parent is None:
            return Flaw.CHAIN_BROKEN, f"it builds upon {each}, which is not in the store"
        if parent.flaw is not None:
            return Flaw.CHAIN_BROKEN, f"it builds upon {each}, which is {parent.flaw}"
    return None, ""


def restorable(backups: Iterable[StoredBackup]) -> list[StoredBackup]:
    """The physical backups that can be restored with what is in the store, in the given order.

    A backup carries the WAL that makes it consistent, so nothing else is asked for.
    """
    listed = list(backups)
    known = by_id(listed)
    return [
        backup
        for backup in listed
        if backup.physical and backup.carried_until >= backup.stop and flaw_of(backup, known)[0] is None
    ]


def with_parents(kept: Set[str], known: Known) -> set[str]:
    """`kept`, and every backup that one of them builds upon."""
    return {*kept, *(parent for each in kept if each in known for parent in known[each].chain if parent in known)}


def first_start(backup: StoredBackup, known: Known) -> int:
    """The first position of WAL that any backup of the chain needs."""
    return min(each.start for each in chain_of(backup, known))
