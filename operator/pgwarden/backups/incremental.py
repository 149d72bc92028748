"""Whether an incremental backup may be taken, and on what: each refusal with its reason and what to do now. Pure.

PostgreSQL documentation: "Making an Incremental Backup". What the server would refuse in the language of lc_messages
is found out before it is asked; what it would not notice at all (a faulty release, unlogged hint bits) is refused too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.backups.incremental_floor import (
    FIRST_WITH_INCREMENTALS,
    FLOORS,
    below_floor,
    floor_of,
    release,
)
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.errors import TaskError

NEW_FULL = "Take a new full backup; incrementals can be taken on it from then on."
LONG_PAGE_HEADER = 40
"""Bytes at the beginning of a WAL segment that hold no record."""
_HISTORY_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)")


class NothingNew(Exception):
    """Nothing was written since the parent: there is nothing to back up."""


@dataclass(frozen=True)
class ServerFacts:
    """What decides whether a server can take incrementals."""

    summarize_wal: bool
    data_checksums: bool
    wal_log_hints: bool
    in_recovery: bool
    position: int
    """End of the WAL that was written, or on a standby replayed."""
    redo: int
    """Where recovery would begin now: on a standby, where a backup would."""


@dataclass(frozen=True)
class Summary:
    """One file of the WAL summarizer: which blocks changed between two positions."""

    start: int
    end: int


def check_version(version_num: int, floors: Mapping[int, int] = FLOORS) -> None:
    """Raises TaskError: IncrementalNotSupported, BelowIncrementalFloor."""
    if version_num // 10000 < FIRST_WITH_INCREMENTALS:
        raise TaskError(
            "IncrementalNotSupported",
            f"the server is PostgreSQL {release(version_num)}; incremental backups exist from "
            f"{FIRST_WITH_INCREMENTALS} on",
            remedy="Take full backups, and archive WAL continuously between them.",
        )
    if below_floor(version_num, floors):
        raise TaskError(
            "BelowIncrementalFloor",
            f"the server is PostgreSQL {release(version_num)}, whose incremental backups may miss changes without any "
            f"error; {floor_of(version_num, floors)} mended that",
            remedy=f"Update the server to {floor_of(version_num, floors)} or later, then take a new full backup. Until "
            "then full backups and continuous WAL serve.",
        )


def check_settings(facts: ServerFacts) -> None:
    """Raises TaskError: WALNotSummarized, HintBitsNotLogged."""
    if not facts.summarize_wal:
        raise TaskError(
            "WALNotSummarized",
            "summarize_wal is off: the server does not know which blocks change",
            remedy="Set summarize_wal = on and reload the server, then take a new full backup.",
        )
    if not facts.data_checksums and not facts.wal_log_hints:
        raise TaskError(
            "HintBitsNotLogged",
            "data checksums and wal_log_hints are both off: blocks change without a trace in the WAL",
            remedy="Set wal_log_hints = on and restart the server, or enable data checksums; then take a new full "
            "backup.",
        )


def check_parent(
    parent: BackupRecord, system_identifier: str, version_num: int, floors: Mapping[int, int] = FLOORS
) -> None:
    """Raises TaskError: ParentDamaged, ParentUntrusted, ParentOfAnotherCluster, ParentBelowFloor."""
    if parent.damaged:
        raise refused(parent, "ParentDamaged", f"it holds pages with wrong checksums: {parent.damage}")
    if parent.untrusted:
        raise refused(parent, "ParentUntrusted", parent.untrusted_reason)
    if parent.system_identifier != system_identifier:
        raise refused(
            parent,
            "ParentOfAnotherCluster",
            f"its system identifier is {parent.system_identifier}, that of the server {system_identifier}",
        )
    if below_floor(parent.server.version_num, floors):
        raise refused(
            parent,
            "ParentBelowFloor",
            f"it was taken with PostgreSQL {parent.server.version}, before the release that mended incremental backup "
            f"({floor_of(version_num, floors)})",
        )


def check_timeline(parent: BackupRecord, timeline: int, history: str) -> None:
    """`history` is the content of the history file of the server's timeline; empty on the first.

    Raises TaskError: ParentOnAnotherTimeline when the server's WAL does not lead over the parent's end.
    """
    if parent.timeline == timeline:
        return
    left = branches(history).get(parent.timeline)
    if left is None:
        raise refused(
            parent,
            "ParentOnAnotherTimeline",
            f"it was taken on timeline {parent.timeline}, which the server's timeline {timeline} does not descend from",
        )
    if left < parse_lsn(parent.stop_lsn):
        raise refused(
            parent,
            "ParentOnAnotherTimeline",
            f"it ends at {parent.stop_lsn} on timeline {parent.timeline}, which the server had left at "
            f"{format_lsn(left)}",
        )


def branches(history: str) -> dict[int, int]:
    """Timelines that a history file names, and where each was left."""
    found = (_HISTORY_LINE.match(line) for line in history.splitlines())
    return {int(line[1]): parse_lsn(line[2].upper()) for line in found if line}


def check_something_new(parent: BackupRecord, timeline: int, facts: ServerFacts) -> None:
    """Raises NothingNew, and TaskError with reason ServerBehindParent.

    A primary's backup ends by switching to the next WAL segment: a primary that is still at its beginning has written
    nothing since. A standby's ends in the middle of one, and begins at its last restart point, which the parent may lie
    beyond.
    """
    if parent.timeline != timeline:
        return
    stop, segment = parse_lsn(parent.stop_lsn), parent.server.wal_segment_bytes
    if not facts.in_recovery and facts.position < stop:
        raise refused(
            parent,
            "ServerBehindParent",
            f"it ends at {parent.stop_lsn}, and the server has written no more than {format_lsn(facts.position)} of "
            "the same timeline: its volume was rolled back, and it writes another history now",
        )
    end = stop if parent.server.from_standby else -(-stop // segment) * segment + LONG_PAGE_HEADER
    if not facts.in_recovery and facts.position <= end:
        raise NothingNew(f"no WAL was written since backup {parent.backup_id} ended at {parent.stop_lsn}")


def check_restart_point(parent: BackupRecord, facts: ServerFacts) -> None:
    """Raises NothingNew on a standby that has no restart point after the parent's end."""
    if facts.in_recovery and facts.redo < parse_lsn(parent.stop_lsn):
        raise NothingNew(
            f"the standby has seen no checkpoint since backup {parent.backup_id} ended at {parent.stop_lsn}: there was "
            "little activity"
        )


def summarized_until(summaries: Sequence[Summary], start: int) -> int | None:
    """How far the summaries reach from `start` without a gap; None when none of them covers `start`."""
    reached = None
    for summary in sorted(summaries, key=lambda each: each.start):
        if summary.start <= (start if reached is None else reached) < summary.end:
            reached = summary.end
    return reached


def summaries_missing(parent: BackupRecord) -> TaskError:
    """The refusal where the server no longer has, or never had, the summaries since the parent began."""
    return refused(
        parent,
        "WALSummariesMissing",
        f"the server has no WAL summaries from {parent.start_lsn} on: summarize_wal was off, or they were removed",
        hint=" Raise wal_summary_keep_time if fulls are taken less often than that.",
    )


def summarizer_behind(parent: BackupRecord, reached: int, wanted: int, seconds: float) -> TaskError:
    """The refusal where the summarizer does not get on."""
    return TaskError(
        "WALSummarizerBehind",
        f"an incremental on backup {parent.backup_id} needs WAL summaries up to {format_lsn(wanted)}; the summarizer "
        f"is at {format_lsn(reached)} and did not get on for {seconds:g} s",
        remedy="Look at the server's log for the WAL summarizer. A full backup needs no summaries.",
        retryable=True,
    )


def refused(parent: BackupRecord, reason: str, why: str, *, hint: str = "") -> TaskError:
    """No incremental can be taken on that parent."""
    return TaskError(
        reason, f"no incremental can be taken on backup {parent.backup_id}: {why}", remedy=f"{NEW_FULL}{hint}"
    )
