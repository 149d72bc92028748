"""Keeps our slot on the replicas, as far along as the archive: whichever is promoted still has all WAL that it misses.

PostgreSQL documentation, "Replication Slots": a standby's slot is its own, goes on existing after a promotion, and
`pg_replication_slot_advance` moves it, up to what was replayed. A slot that nobody moves fills the replica's disk, so
replicas are looked at as long as WAL streams, over connections that are kept: each address has to lead to one server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.archiving.contract import SlotReport
from pgwarden.archiving.primary import SETTINGS, create_slot, drop_slot, rows, text
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect

KEEP_SECONDS = 10.0


class Replica:
    """One replica and our slot there. Close it."""

    def __init__(self, address: DatabaseAddress, operation: str, slot: str, system_identifier: str) -> None:
        self.name = f"{address.host}:{address.port}"
        self._address = address
        self._operation = operation
        self._slot = slot
        self._system_identifier = system_identifier
        self._connection: Connection | None = None

    def keep(self, stored: int) -> SlotReport:
        """Makes the slot where it is missing, and moves it to `stored`. Raises TaskError, and begins anew then."""
        try:
            if self._connection is None:
                self._connection = connect(self._address, self._operation, settings=SETTINGS)
            return self._kept(self._connection, stored)
        except TaskError:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _kept(self, connection: Connection, stored: int) -> SlotReport:
        slot = self._look(connection)
        if slot.wal_status == "lost":
            drop_slot(connection, self.name, self._slot)
        if not slot.exists or slot.wal_status == "lost":
            create_slot(connection, self.name, self._slot)
            slot = self._look(connection)
        if slot.restart_lsn and not slot.active and parse_lsn(slot.restart_lsn) < stored:
            advance = "SELECT pg_catalog.pg_replication_slot_advance(%s, %s)"
            rows(connection, self.name, advance, (self._slot, format_lsn(stored)))
        return slot

    def _look(self, connection: Connection) -> SlotReport:
        """Raises TaskError: NotAReplica, SystemIdentifierMismatch, QueryFailed."""
        (row,) = rows(connection, self.name, text("replica"), (self._slot,))
        in_recovery, system_identifier, exists, active, wal_status, restart_lsn = row
        if system_identifier != self._system_identifier:
            raise TaskError("SystemIdentifierMismatch", f"{self.name} is of another cluster ({system_identifier})")
        if not in_recovery:
            raise TaskError("NotAReplica", f"{self.name} is a primary")
        return SlotReport(
            name=self._slot,
            server=self.name,
            exists=exists,
            active=bool(active),
            wal_status=wal_status or "",
            restart_lsn=restart_lsn or "",
        )


class ReplicaSlots(threading.Thread):
    """Looks after the slot on all replicas until told to stop; one that does not answer holds up no other for long."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        stored: Callable[[], int],
        tell: Callable[[list[SlotReport], list[str]], None],
    ) -> None:
        """`stored` gives the end of what the store holds, `tell` is told of the slots and of what went wrong."""
        super().__init__(name="replica-slots", daemon=True)
        self._replicas = replicas
        self._stored = stored
        self._tell = tell
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._tell(*self._round())
                self._ended.wait(KEEP_SECONDS)
        finally:
            for replica in self._replicas:
                replica.close()

    def _round(self) -> tuple[list[SlotReport], list[str]]:
        slots, problems = [], []
        for replica in self._replicas:
            try:
                slots.append(replica.keep(self._stored()))
            except TaskError as error:
                problems.append(
                    f"the slot is not kept on {replica.name} ({error.reason}): {error.message}. Should it be promoted, "
                    "WAL that is not archived by then may be missing"
                )
        return slots, problems

    def end(self) -> None:
        """Lets the thread end; it is not waited for, as a server may not answer."""
        self._ended.set()
