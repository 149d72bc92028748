"""What can be recovered, as a person's shell is told it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgwarden.api.wal import USUAL_SEGMENT_BYTES, format_lsn, segment_name
from pgwarden.catalogue.base import NOT_HERE
from pgwarden.catalogue.contents import Catalogue, Kind
from pgwarden.catalogue.contract import (
    HoleReport,
    MissingReport,
    NamedReport,
    StretchReport,
    TimelineLine,
    TimesReport,
    WayLine,
)
from pgwarden.catalogue.points import Gap, Stretch, TimelinePoints, points, way_to
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.wal_listing import Range


def timelines(catalogue: Catalogue) -> list[TimelineLine]:
    """A line for each timeline of an archive."""
    segment_bytes = max((each.segment_bytes for each in catalogue.physical), default=0) or USUAL_SEGMENT_BYTES
    return [timeline(catalogue, each, segment_bytes) for each in points(catalogue)]


def timeline(catalogue: Catalogue, found: TimelinePoints, segment_bytes: int) -> TimelineLine:
    branch = found.branch
    return TimelineLine(
        archive=archive_id(catalogue),
        timeline=found.timeline,
        newest=found.newest,
        branches_from=branch.timeline if branch is not None else None,
        branched_at=format_lsn(branch.end) if branch is not None and branch.end is not None else None,
        history_known=found.history_known,
        stretches=[stretch(each) for each in found.stretches],
        gaps=[hole(each, found.timeline, segment_bytes) for each in found.gaps],
        named=[NamedReport(name=each.name, time=each.time, lsn=format_lsn(each.position)) for each in found.named],
    )


def stretch(found: Stretch) -> StretchReport:
    kinds = [each.kind for each in found.backups]
    return StretchReport(
        start_lsn=format_lsn(found.start),
        end_lsn=format_lsn(found.end),
        times=[TimesReport(first=each.first, last=each.last) for each in found.times],
        fulls=kinds.count(Kind.FULL),
        incrementals=kinds.count(Kind.INCREMENTAL),
    )


def hole(found: Gap, number: int, segment_bytes: int) -> HoleReport:
    return HoleReport(
        start_lsn=format_lsn(found.start),
        end_lsn=format_lsn(found.end),
        missing=[missing(each, number, segment_bytes) for each in found.missing],
        ended_by=found.ended_by,
    )


def missing(wal: Range, number: int, segment_bytes: int) -> MissingReport:
    return MissingReport(
        start_lsn=format_lsn(wal.start),
        end_lsn=format_lsn(wal.end),
        first_segment=segment_name(number, wal.start // segment_bytes, segment_bytes),
        last_segment=segment_name(number, (wal.end - 1) // segment_bytes, segment_bytes),
    )


def way(catalogues: Sequence[Catalogue], time: datetime, number: int | None) -> WayLine:
    """How a moment can be recovered out of one of a cluster's archives, which come the oldest first: as a restore does,
    out of the newest that holds it."""
    refused: list[TaskError] = []
    for catalogue in reversed(catalogues):
        try:
            found = way_to(catalogue, time, number)
        except TaskError as error:
            refused.append(error)
            if error.reason not in NOT_HERE:
                return refusal(time, error.reason, [error])
            continue
        return WayLine(
            time=time,
            reachable=True,
            archive=archive_id(catalogue),
            timeline=found.timeline,
            chain=[each.backup_id for each in found.chain],
            backup_bytes=sum(each.stored_bytes for each in found.chain),
            wal_bytes=found.wal_bytes,
            end_lsn=format_lsn(found.until),
        )
    return refusal(time, refused[0].reason, refused)


def refusal(time: datetime, reason: str, refused: Sequence[TaskError]) -> WayLine:
    """A moment that no archive holds, with what each says of it."""
    return WayLine(time=time, reachable=False, reason=reason, message="; ".join(error.message for error in refused))


def archive_id(catalogue: Catalogue) -> str:
    return catalogue.archive.rsplit("/", 1)[-1]
