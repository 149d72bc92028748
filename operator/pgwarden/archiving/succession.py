"""When an archive cannot be gone on with: the cluster's next one takes its place by itself, but not again and again.

Nothing is lost by it: the old archive stays as it is, and can be recovered from. What would be lost without it is all
that the server writes from now on. Two servers that answer under one address in turns would begin an archive at each
turn, so an archive that took another's place is held on to for a while.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ArchiveIdentity
from pgwarden.storage import layout
from pgwarden.storage.archive import ArchiveFile, read_archive_file, succeed_archive
from pgwarden.storage.store import Store

REASONS = frozenset({"ArchiveConflict", "ServerBehindArchive", "NewSystemIdentifier"})
"""What a new archive mends. A primary of the past (TimelineBehind) is none of them: the present one may come back."""
LEAST_AGE = timedelta(hours=1)


def begin_next(store: Store, identity: ArchiveIdentity, archive: str, error: TaskError, now: datetime) -> str:
    """The folder of the archive that takes the place of `archive`, for which `error` is the reason.

    Raises `error` with another remedy while the present archive is too young, and what `Store` raises.
    """
    moment = due(read_archive_file(store, layout.archive_file(archive)), now)
    if moment > now:
        raise TaskError(
            error.reason,
            error.message,
            remedy=f"The archive {archive} took another's place less than an hour ago. The next one takes its place by "
            f"itself at {moment:%H:%M} UTC; until then the slot keeps WAL. Find out whether two servers answer under "
            "one address, or which of them is the right one.",
            retryable=True,
        )
    return succeed_archive(store, identity, archive, error.message, now)


def due(file: ArchiveFile, now: datetime) -> datetime:
    """When an archive may be succeeded at the earliest. One that was made in the future was made by a wrong clock."""
    if not file.succeeds or file.created > now:
        return now
    return max(now, file.created + LEAST_AGE)
