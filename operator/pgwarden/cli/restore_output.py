"""What `pgwarden restore` prints: plain columns and sentences, or JSON when asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pgwarden.api.conditions import READY, find
from pgwarden.api.quantities import human_bytes, human_seconds
from pgwarden.catalogue.contract import HoleReport, MissingReport, StretchReport, TimelineLine, WayLine
from pgwarden.catalogue.reachable import shown as as_target
from pgwarden.catalogue.reachable import whole_seconds
from pgwarden.cli.backup_output import age, plain
from pgwarden.cli.backup_source import Answer
from pgwarden.cli.output import print_json, printable, show_columns
from pgwarden.restores.report import into
from pgwarden.restores.resource import LoadedDatabase, RestoreRequest, Step

POINTS = ("TIMELINE", "FROM", "TO", "WAL FROM", "WAL TO", "BACKUPS")
REQUESTS = ("NAME", "RESTORE POINT", "INTO", "STATE", "STEP", "TOOK", "ASKED BY", "AGE")
STEPS = ("STEP", "STATE", "BEGAN", "TOOK", "WHAT CAME OF IT")
UNNAMED = "-"
"""For positions of which nothing tells the time."""


def show_points(answer: Answer, *, as_json: bool) -> None:
    """Prints what can be recovered, and how the moment can that was asked about."""
    if as_json:
        print_json(
            {
                "timelines": [plain(each) for each in answer.timelines],
                "way": plain(answer.way) if answer.way is not None else None,
                "troubles": answer.troubles,
            }
        )
        return
    archives = list(dict.fromkeys(each.archive for each in answer.timelines))
    if not archives:
        print("nothing can be recovered: there is neither a physical backup nor WAL")
    for archive in archives:
        if len(archives) > 1:
            print(f"archive {printable(archive)}:")
        show_timelines([each for each in answer.timelines if each.archive == archive])
    for trouble in answer.troubles:
        print(f"cannot be read: {printable(trouble)}")
    if answer.way is not None:
        print(printable(told(answer.way)))


def show_timelines(lines: Sequence[TimelineLine]) -> None:
    """The spans of one archive as a table, then its branches and gaps as sentences."""
    rows = [row(line, each) for line in lines for each in line.stretches]
    if rows:
        show_columns([POINTS, *rows])
    else:
        print("nothing can be recovered: no physical backup is restorable")
    for line in lines:
        if line.branches_from is not None:
            print(f"timeline {line.timeline} branches off timeline {line.branches_from} at {line.branched_at}")
        elif not line.history_known:
            print(f"timeline {line.timeline}: no history file in the archive tells where it branched off")
        for each in line.named:
            print(
                printable(f"restore point {each.name!r} on timeline {line.timeline}: {shown(each.time)} ({each.lsn})")
            )
        for gap in line.gaps:
            print(printable(told_of_gap(line.timeline, gap)))


def row(line: TimelineLine, span: StretchReport) -> tuple[str, ...]:
    """One span of a timeline."""
    newest = f"{line.timeline} (newest)" if line.newest else str(line.timeline)
    first = whole_seconds(span.times[0].first, span.times[0].last)[0] if span.times else None
    last = whole_seconds(span.times[-1].first, span.times[-1].last)[1] if span.times else None
    kinds = [f"{count} {kind}" for count, kind in ((span.fulls, "full"), (span.incrementals, "incremental")) if count]
    return (
        newest,
        as_target(first) if first is not None else UNNAMED,
        as_target(last) if last is not None else UNNAMED,
        span.start_lsn,
        span.end_lsn,
        ", ".join(kinds) or "none",
    )


def told_of_gap(timeline: int, gap: HoleReport) -> str:
    """One gap in a sentence."""
    what = ", ".join(map(told_of_missing, gap.missing)) or "no backup leads there"
    after = f"; backup {gap.ended_by} leads on" if gap.ended_by else "; only a new full backup leads on"
    return f"gap on timeline {timeline} from {gap.start_lsn} to {gap.end_lsn}: {what}{after}"


def told_of_missing(wal: MissingReport) -> str:
    same = wal.first_segment == wal.last_segment
    return f"WAL is missing in {wal.first_segment}" + ("" if same else f" to {wal.last_segment}")


def told(way: WayLine) -> str:
    """How a moment can be recovered, or why not, in a sentence."""
    if not way.reachable:
        return f"{shown(way.time)} cannot be recovered ({way.reason}): {way.message}"
    onto = f" and {len(way.chain) - 1} that it builds upon" if len(way.chain) > 1 else ""
    return (
        f"{shown(way.time)} can be recovered on timeline {way.timeline}: from backup {way.chain[-1]}{onto}"
        f" ({human_bytes(way.backup_bytes)} in the store), with {human_bytes(way.wal_bytes)} of WAL up to {way.end_lsn}"
    )


def show_list(requests: Sequence[RestoreRequest], *, as_json: bool, now: datetime) -> None:
    """Prints restores, the oldest first."""
    if as_json:
        print_json([request.to_json() for request in requests])
    elif not requests:
        print("no restores")
    else:
        show_columns([REQUESTS, *(summary(request, now) for request in requests)])


def summary(request: RestoreRequest, now: datetime) -> tuple[str, ...]:
    """One row."""
    status, made = request.status, request.metadata.creation_timestamp
    return (
        request.metadata.name,
        printable(point(request)),
        into(request),
        state(request),
        status.step or UNNAMED,
        human_seconds(status.duration_seconds) if status.duration_seconds is not None else UNNAMED,
        printable(request.spec.requested_by or UNNAMED),
        age(made, now) if made is not None else UNNAMED,
    )


def show_request(request: RestoreRequest, *, as_json: bool) -> None:
    """Prints one restore with its steps."""
    if as_json:
        print_json(request.to_json())
        return
    status, ready = request.status, find(request.status.conditions, READY)
    resolved, filed = status.resolved, status.report
    rows = [
        ("restore", request.metadata.name),
        ("asked by", request.spec.requested_by),
        ("restore point", point(request)),
        ("backups", ", ".join(resolved.chain) if resolved is not None else status.backup_id),
        ("into", into(request)),
        ("state", state(request)),
        ("what it says", ready.message if ready is not None else ""),
        ("restored to", " ".join(filter(None, (status.restored_to, at(status.restored_time))))),
        ("report", f"ConfigMap {filed.config_map}" if filed is not None and filed.config_map else ""),
    ]
    rows += [("check", f"{each.name}: {each.verdict}: {each.answer}") for each in status.checks]
    rows += [("found", finding) for finding in status.findings]
    rows += [("restored", told_of_loaded(each)) for each in status.loaded]
    rows += [("rows", f"{count.rows} in {count.table}") for each in status.loaded for count in each.counts]
    for name, value in rows:
        if value:
            print(f"{name + ':':<16}{printable(value)}")
    if status.steps:
        print()
        show_columns([STEPS, *map(step_row, status.steps)])
    for each in status.loaded:
        print(f"\n{printable(f'To put {each.new_name} in the place of what it was taken out of:')}")
        # A name may hold line breaks, and they belong to it.
        print("\n".join(map(printable, each.swap.split("\n"))))


def told_of_loaded(loaded: LoadedDatabase) -> str:
    """A database that was made in a server that runs."""
    return (
        f"{loaded.new_name}, out of {loaded.database}: {loaded.rows} rows in {loaded.tables} tables"
        f" ({human_bytes(loaded.size_bytes)})"
    )


def step_row(step: Step) -> tuple[str, ...]:
    began, ended = step.start_time, step.completion_time
    took = human_seconds((ended - began).total_seconds()) if began is not None and ended is not None else UNNAMED
    return (step.name, step.state, at(began) or UNNAMED, took, printable(step.message))


def state(request: RestoreRequest) -> str:
    """Where a restore stands, in a word."""
    ready = find(request.status.conditions, READY)
    return ready.reason if ready is not None else "Pending"


def point(request: RestoreRequest) -> str:
    """What is restored, as it was understood, or as it was asked for."""
    if request.status.resolved is not None:
        return request.status.resolved.target
    source = request.spec.source
    return f"backup {source.backup_ref.name}" if source.backup_ref is not None else "not resolved yet"


def at(time: datetime | None) -> str:
    return shown(time) if time is not None else ""


def shown(time: datetime) -> str:
    """A time to the second, as `target.time` takes it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
