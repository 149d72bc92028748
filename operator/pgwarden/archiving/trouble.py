"""Why an archiver does not archive at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgwarden.archiving.contract import ArchiverState
from pgwarden.jobs.errors import TaskError


class Trouble(Exception):
    """A TaskError, and the state it puts the archiver into."""

    def __init__(self, state: ArchiverState, error: TaskError) -> None:
        super().__init__(error.message)
        self.state = state
        self.error = error


STATES = {
    "ArchiveConflict": ArchiverState.CONFLICT,
    "ArchiveBelongsToAnother": ArchiverState.WRONG_SYSTEM,
    "NewSystemIdentifier": ArchiverState.WRONG_SYSTEM,
    "HistoryMissing": ArchiverState.WAITING_FOR_PRIMARY,
    "NoReplicationSlot": ArchiverState.SLOT_LOST,
    "SlotInUse": ArchiverState.SLOT_IN_USE,
    "SynchronousStandby": ArchiverState.SYNCHRONOUS_STANDBY,
    "SystemIdentifierMismatch": ArchiverState.WRONG_SYSTEM,
    "TimelineBehind": ArchiverState.CONFLICT,
    "ServerBehindArchive": ArchiverState.CONFLICT,
}


@contextmanager
def told_as(state: ArchiverState) -> Iterator[None]:
    """Turns a TaskError into Trouble: with the state that belongs to its reason, else with the given one."""
    try:
        yield
    except TaskError as error:
        raise Trouble(STATES.get(error.reason, state), error) from error


def conflict(message: str) -> TaskError:
    """The archive holds something else than the server at the same position."""
    return TaskError(
        "ArchiveConflict",
        message,
        remedy="The server's data were rolled back, or two servers write the same timeline. Nothing in the archive was "
        "changed, and nothing more is written into it: WAL goes on in another one, beginning with a full backup. Find "
        "out which history is wanted; the old archive holds the other one.",
    )
