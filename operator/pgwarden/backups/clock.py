"""The time by the database server's clock: that of its commits, and of the archive's moments.

A backup whose end was told by another machine's clock would be chosen for a target before its end, or passed over for
one after it, by as much as the two differ.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.connection import Connection
from pgwarden.postgres.statements import query


class ServerClock:
    """The clock of one server."""

    def __init__(self, connection: Connection) -> None:
        """Asks it for the first time. Raises TaskError with reason QueryFailed."""
        self._connection = connection
        self.started, self._seen = self._asked(), time.monotonic()

    def now(self) -> datetime:
        """The time: as the server tells it, or where it does not answer (a whole backup must not be lost for that) as
        long after it was asked first as has passed since."""
        try:
            return self._asked()
        except TaskError:
            return self.started + timedelta(seconds=time.monotonic() - self._seen)

    def _asked(self) -> datetime:
        told: datetime = query(self._connection, "clock")[0][0]
        return told.astimezone(UTC)
