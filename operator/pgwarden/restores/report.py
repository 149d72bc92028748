"""The incident report of a restore: what was asked for, what was done, what is to be done now. Markdown. Pure.

Nothing in it depends on when or how often it is written: the same request gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pgwarden.api.conditions import READY, find, is_true
from pgwarden.api.quantities import human_seconds
from pgwarden.jobs.task import shorten
from pgwarden.restores.follow_up import follow_ups
from pgwarden.restores.parts import described as described_parts
from pgwarden.restores.parts import wants_parts
from pgwarden.restores.resource import RecoveryPoint, RestoreRequest, Step

MOST_BYTES = 65_536
"""A ConfigMap takes a MiB, and a Job's annotations a quarter of one, in which the text is written as JSON."""
CELL, PARAGRAPH = 400, 3000
"""Characters of one text in a table or list, and of the message at the head, which says what to do."""
CUT = "\n\n*The report is cut here: it would be longer than a ConfigMap and a Job can carry.*\n"
UNSAFE = str.maketrans({character: f"\\{character}" for character in "\\`*[]<>|"})
UNKNOWN = "not known"


class Paragraph(str):
    """A text that has room of its own."""

    __slots__ = ()


@dataclass(frozen=True)
class Origin:
    """Where the data came from, and whether somebody vouches for who asked."""

    cluster: str
    """Name of the DatabaseCluster that the data are of."""
    store: str
    """The store, as `pgwarden.stores.access.describe` tells it."""
    verified: bool
    """Whether an admission policy held spec.requestedBy true."""


def incident_report(request: RestoreRequest, origin: Origin) -> str:
    """The report; never longer than MOST_BYTES."""
    status, ready = request.status, find(request.status.conditions, READY)
    text = environment().get_template("report.md.j2").render(
        request=request,
        status=status,
        origin=origin,
        succeeded=is_true(status.conditions, READY),
        outcome=ready.reason if ready is not None else UNKNOWN,
        message=Paragraph(ready.message if ready is not None else ""),
        facts=facts(request, origin),
        steps=[(step.name, step.state, at(step.start_time), took(step), step.message) for step in status.steps],
        checks=[(each.name, each.verdict, each.answer) for each in status.checks],
        attempts=[(each.number, at(each.start_time), at(each.completion_time), each.reason, each.message)
                  for each in status.attempts],
        follow_ups=follow_ups(request),
    )  # fmt: skip
    return bounded(text)


def facts(request: RestoreRequest, origin: Origin) -> list[tuple[str, str]]:
    """What, when, who, from where to where: name and value; what is not known is said to be so."""
    status, resolved = request.status, request.status.resolved
    asked = f"{request.spec.requested_by or 'nobody is named'} ({'verified' if origin.verified else 'not verified'})"
    reached = f"{status.restored_to} on timeline {status.timeline}" if status.restored_to else "nothing was recovered"
    reached = "the backup's own" if status.loaded and not status.restored_to else reached
    brought_back = bool(status.restored_to or status.loaded)
    moment = f", data of {at(status.restored_time)}" if brought_back and status.restored_time else ""
    chain = ", ".join(resolved.chain) if resolved is not None else status.backup_id
    return [
        ("restore", f"{request.metadata.namespace}/{request.metadata.name} (UID {request.metadata.uid})"),
        ("asked by", asked),
        ("asked at", at(request.metadata.creation_timestamp)),
        ("began", at(status.start_time)),
        ("ended", at(ended(request))),
        ("took", duration(status.start_time, ended(request))),
        ("data of", f"{origin.cluster or UNKNOWN}, out of {status.location or origin.store or UNKNOWN}"),
        ("restore point wanted", wanted(request)),
        ("understood as", resolved.target if resolved is not None else UNKNOWN),
        ("restore point reached", reached + moment),
        ("data window lost", window_lost(request)),
        ("backups", chain or UNKNOWN),
        ("restored into", f"{into(request)}{f', which listens at {status.host}' if status.host else ''}"),
    ]


def ended(request: RestoreRequest) -> datetime | None:
    """When the restore ended, well or badly."""
    ready, stalled = find(request.status.conditions, READY), find(request.status.conditions, "Stalled")
    last = stalled if stalled is not None and stalled.status == "True" else ready
    return request.status.completion_time or (last.last_transition_time if last is not None else None)


def wanted(request: RestoreRequest) -> str:
    """The target as it was asked for."""
    source = request.spec.source
    begin = f"from backup {source.backup_ref.name}" if source.backup_ref is not None else "out of the archive"
    return f"{described(source.target)}, {begin}" if source.target is not None else f"the end of it, {begin}"


def described(target: RecoveryPoint) -> str:
    """A target in words."""
    named: Mapping[str, Any] = {
        "time": at(target.time) if target.time is not None else None,
        "WAL position": target.lsn,
        "transaction": target.xid,
        "restore point": target.name,
        "the latest moment": "" if target.latest else None,
        "the end of the newest backup": "" if target.immediate else None,
    }
    told = next((f"{what} {value}".strip() for what, value in named.items() if value is not None), UNKNOWN)
    on = f" on timeline {target.timeline}" if target.timeline is not None else ""
    return f"{told}{on}" + ("" if target.inclusive else ", without what lies exactly there")


def window_lost(request: RestoreRequest) -> str:
    """What the original wrote that the restored data do not hold."""
    status = request.status
    if (status.restored_to is None and not status.loaded) or (
        status.in_place is not None and not status.in_place.handed_over
    ):
        return "nothing was handed over"
    known = status.resolved.known_until if status.resolved is not None else None
    if status.restored_time is None:
        return UNKNOWN
    if known is None:
        return f"all that was written after {at(status.restored_time)}; how much that is nothing tells"
    if known <= status.restored_time:
        return f"all that was written after {at(status.restored_time)}: the archive told of nothing later"
    span = human_seconds((known - status.restored_time).total_seconds())
    return f"{span}: from {at(status.restored_time)} to {at(known)}, the last moment of the original in the archive"


def into(request: RestoreRequest) -> str:
    """What is restored into, for people."""
    instance, in_place = request.spec.target.new_instance, request.spec.target.in_place
    if wants_parts(request):
        return described_parts(request)
    if in_place is not None:
        return f"the cluster's own server, in the place of {in_place.replaces} (system identifier and timeline)"
    return f"new instance {instance.name}" if instance is not None else "a scratch volume, as a drill"


def took(step: Step) -> str:
    return duration(step.start_time, step.completion_time) if step.start_time is not None else ""


def duration(begin: datetime | None, end: datetime | None) -> str:
    return human_seconds((end - begin).total_seconds()) if begin is not None and end is not None else UNKNOWN


def at(time: datetime | None) -> str:
    """A time to the second, for people; empty for none."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time is not None else ""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The template's; an undefined name is an error, and no value becomes markup."""
    return Environment(
        loader=PackageLoader("pgwarden.restores", "templates"),
        undefined=StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Markdown, and every value in it is escaped as such
    )


def escaped(value: Any) -> str:
    """A value as text of one line that is nothing but text in Markdown, cut to CELL or PARAGRAPH characters."""
    line = " ".join(str(value).split())
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return shorten(printable, PARAGRAPH if isinstance(value, Paragraph) else CELL).translate(UNSAFE)


def bounded(text: str) -> str:
    """`text` in at most MOST_BYTES of UTF-8; one that is cut says so."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MOST_BYTES:
        return encoded.decode()
    return encoded[: MOST_BYTES - len(CUT.encode())].decode(errors="ignore") + CUT
