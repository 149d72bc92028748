"""What may be deleted from an archive, and why everything else is kept. Pure.

Retention is a recovery window: every moment of it that can be recovered now can be recovered afterwards. The window
ends at the last moment that anything in the archive tells of, or now where that is earlier: a clock that ran ahead, or
backups that stopped, delete nothing.

A restore in a shell or from another Kubernetes cluster may not write into the store, so nobody here sees it. What has
left the window is therefore kept a while longer: whoever began to restore a moment of it has that long to finish.

Times order nothing but backups of different branches. Along a path positions do, which cannot run backwards as clocks
can: everything after the first position that may be in the window counts as in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgwarden.catalogue.branches import Branch, branches
from pgwarden.catalogue.chains import by_id, first_start, restorable, with_parents
from pgwarden.catalogue.contents import Catalogue, Flaw, Kind, StoredBackup, Trouble
from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.catalogue.timelines import Path, path_of
from pgwarden.storage.layout import BACKUPS_FOLDER, WAL_FOLDER
from pgwarden.storage.wal_listing import Range, merged

HOLDING_FLAWS = {Flaw.DAMAGED, Flaw.INCOMPLETE, Flaw.CHECK_FAILED}
ANY_POSITION = 0


@dataclass
class KeptWAL:
    """The positions of each timeline of which WAL is kept: each from a start up to an end, None where it is open."""

    parts: dict[int, list[tuple[int, int | None]]] = field(default_factory=dict)

    def keep(self, path: Path, start: int) -> None:
        """Everything along a path from `start` on."""
        for section in path:
            if section.end is None or section.end > start:
                self.parts.setdefault(section.timeline, []).append((start, section.end))

    def wants(self, timeline: int, start: int, end: int) -> bool:
        """Whether anything from `start` up to `end` of the timeline is kept."""
        return any(begin < end and (until is None or start < until) for begin, until in self.parts.get(timeline, ()))

    def parts_of(self, timeline: int, whole: Range) -> list[Range]:
        """The parts of a range that are kept."""
        parts = [
            Range(max(whole.start, begin), whole.end if until is None else min(whole.end, until))
            for begin, until in self.parts.get(timeline, ())
        ]
        return merged(part for part in parts if part.start < part.end)

    def open_from(self, timeline: int) -> int | None:
        """The position from which on everything of a timeline is kept; None where there is none."""
        return min((start for start, end in self.parts.get(timeline, ()) if end is None), default=None)

    def start_of(self, timeline: int) -> int | None:
        """The first kept position of a timeline; None when nothing of it is."""
        return min((start for start, _ in self.parts.get(timeline, ())), default=None)


@dataclass
class Retention:
    """What becomes of an archive."""

    kept: dict[str, str] = field(default_factory=dict)
    """Backup id -> why it is kept."""
    expired: list[StoredBackup] = field(default_factory=list)
    """In the order of deletion: what builds upon another before that."""
    wal: KeptWAL = field(default_factory=KeptWAL)
    window_start: datetime | None = None
    """As it is promised: what is kept for unseen restores begins earlier."""
    held: str = ""
    """Why no physical backup and no WAL expires at all; empty when they do."""

    def keep(self, backups: Iterable[StoredBackup], why: str) -> None:
        """The first reason stays."""
        for backup in backups:
            self.kept.setdefault(backup.backup_id, why)

    def join(self, other: Retention) -> None:
        """Keeps also what the other one keeps."""
        for name, why in other.kept.items():
            self.kept.setdefault(name, why)
        for timeline, parts in other.wal.parts.items():
            self.wal.parts.setdefault(timeline, []).extend(parts)
        self.held = self.held or other.held


Planned = tuple[Retention, Catalogue]


def plan(
    catalogue: Catalogue,
    settings: RetentionSettings,
    now: datetime,
    *,
    pinned: Set[str] = frozenset(),
    in_use: Set[str] = frozenset(),
) -> Retention:
    """What to keep of a cluster's only archive. Backups that the archive, or `pinned`, says are pinned are kept with
    their own WAL; those `in_use`, by a restore or as the parent of a running backup, with all WAL after them."""
    return plan_all([catalogue], settings, now, pinned=pinned, in_use=in_use)[0]


def plan_all(
    catalogues: Sequence[Catalogue],
    settings: RetentionSettings,
    now: datetime,
    *,
    pinned: Set[str] = frozenset(),
    in_use: Set[str] = frozenset(),
) -> list[Retention]:
    """As `plan`, for all archives of a cluster, the oldest first: they have one window and one least number of fulls,
    so that an archive whose place another one took goes when its time is over.

    Whoever can write into the store can plant a record there that looks like a sound full just before the window. So
    what would be kept without the backups that nobody has proven is kept, whatever they say.
    """
    pinned = {*pinned, *(backup.backup_id for each in catalogues for backup in each.backups if backup.pinned)}
    results = believed(catalogues, settings, now, pinned, in_use)
    proven = [replace(each, backups=tuple(backup for backup in each.backups if backup.proven)) for each in catalogues]
    if any(len(one.backups) < len(other.backups) for one, other in zip(proven, catalogues, strict=True)):
        again = believed(proven, settings, now, pinned, in_use)
        for result, other, catalogue in zip(results, again, catalogues, strict=True):
            result.join(other)
            keep_parents(result, catalogue)
    for result, catalogue in zip(results, catalogues, strict=True):
        result.expired = deletion_order(each for each in catalogue.backups if each.backup_id not in result.kept)
    return results


def believed(
    catalogues: Sequence[Catalogue], settings: RetentionSettings, now: datetime, pinned: Set[str], in_use: Set[str]
) -> list[Retention]:
    """What to keep when every record is believed; nothing is said of what may go."""
    planned = [(Retention(), catalogue) for catalogue in catalogues]
    end = window_end(catalogues, now)
    if end is None:
        # WAL of which nothing tells the time may be what the first backup, or one that cannot be read now, needs.
        for result, catalogue in planned:
            result.held = holding(catalogues)
            for number in catalogue.timelines:
                result.wal.keep(path_of(catalogue.timelines, number), ANY_POSITION)
        return [result for result, _ in planned]
    promised = end - timedelta(seconds=settings.window_seconds)
    start = promised - timedelta(seconds=settings.grace_seconds)
    held = holding(catalogues)
    for result, catalogue in planned:
        # First, because the first reason is the one that is shown, and this one a person has given.
        result.keep([each for each in catalogue.backups if each.backup_id in pinned], "pinned")
    keep_logical(planned, start)
    for result, catalogue in planned:
        result.window_start, result.held = promised, held
        if held:
            result.keep(catalogue.physical, held)
            for branch in branches(catalogue, end):
                result.wal.keep(branch.path, ANY_POSITION)
        else:
            keep_window(result, catalogue, start, end)
    if not held:
        keep_generations(planned, settings)
    for result, catalogue in planned:
        keep_in_use(result, catalogue, in_use, end)
        keep_parents(result, catalogue)
    return [result for result, _ in planned]


def window_end(catalogues: Sequence[Catalogue], now: datetime) -> datetime | None:
    """The last moment that the archives tell of, or now; None for empty ones. A moment that nobody has proven must not
    end it late."""
    told = [backup.stop_time for each in catalogues for backup in each.backups]
    told += [moment.time for each in catalogues for moment in each.moments if moment.proven]
    return min(now, max(told)) if told else None


def holding(catalogues: Sequence[Catalogue]) -> str:
    """Why nothing physical may expire now; empty when it may."""
    troubles = [trouble for each in catalogues for trouble in each.troubles]
    too_new = next((trouble.path for trouble in troubles if trouble.reason == "RecordTooNew"), None)
    if too_new is not None:
        return f"{too_new} was written by a later pgwarden, and may build upon anything"
    unread = next((trouble for trouble in troubles if is_physical(trouble)), None)
    if unread is not None:
        return (
            f"{unread.path} cannot be read or believed ({unread.reason}), and what it tells of may be needed: nothing "
            "expires until it can be, or until a person has deleted it"
        )
    # Positions are compared within one archive only: that of another history means nothing.
    last = next((each.physical for each in reversed(catalogues) if each.physical), [])
    newest = max(last, key=lambda backup: (backup.stop_time, backup.stop), default=None)
    if newest is not None and newest.flaw in HOLDING_FLAWS:
        return f"the newest backup, {newest.backup_id}, is {newest.flaw}: older ones do not expire until one succeeds"
    return ""


def is_physical(trouble: Trouble) -> bool:
    """Whether it is about the record of a physical backup, or the history of a timeline.

    A store that once gave out half an object would else have the only backup before the window forgotten, and the WAL
    after it deleted.
    """
    return trouble.path.split("/")[-3] in (BACKUPS_FOLDER, WAL_FOLDER)


def keep_window(result: Retention, catalogue: Catalogue, start: datetime, end: datetime) -> None:
    """On each branch that was written to in the window: the newest restorable backup before it, all after, and WAL."""
    known = by_id(catalogue.backups)
    good = {backup.backup_id for backup in restorable(catalogue.backups)}
    succeeded = catalogue.succeeded
    for branch in branches(catalogue, end if succeeded is None else min(end, succeeded)):
        written_to = branch.newest and succeeded is None
        if not written_to and (branch.ended is None or branch.ended <= start):
            continue
        anchor = anchor_of(branch, good, start)
        if anchor is None:
            result.keep(branch.backups, "no restorable backup is older than the window")
            oldest = [first_start(each, known) for each in branch.backups if each.backup_id in good]
            if branch.archived:
                result.wal.keep(branch.path, min(oldest, default=ANY_POSITION))
            continue
        result.keep([anchor], "the newest restorable backup before the window")
        result.keep([each for each in branch.backups if each.stop >= anchor.stop], "in the window")
        if branch.archived:
            result.wal.keep(branch.path, first_start(anchor, known))


def anchor_of(branch: Branch, good: Set[str], start: datetime) -> StoredBackup | None:
    """The newest restorable backup of a branch that stopped before anything of the branch may be in the window."""
    reliable = [each for each in branch.backups if each.backup_id in good]
    first = branch.first_position_after(start)
    usable = [each for each in reliable if each.stop_time <= start and (first is None or each.stop <= first)]
    return max(usable, key=lambda backup: backup.stop, default=None)


def keep_generations(planned: Sequence[Planned], settings: RetentionSettings) -> None:
    """The newest backup, the least number of fulls, and the last full of each of the last days, weeks, months and
    years (UTC)."""
    good = [(result, each) for result, catalogue in planned for each in restorable(catalogue.backups)]
    good.sort(key=lambda pair: (pair[1].stop_time, pair[1].stop), reverse=True)
    for result, each in good[:1]:
        result.keep([each], "the newest restorable backup")
    fulls = [(result, each) for result, each in good if each.kind is Kind.FULL]
    for result, each in fulls[: settings.minimum_fulls]:
        result.keep([each], "one of the least number of fulls")
    periods = (
        ("%Y-%m-%d", settings.daily, "day"),
        ("%G-W%V", settings.weekly, "week"),
        ("%Y-%m", settings.monthly, "month"),
        ("%Y", settings.yearly, "year"),
    )
    for form, wanted, name in periods:
        last: dict[str, tuple[Retention, StoredBackup]] = {}
        for result, full in fulls:
            last.setdefault(full.stop_time.strftime(form), (result, full))
        for period, (result, full) in list(last.items())[:wanted]:
            result.keep([full], f"the last full of {name} {period}")


def keep_logical(planned: Sequence[Planned], start: datetime) -> None:
    """Logical backups of the window, and the newest before it."""
    logical = [(result, each) for result, catalogue in planned for each in catalogue.backups if not each.physical]
    logical.sort(key=lambda pair: pair[1].stop_time)
    latest = logical[-1][1] if logical else None
    for result, each in logical:
        if latest is not None and latest.flaw is not None:
            result.keep([each], f"the newest logical backup, {latest.backup_id}, is {latest.flaw}")
        elif each.stop_time > start:
            result.keep([each], "in the window")
    before = [(result, each) for result, each in logical if each.flaw is None and each.stop_time <= start]
    for result, each in before[-1:]:
        result.keep([each], "the newest logical backup before the window")


def keep_in_use(result: Retention, catalogue: Catalogue, in_use: Set[str], end: datetime) -> None:
    """What is in use at this moment, with the WAL that follows it."""
    known = by_id(catalogue.backups)
    used = [each for each in catalogue.backups if each.backup_id in in_use]
    result.keep(used, "in use")
    for branch in branches(catalogue, end):
        for backup in branch.backups:
            if branch.archived and backup.backup_id in in_use:
                result.wal.keep(branch.path, first_start(backup, known))


def keep_parents(result: Retention, catalogue: Catalogue) -> None:
    """No incremental loses what it builds upon."""
    known = by_id(catalogue.backups)
    for child in list(result.kept):
        parents = with_parents({child}, known) - {child}
        result.keep([known[each] for each in sorted(parents)], f"{child} builds upon it")


def deletion_order(expired: Iterable[StoredBackup]) -> list[StoredBackup]:
    """Longer chains first, so that at no moment a listed backup misses its parent; then the oldest first."""
    return sorted(expired, key=lambda backup: (-len(backup.chain), backup.start_time, backup.backup_id))
