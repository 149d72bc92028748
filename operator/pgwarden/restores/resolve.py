"""From what a person asks for to where recovery begins, which way it goes and how far it must come. Pure.

Which backup it begins with is the catalogue's to choose (`pgwarden.catalogue.base`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.catalogue.base import Base, Target, beyond, choose_base, ended_then
from pgwarden.catalogue.chains import by_id, flaw_of
from pgwarden.catalogue.contents import Catalogue, Flaw, NamedPoint, StoredBackup
from pgwarden.catalogue.timelines import Path, coverage, lies_on, path_of
from pgwarden.catalogue.window import candidates, last_moment, moments_of, newest_timeline, reach
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import Resolved, Section, TargetPoint

LONGEST_CUT_RECORD = 1 << 20
"""The last WAL of an archive may be the beginning of a record; longer ones than this do not occur."""
WAL_PAGE = 8192
SMALLEST_RECORD = 24
"""A WAL record's header alone (PostgreSQL, src/include/access/xlogrecord.h)."""
PASSED_OVER = 3
REFUSED_AS = {Flaw.CHAIN_BROKEN: "ChainBroken", Flaw.UNTRUSTED: "BackupUntrusted"}


def end_of_backup(backup: StoredBackup) -> Resolved:
    """A restore of one backup, by the WAL that it carries."""
    return Resolved(
        backup_id=backup.backup_id,
        location=backup.location,
        chain=[*backup.chain, backup.backup_id],
        target="the end of the backup",
        timeline=backup.timeline,
        path=[Section(timeline=backup.timeline)],
        end_lsn=format_lsn(backup.stop),
        end_time=backup.stop_time,
        archived_lsn=format_lsn(backup.stop),
        archived_time=backup.stop_time,
        wal_until=format_lsn(backup.stop),
        archive=archive_of(backup.location),
    )


def resolve(catalogue: Catalogue, point: TargetPoint, backup_id: str | None = None) -> Resolved:
    """The way to `point`; from that backup where one is named.

    Raises TaskError: TimelineUnknown, NoRestorableBackup, TargetBeforeFirstBackup, TargetBeyondArchive, WALGap,
    ChainBroken, BackupDamaged, BackupUntrusted.
    """
    found = way(only(catalogue, backup_id) if backup_id is not None else catalogue, point)
    return found.model_copy(update={"known_until": known_until(catalogue)})


def known_until(catalogue: Catalogue) -> datetime | None:
    """The last moment of the newest system that anything in the archive tells of."""
    catalogue = catalogue.of_one_system()
    timeline = newest_timeline(catalogue)
    noted = moments_of(catalogue, path_of(catalogue.timelines, timeline)) if timeline is not None else []
    ended = [backup.stop_time for backup in catalogue.of_newest_system]
    return max([*(each.time for each in noted), *ended], default=None)


def way(catalogue: Catalogue, point: TargetPoint) -> Resolved:
    """The way to `point`, from the newest backup that leads there. Raises as `resolve`."""
    catalogue = catalogue.of_one_system()
    if point.immediate:
        return immediate(catalogue, point)
    own = ended_at(catalogue, point)
    if own is not None:
        target = f"{described(point, own.timeline)}: the end of the backup"
        return end_of_backup(own).model_copy(update={"target": target})
    base = choose_base(catalogue, wanted(catalogue, point))
    reached = reach(base.backup, coverage(catalogue.timelines, base.path), base.path)
    refuse_unborn(catalogue, base, point, reached)
    timeline, path = shortest(catalogue, base, point, reached)
    reached = reach(base.backup, coverage(catalogue.timelines, path), path)
    end = planned_end(catalogue, base, point, reached, base.backup.segment_bytes)
    archived, archived_time = last_told(catalogue, base, path, reached)
    return Resolved(
        backup_id=base.backup.backup_id,
        location=base.backup.location,
        chain=[backup.backup_id for backup in base.chain],
        target=described(point, timeline),
        point=point,
        timeline=timeline,
        path=sections(path),
        end_lsn=format_lsn(end),
        end_time=base.end_time,
        archived_lsn=format_lsn(archived),
        archived_time=archived_time,
        wal_until=format_lsn(reached),
        archive=catalogue.archive,
        archived_wal=True,
        passed_over=list(base.reasons[:PASSED_OVER]),
    )


def only(catalogue: Catalogue, backup_id: str) -> Catalogue:
    """The catalogue as if there were that backup alone, with what it builds upon.

    Raises TaskError: NoRestorableBackup, ChainBroken, BackupDamaged, BackupUntrusted.
    """
    known = by_id(catalogue.physical)
    backup = known.get(backup_id)
    if backup is None:
        why = next((f": {each.message}" for each in catalogue.troubles if backup_id in each.path), "")
        raise TaskError(
            "NoRestorableBackup",
            f"there is no backup {backup_id} in {catalogue.archive}{why}",
            remedy="Name another backup in a new RestoreRequest.",
        )
    flaw, detail = flaw_of(backup, known)
    if flaw is not None:
        raise TaskError(
            REFUSED_AS.get(flaw, "BackupDamaged"),
            f"backup {backup_id} is {flaw}: {detail}",
            remedy="Name another backup in a new RestoreRequest.",
        )
    chain = (*(known[each] for each in backup.chain), backup)
    # Parents are needed for the chain, and may not be chosen themselves.
    parents = tuple(replace(each, carried_until=each.start) for each in chain[:-1])
    return replace(catalogue, backups=(*parents, backup))


def immediate(catalogue: Catalogue, point: TargetPoint) -> Resolved:
    """The end of the newest restorable backup, on the timeline that is asked for."""
    timeline = point.timeline or max((backup.timeline for backup in catalogue.of_newest_system), default=None)
    usable = candidates(catalogue, path_of(catalogue.timelines, timeline)) if timeline is not None else []
    if not usable:
        raise TaskError(
            "NoRestorableBackup",
            f"no backup in {catalogue.archive} can be restored" + (f" on timeline {timeline}" if timeline else ""),
            remedy="Take a full backup. To see what is there: pgwarden backup list.",
        )
    return end_of_backup(usable[-1])


def ended_at(catalogue: Catalogue, point: TargetPoint) -> StoredBackup | None:
    """The backup that ended in the very second that is asked for, where no WAL is known to lead further."""
    return ended_then(catalogue, point.time.astimezone(UTC), point.timeline) if point.time is not None else None


def refuse_unborn(catalogue: Catalogue, base: Base, point: TargetPoint, reached: int) -> None:
    """Raises TaskError with reason TargetBeyondArchive for a transaction that had no number yet when the archived WAL
    was written: each record gives out one number at most, and PostgreSQL would replay everything to find none."""
    noted = [
        each for each in moments_of(catalogue, base.path) if each.next_xid.isdecimal() and each.position <= reached
    ]
    if point.xid is None or not noted:
        return
    last = noted[-1]
    if int(point.xid) >= int(last.next_xid) + (reached - last.position) // SMALLEST_RECORD:
        target = f"transaction {point.xid} (the next one was {last.next_xid} at {moment(last.time)})"
        raise beyond(catalogue, target, base.timeline)


def wanted(catalogue: Catalogue, point: TargetPoint) -> Target:
    """The target in the catalogue's words."""
    if point.time is not None:
        return Target(time=point.time.astimezone(UTC), timeline=point.timeline)
    if point.lsn is not None:
        return Target(lsn=parse_lsn(point.lsn), timeline=point.timeline)
    if point.latest:
        return Target(timeline=point.timeline)
    named = first_named(catalogue, point)
    if named is not None:
        at = named.position
        return Target(
            unknown=True, not_after=at, until=at, called=f"restore point {point.name!r}", timeline=point.timeline
        )
    return Target(unknown=True, not_after=surely_before(catalogue, point), timeline=point.timeline)


def first_named(catalogue: Catalogue, point: TargetPoint) -> NamedPoint | None:
    """The restore point that is meant, where the archive tells where it is.

    A name may be given again and again: the first is meant, at which recovery from the oldest backup would stop.
    """
    timeline = point.timeline or newest_timeline(catalogue)
    path = path_of(catalogue.timelines, timeline) if timeline is not None else ()
    usable = candidates(catalogue, path)
    return next(
        (
            each
            for each in catalogue.named
            if each.name == point.name
            and lies_on(path, each.timeline, each.position)
            and usable
            and each.position >= usable[0].stop
        ),
        None,
    )


def surely_before(catalogue: Catalogue, point: TargetPoint) -> int | None:
    """A position before that of the transaction or restore point: when its xid was not given out yet, else the end of
    the oldest backup, because only the WAL tells more. What an abandoned branch did says nothing of it."""
    timeline = point.timeline or newest_timeline(catalogue)
    path = path_of(catalogue.timelines, timeline) if timeline is not None else ()
    usable = candidates(catalogue, path)
    oldest = usable[0].stop if usable else None
    if point.xid is None or oldest is None:
        return oldest
    noted = [each for each in moments_of(catalogue, path) if each.next_xid.isdecimal()]
    before = [each.position for each in noted if int(each.next_xid) <= int(point.xid)]
    return max([oldest, *before])


def shortest(catalogue: Catalogue, base: Base, point: TargetPoint, reached: int) -> tuple[int, Path]:
    """The timeline to recover along: that on which the target lies, where it lies before a branch.

    Recovery would otherwise end on an ancestor and name the descendant as the parent of its new timeline.
    """
    until = reached
    if point.lsn is not None:
        until = parse_lsn(point.lsn)
    elif point.time is not None:
        after = [each for each in moments_of(catalogue, base.path) if each.time >= point.time.astimezone(UTC)]
        until = after[0].position if after else reached
    elif not point.latest:
        return base.timeline, base.path
    for number, section in enumerate(base.path[:-1]):
        if section.timeline >= base.backup.timeline and section.end is not None and until < section.end:
            return section.timeline, (*base.path[:number], replace(section, end=None))
    return base.timeline, base.path


def planned_end(catalogue: Catalogue, base: Base, point: TargetPoint, reached: int, segment_bytes: int) -> int:
    """The position that recovery must come to, or something was lost."""
    stop = base.backup.stop
    if point.lsn is not None:
        # Without `inclusive` recovery ends with the record before the position, and a page's header may lie between.
        return max(stop, parse_lsn(point.lsn) - (0 if point.inclusive else WAL_PAGE))
    if point.time is not None:
        return max(stop, base.end)
    if not point.latest:
        return stop
    sure = [each.position for each in moments_of(catalogue, base.path) if each.position <= reached - LONGEST_CUT_RECORD]
    return max([stop, reached - segment_bytes, *sure])


def last_told(catalogue: Catalogue, base: Base, path: Path, reached: int) -> tuple[int, datetime]:
    """The last position up to `reached` of which the archive tells the time, and that time: on an idle database no
    commit tells how new the data are."""
    noted = last_moment(moments_of(catalogue, path), reached)
    if noted is None or noted.position < base.backup.stop:
        return base.backup.stop, base.backup.stop_time
    return noted.position, noted.time


def described(point: TargetPoint, timeline: int) -> str:
    """The target for people."""
    on = f" on timeline {timeline}"
    edge = "" if point.inclusive else ", without what lies exactly there"
    if point.time is not None:
        return f"{moment(point.time)}{on}{edge}"
    if point.lsn is not None:
        return f"WAL position {point.lsn}{on}{edge}"
    if point.xid is not None:
        return f"transaction {point.xid}{on}{edge}"
    return f"restore point {point.name!r}{on}" if point.name is not None else f"the end of the archive{on}"


def moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def sections(path: Path) -> list[Section]:
    return [
        Section(timeline=each.timeline, end=format_lsn(each.end) if each.end is not None else None) for each in path
    ]


def archive_of(location: str) -> str:
    """The archive's folder, from that of a backup in it: <archive>/backups/<id>."""
    return location.rsplit("/", 2)[0]
