"""Which backups a person may have deleted before retention lets them go, and why others may not. Pure.

What nobody promised may go: an incremental whose moment WAL reaches from an older backup, a damaged one, a full of a
cluster without a policy. What a promise needs stays: every moment of the policy's window that can be recovered before
can be recovered afterwards, no incremental loses what it builds upon, and nothing is taken from under a restore.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgwarden.api.quantities import human_seconds
from pgwarden.catalogue.branches import Branch, branches
from pgwarden.catalogue.chains import restorable
from pgwarden.catalogue.contents import Catalogue, Kind, StoredBackup
from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.catalogue.retention import ANY_POSITION, anchor_of, deletion_order, is_physical, window_end
from pgwarden.catalogue.timelines import coverage
from pgwarden.catalogue.window import reach
from pgwarden.storage.wal_listing import Range, merged

NAMED = 3
EARLIER = "or set spec.expire to false: retention deletes it as soon as nothing needs it"


@dataclass(frozen=True)
class Refusal:
    """Why a backup may not go now, and what to do."""

    backup_id: str
    reason: str
    message: str


@dataclass
class Expiry:
    """What becomes of the backups that somebody wants deleted."""

    going: list[StoredBackup] = field(default_factory=list)
    """In the order of deletion: what builds upon another before that."""
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Promises:
    """What the archive's policy promises, as the archive is before anything goes."""

    settings: RetentionSettings
    catalogue: Catalogue
    reachable: Sequence[tuple[Branch, list[Range]]]
    """Each branch that the window touches, with the positions of the window that recovery can go to."""

    def broken_without(self, gone: Set[str], backup: StoredBackup) -> tuple[str, str] | None:
        """Reason and sentence when `backup` is missed once all of `gone`, itself included, are gone; else None."""
        left = [each for each in self.catalogue.backups if each.backup_id not in gone]
        good = restorable(left)
        if not backup.physical:
            return self._newest_logical(left, backup)
        kept = {each.backup_id for each in good}
        for branch, before in self.reachable:
            after = reachable_on(branch, kept, self.catalogue)
            if not all(any(part.start <= each.start and each.end <= part.end for part in after) for each in before):
                window = human_seconds(self.settings.window_seconds)
                return "WindowNeedsIt", (
                    f"moments of the recovery window ({window}) on timeline {branch.timeline} could not be recovered "
                    f"without it. Wait until they have left it, shorten the policy's retention.window, {EARLIER}"
                )
        fulls = sum(each.kind is Kind.FULL for each in good)
        was_good = any(each.backup_id == backup.backup_id for each in restorable(self.catalogue.backups))
        if was_good and backup.kind is Kind.FULL and fulls < self.settings.minimum_fulls:
            return "MinimumFulls", (
                f"{fulls} restorable full backups would be left, and the policy keeps at least "
                f"{self.settings.minimum_fulls}. Take another one first, or lower the policy's retention.minimumFulls"
            )
        return None

    def _newest_logical(self, left: Sequence[StoredBackup], backup: StoredBackup) -> tuple[str, str] | None:
        later = any(not each.physical and each.flaw is None and each.stop_time > backup.stop_time for each in left)
        if later or backup.flaw is not None:
            return None
        return "NewestLogical", f"no newer logical backup is in the archive. Take one first, {EARLIER}"


def judge(
    catalogue: Catalogue,
    wanted: Iterable[str],
    settings: RetentionSettings | None,
    now: datetime,
    *,
    pinned: Set[str] = frozenset(),
    in_use: Set[str] = frozenset(),
) -> Expiry:
    """Which of the `wanted` backups may go now. `settings` are the policy's; without one nothing is promised but that
    chains stay whole. Ids of which the catalogue knows nothing are passed over."""
    result = Expiry()
    asked = set(wanted)
    promises = [promised(each, settings, now) for each in believed(catalogue)] if settings is not None else []
    gone: set[str] = set()
    for backup in deletion_order(each for each in catalogue.backups if each.backup_id in asked):
        name = backup.backup_id
        found = held(backup, catalogue, gone, pinned, in_use)
        broken = (each.broken_without(gone | {name}, backup) for each in promises)
        found = found or next((each for each in broken if each is not None), None)
        if found is None:
            gone.add(name)
            result.going.append(backup)
        else:
            result.refused.append(Refusal(name, found[0], f"backup {name} stays: {found[1]}"))
    return result


def believed(catalogue: Catalogue) -> list[Catalogue]:
    """The catalogue, and as it is without the records that nobody has proven: a planted one must not stand in for a
    real one."""
    proven = tuple(each for each in catalogue.backups if each.proven)
    return [catalogue, *([replace(catalogue, backups=proven)] if len(proven) < len(catalogue.backups) else [])]


def held(
    backup: StoredBackup, catalogue: Catalogue, gone: Set[str], pinned: Set[str], in_use: Set[str]
) -> tuple[str, str] | None:
    """Reason and sentence when somebody holds a backup, or one that is not `gone` needs it; else None."""
    name = backup.backup_id
    children = [each.backup_id for each in catalogue.backups if name in each.chain and each.backup_id not in gone]
    unread = next((each for each in catalogue.troubles if each.reason == "RecordTooNew" or is_physical(each)), None)
    if name in in_use:
        return "InUse", "a restore reads it now. It is asked again by itself, every hour, until the restore has ended"
    if name in pinned or backup.pinned:
        return "Pinned", "it is pinned. Take the pin away first: pgwarden backup unpin, or spec.pinned: false"
    if unread is not None and backup.physical:
        message = (
            f"{unread.path} cannot be read ({unread.reason}), and what it tells of may build upon it: mend that first"
        )
        return "RecordUnreadable", message
    if children:
        message = f"{few(children)} build upon it. Let those expire as well (spec.expire: true), {EARLIER}"
        return "NeededByOthers", message
    return None


def promised(catalogue: Catalogue, settings: RetentionSettings, now: datetime) -> Promises:
    """What a policy promises of an archive: the window ends where retention has it end."""
    end = window_end([catalogue], now)
    good = {each.backup_id for each in restorable(catalogue.backups)}
    found: list[tuple[Branch, list[Range]]] = []
    if end is not None:
        start = end - timedelta(seconds=settings.window_seconds)
        for branch in branches(catalogue, end):
            if not branch.newest and (branch.ended is None or branch.ended <= start):
                continue
            anchor = anchor_of(branch, good, start)
            first = anchor.stop if anchor is not None else ANY_POSITION
            ranges = reachable_on(branch, good, catalogue)
            found.append((branch, [Range(max(first, each.start), each.end) for each in ranges if each.end >= first]))
    return Promises(settings, catalogue, found)


def reachable_on(branch: Branch, good: Set[str], catalogue: Catalogue) -> list[Range]:
    """The positions of a branch that recovery can go to from its backups in `good`, both ends included."""
    usable = [each for each in branch.backups if each.backup_id in good]
    covered = coverage(catalogue.timelines, branch.path) if branch.archived else []
    return merged(Range(each.stop, reach(each, covered, branch.path)) for each in usable)


def few(names: Sequence[str]) -> str:
    """The first names, and how many there are beside."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
