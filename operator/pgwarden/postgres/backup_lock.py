"""The advisory lock of physical backups: two operators, or an operator and a shell, do not take two at once.

It is a session lock on the primary, polled: the connection that holds it tells the server's time until the backup ends,
and does nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect
from pgwarden.postgres.statements import query

LOCK = (0x70677764, 2)
"""Class of all of pgwarden's locks, and the one of physical backups; migrations have 1."""
WAIT_SECONDS = 10.0
"""A killed agent's session is gone within one; another backup takes longer than anybody should wait here."""
POLL_SECONDS = 0.2
NEVER_IDLE_TOO_LONG = {"idle_session_timeout": "0"}


@contextmanager
def backup_lock(
    address: DatabaseAddress, operation: str, check_stop: Callable[[], None], *, wait_seconds: float = WAIT_SECONDS
) -> Iterator[Connection]:
    """Holds the lock for the length of the block; gives the connection that holds it.

    Raises TaskError: AnotherBackupRuns (retryable), what connecting raises, and what `check_stop` raises.
    """
    with connect(address, operation, settings=NEVER_IDLE_TOO_LONG) as connection:
        deadline = time.monotonic() + wait_seconds
        while not query(connection, "try_backup_lock", LOCK)[0][0]:
            check_stop()
            if time.monotonic() >= deadline:
                raise TaskError(
                    "AnotherBackupRuns",
                    f"{_holder(connection)} takes a backup of {address.host}:{address.port} already",
                    remedy="It is tried again by itself. The lock is free as soon as that session ends.",
                    retryable=True,
                )
            time.sleep(POLL_SECONDS)
        yield connection


def _holder(connection: Connection) -> str:
    rows = query(connection, "backup_lock_holder", LOCK)
    if not rows:
        return "another session"
    pid, user, application = rows[0]
    told = ", ".join(part for part in (f"user {user}" if user else "", application or "") if part)
    return f"server process {pid}" + (f" ({told})" if told else "")
