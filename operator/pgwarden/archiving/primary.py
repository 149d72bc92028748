"""The ordinary connection beside the stream: who the server is, its slot, and looks at it while WAL streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString

from pgwarden.api.wal import parse_lsn
from pgwarden.archiving.contract import ArchiverSettings, ArchiverState, SlotReport
from pgwarden.archiving.plan import waits_for
from pgwarden.archiving.trouble import Trouble
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect, refuse_old_server
from pgwarden.postgres.errors import Error
from pgwarden.storage.archived_system import SystemFile

SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    # A commit of ours must never wait for a standby; there is none to begin with.
    "synchronous_commit": "local",
}
SLOTS_USED_UP = "53400"


@dataclass(frozen=True)
class Facts:
    """What a primary is."""

    in_recovery: bool
    system_identifier: str
    timeline: int
    segment_bytes: int
    synchronous_standby_names: str
    max_slot_wal_keep_size: str
    patroni: bool
    """Whether Patroni looks after the server, as far as its settings and sessions tell."""


@dataclass(frozen=True)
class Look:
    """One look at the primary while it streams."""

    time: datetime
    """By the server's clock; all that was committed by then lies before `lsn`."""
    lsn: int
    timeline: int
    next_xid: str
    synchronous_standby_names: str
    sender_seen: bool
    """Whether this server is the one that streams to us."""
    sync_state: str
    slot: SlotReport


class Primary:
    """A connection to a server. Close it."""

    def __init__(self, address: DatabaseAddress, operation: str, slot: str) -> None:
        """Connects. Raises TaskError."""
        self.address = address
        self._slot = slot
        self.made_slot = False
        """Whether `ensure_slot` made it: then it stands where the server is, and nobody has acknowledged anything."""
        self._connection: Connection = connect(address, operation, settings=SETTINGS)
        try:
            refuse_old_server(self._connection.info.server_version, address)
            self.facts = Facts(*self._rows(text("server"))[0])
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    def look(self, sender_pid: int) -> Look:
        """Raises TaskError, also when the server is no primary any more."""
        row = self._rows(text("look"), (sender_pid, self._slot))[0]
        time, lsn, timeline, next_xid, names, seen, sync_state, exists, active, wal_status, restart, safe = row
        slot = SlotReport(
            name=self._slot,
            exists=exists,
            active=bool(active),
            wal_status=wal_status or "",
            restart_lsn=restart or "",
            safe_wal_bytes=safe,
        )
        return Look(time, parse_lsn(lsn), timeline, next_xid, names, seen is not None, sync_state or "", slot)

    def ensure_slot(self) -> SlotReport:
        """Makes the slot where it is missing, anew where the server gave it up; what it is now. Raises TaskError."""
        slot = self.look(0).slot
        if slot.exists and slot.wal_status == "lost" and not slot.active:
            drop_slot(self._connection, self.name, self._slot)
            slot = SlotReport(name=self._slot)
        if not slot.exists:
            create_slot(self._connection, self.name, self._slot)
            self.made_slot = True
            slot = self.look(0).slot
        return slot

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return rows(self._connection, self.name, query, parameters)


def create_slot(connection: Connection, server: str, slot: str) -> None:
    """Makes a slot that keeps WAL from now on. Raises TaskError: NoReplicationSlot, QueryFailed."""
    try:
        rows(connection, server, "SELECT pg_catalog.pg_create_physical_replication_slot(%s, true)", (slot,))
    except TaskError as error:
        if error.report.get("sqlstate") != SLOTS_USED_UP:
            raise
        raise TaskError(
            "NoReplicationSlot",
            f"{server} has no replication slot left for {slot}",
            remedy="Raise max_replication_slots by one, or drop a slot that nothing uses (pg_replication_slots).",
            retryable=True,
        ) from error


def drop_slot(connection: Connection, server: str, slot: str) -> None:
    """Drops a slot that nobody streams from. Raises TaskError with reason QueryFailed."""
    rows(connection, server, "SELECT pg_catalog.pg_drop_replication_slot(%s)", (slot,))


def rows(
    connection: Connection, server: str, query: LiteralString, parameters: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """What a query gives. Raises TaskError with reason QueryFailed and the SQLSTATE in its report."""
    try:
        return connection.execute(query, parameters or None).fetchall()
    except Error as error:
        raise TaskError(
            "QueryFailed",
            f"{server} refused a query: {' '.join(str(error).split())}",
            remedy="The server's log tells more; docs/sql/backup-role.sql makes a role that may do all this.",
            retryable=True,
            report={"sqlstate": error.sqlstate or ""},
        ) from error


@cache
def text(name: str) -> LiteralString:
    """The text of a named query of this room."""
    return files("pgwarden.archiving").joinpath("sql", f"{name}.sql").read_text()


@dataclass(frozen=True)
class Held:
    """What an archive of WAL holds."""

    system: SystemFile | None
    """Whose WAL it is; None where it holds none yet."""
    timeline: int
    """The newest; 0 where it holds none."""


def find_primary(settings: ArchiverSettings, operation: str, held: Held) -> Primary:
    """A connection to the first endpoint that is a primary of the right cluster, on no older timeline than the archive.

    Raises Trouble: WaitingForPrimary with the reason of the first endpoint, WrongSystem, Conflict.
    """
    troubles: list[Trouble] = []
    for address in settings.endpoints:
        try:
            primary = Primary(address, operation, settings.slot)
        except TaskError as error:
            troubles.append(Trouble(ArchiverState.WAITING_FOR_PRIMARY, error))
            continue
        trouble = unsuitable(primary, settings, held)
        if trouble is None:
            return primary
        primary.close()
        troubles.append(trouble)
    raise max(troubles, key=lambda trouble: trouble.state != ArchiverState.WAITING_FOR_PRIMARY)


def unsuitable(primary: Primary, settings: ArchiverSettings, held: Held) -> Trouble | None:
    """Why WAL must not be taken from that server, if so."""
    facts = primary.facts
    expected = settings.expected_system_identifier
    if expected not in (None, facts.system_identifier):
        return Trouble(
            ArchiverState.WRONG_SYSTEM,
            TaskError(
                "SystemIdentifierMismatch",
                f"the server {primary.name} has system identifier {facts.system_identifier}, not {expected}: it is "
                "another cluster than the one this archive belongs to",
                remedy="Correct the address in the DatabaseCluster. After pg_upgrade or a new initdb wait until its "
                "status shows the new system identifier: another archive begins by itself then.",
            ),
        )
    if facts.in_recovery:
        return Trouble(
            ArchiverState.WAITING_FOR_PRIMARY,
            TaskError(
                "NoPrimary",
                f"{primary.name} is a standby, and no other endpoint is a primary",
                remedy="Promote a standby, or name the primary and all replicas in the DatabaseCluster.",
                retryable=True,
            ),
        )
    same_system = held.system is not None and held.system.system_identifier == facts.system_identifier
    if same_system and facts.timeline < held.timeline:
        return Trouble(
            ArchiverState.CONFLICT,
            TaskError(
                "TimelineBehind",
                f"{primary.name} is a primary on timeline {facts.timeline}, and the archive holds WAL of timeline "
                f"{held.timeline} already: it is a primary of the past",
                remedy="Shut it down and name the present primary in the DatabaseCluster. To go on with the old "
                "history on purpose, give the policy a BackupStore with another prefix.",
            ),
        )
    return None


def refuse_to_be_synchronous(names: str, application_name: str, sync_state: str = "") -> None:
    """Raises TaskError with reason SynchronousStandby when commits would wait for us, or do already."""
    if sync_state in ("", "async") and not waits_for(names, application_name):
        return
    raise TaskError(
        "SynchronousStandby",
        f"PostgreSQL takes the archiver for a synchronous standby (synchronous_standby_names = '{names}'): each commit "
        "would wait until its WAL lies in the store",
        remedy="Name the real standbys in synchronous_standby_names, in place of * or of "
        f"{application_name}, and reload. Archiving begins by itself then.",
        retryable=True,
    )
