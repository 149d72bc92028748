"""Whose WAL an archive holds, and whether a server goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from pgwarden.api.wal import format_lsn
from pgwarden.archiving.primary import Primary
from pgwarden.archiving.trouble import conflict
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.archived_system import SystemFile, archived_system
from pgwarden.storage.store import ObjectExists, Store


def check_system(store: Store, archive: str, mine: SystemFile, expected: str | None) -> None:
    """Binds the archive's WAL to a system identifier.

    Raises TaskError: NewSystemIdentifier where the operator vouches for the server by `expected`, which pg_upgrade or
    initdb made anew, else SystemIdentifierMismatch; ObjectDamaged.
    """
    with suppress(ObjectExists):
        store.put(layout.system_object(archive), mine.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
        return
    found = archived_system(store, archive)
    if found is None or (found.system_identifier, found.segment_bytes) == (mine.system_identifier, mine.segment_bytes):
        return
    raise TaskError(
        "NewSystemIdentifier" if expected == mine.system_identifier else "SystemIdentifierMismatch",
        f"the archive {archive} in the store ({store.name}) holds WAL of the system {found.system_identifier} in "
        f"segments of {found.segment_bytes} bytes, and the server is {mine.system_identifier} with "
        f"{mine.segment_bytes}",
        remedy="After pg_upgrade or a new initdb another archive begins by itself, as soon as the DatabaseCluster's "
        "status shows the new system identifier.",
    )


def keep_history(store: Store, archive: str, timeline: int, content: bytes) -> None:
    """Stores a history file. Raises TaskError: ArchiveConflict when the archive has another one, and what stores do."""
    path = layout.history_object(archive, timeline)
    try:
        store.put(path, content)
    except ObjectExists:
        if store.read_small(path) != content:
            raise conflict(
                f"{path} in the store ({store.name}) is the history of another timeline {timeline} than the server's"
            ) from None


def own_history(store: Store, archive: str, timeline: int, histories: Mapping[int, bytes | None]) -> bytes:
    """The history of the server's own timeline, out of the archive where the server has lost it; empty for the first.

    Raises TaskError with reason HistoryMissing: without it nobody knows where the timeline branched off, and what lies
    before it would be left out without a word.
    """
    content = histories.get(timeline)
    if content is not None or timeline == 1:
        return content or b""
    path = layout.history_object(archive, timeline)
    if store.head(path) is not None:
        return store.read_small(path)
    raise TaskError(
        "HistoryMissing",
        f"the server is on timeline {timeline} and has no {timeline:08X}.history in its pg_wal, nor has the archive",
        remedy="Copy it there from the pg_wal of another member, as the user of PostgreSQL. Without one, give the "
        "cluster a BackupStore with another prefix and take a full backup.",
        retryable=True,
    )


def behind(primary: Primary, server_end: str, archived: int) -> TaskError:
    return TaskError(
        "ServerBehindArchive",
        f"WAL of {primary.name} ends at {server_end}, and the archive holds it up to {format_lsn(archived)}: the "
        "server has lost what it had written",
        remedy="Its volume was rolled back, or its storage lied about what was written. What it writes from now on "
        "goes into another archive, beginning with a full backup; this archive still holds the rest.",
    )


def other_system(primary: Primary, found: str) -> TaskError:
    return TaskError(
        "SystemIdentifierMismatch",
        f"two connections to {primary.name} reached different clusters ({primary.facts.system_identifier} and {found})",
        remedy="Give the address of one server, not of a balancer in front of several clusters.",
    )
