"""Begins a backup on the server it is to be taken from: the primary, or a replica where one can serve."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgwarden.api.wal import parse_lsn
from pgwarden.backups.contract import BackupTask
from pgwarden.backups.incremental import (
    NothingNew,
    ServerFacts,
    Summary,
    check_parent,
    check_restart_point,
    check_settings,
    check_something_new,
    check_timeline,
    check_version,
    refused,
    summaries_missing,
    summarized_until,
    summarizer_behind,
)
from pgwarden.backups.inventory import OPERATION, Inventory, take_inventory
from pgwarden.backups.parents import Parent
from pgwarden.jobs.agent import Stopped
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import Connection, connect, connect_for_replication, refuse_old_server
from pgwarden.postgres.replication import (
    BackupStart,
    BaseBackup,
    BaseBackupOptions,
    NotInRequiredState,
    SystemIdentity,
    create_temporary_slot,
    identify_system,
    timeline_history,
)
from pgwarden.postgres.statements import query

LEAST_RATE_KIB, MOST_RATE_KIB = 32, 1 << 20
"""What MAX_RATE of BASE_BACKUP accepts."""
SUMMARIZER_SECONDS = 60.0
"""How long the summarizer may stand still before a backup gives up on it."""
POLL_SECONDS = 0.5
REPLICA_SECONDS = 30.0
"""How long a replica is waited for that has not replayed yet what the primary had written."""


@dataclass(frozen=True)
class Base:
    """What an incremental is taken on."""

    parent: Parent
    manifest: Callable[[], Iterator[bytes]]
    """Reads the parent's manifest anew."""


@dataclass(frozen=True)
class Begun:
    """A backup that the server has begun to send."""

    run: BaseBackup
    start: BackupStart
    inventory: Inventory
    note: str
    """Why it is not taken from a replica although one was asked for; empty otherwise."""


def begin_backup(task: BackupTask, base: Base | None, check_stop: Callable[[], None]) -> Begun:
    """Begins the backup on the first replica that can serve, else on the primary. The caller finishes its connection.

    Raises TaskError for the primary; what a replica says becomes the note, also that it knows of nothing new: it may
    not have seen a checkpoint. Raises NothingNew when the primary says so.
    """
    notes = []
    for replica in task.replicas:
        try:
            return _begin_on(replica, task, base, check_stop, "")
        except Stopped:
            raise
        except TaskError as error:
            notes.append(f"{replica.host}:{replica.port} could not serve ({error.reason}): {error.message}")
        except NothingNew as nothing:
            notes.append(f"{replica.host}:{replica.port} could not serve (NothingNew): {nothing}")
    note = f"taken from the primary: {'; '.join(notes)}" if notes else ""
    return _begin_on(task.database, task, base, check_stop, note)


def _begin_on(
    server: DatabaseAddress, task: BackupTask, base: Base | None, check_stop: Callable[[], None], note: str
) -> Begun:
    connection = connect_for_replication(server, OPERATION)
    try:
        refuse_old_server(connection.server_version, server)
        identity = identify_system(connection)
        _check_system_identifier(task, server, identity.system_identifier)
        if server is not task.database:
            _wait_for_replica(server, task.database, lambda: identify_system(connection).timeline, check_stop)
            identity = identify_system(connection)
        run = BaseBackup(connection, check_stop)
        if base is not None:
            check_version(connection.server_version)
            for each in base.parent.chain:
                check_parent(each, identity.system_identifier, connection.server_version)
            history = timeline_history(connection, identity.timeline) if identity.timeline > 1 else ""
            check_timeline(base.parent.record, identity.timeline, history)
            with connect(server, OPERATION) as queries:
                _wait_for_summaries(queries, base.parent, identity, check_stop)
        inventory = take_inventory(server, check_stop)
        _check_same_server(server, identity.system_identifier, inventory.system_identifier)
        create_temporary_slot(connection, f"pgwarden_{secrets.token_hex(8)}")
        if base is not None:
            run.upload_manifest(base.manifest())
        start = _begin(run, server, task, base)
        return Begun(run, start, inventory, note)
    except BaseException:
        connection.finish()
        raise


def _wait_for_replica(
    replica: DatabaseAddress, primary: DatabaseAddress, timeline: Callable[[], int], check_stop: Callable[[], None]
) -> None:
    """Waits until a replica has replayed all that its primary had written: else a backup would be one of the past, or
    of a history that nobody else has.

    Raises TaskError: ReplicaBehind, NoPrimary.
    """
    with connect(primary, OPERATION) as queries:
        wanted, newest = query(queries, "primary_position")[0]
    if wanted is None:
        raise TaskError(
            "NoPrimary", f"{primary.host}:{primary.port} is a standby: nobody says what a replica must hold"
        )
    deadline = time.monotonic() + REPLICA_SECONDS
    with connect(replica, OPERATION) as queries:
        while True:
            replayed = query(queries, "wal_position")[0][0] or "0/0"
            if timeline() == newest and parse_lsn(replayed) >= parse_lsn(wanted):
                return
            if time.monotonic() >= deadline:
                raise TaskError(
                    "ReplicaBehind",
                    f"it is at {replayed} on timeline {timeline()} and did not get to {wanted} on timeline {newest}, "
                    f"where the primary was {REPLICA_SECONDS:.0f} s ago",
                    remedy="Look at pg_stat_replication on the primary and at the replica's log.",
                    retryable=True,
                )
            check_stop()
            time.sleep(POLL_SECONDS)


def _begin(run: BaseBackup, server: DatabaseAddress, task: BackupTask, base: Base | None) -> BackupStart:
    label = f"pgwarden {task.backup_id}"
    try:
        return run.begin(BaseBackupOptions(label, rate(task.max_rate_kib), incremental=base is not None))
    except NotInRequiredState as error:
        if base is None:
            raise
        with connect(server, OPERATION) as queries:
            check_restart_point(base.parent.record, server_facts(queries))
        raise refused(base.parent.record, "IncrementalRefused", error.message) from error


def _wait_for_summaries(
    connection: Connection, parent: Parent, identity: SystemIdentity, check_stop: Callable[[], None]
) -> None:
    """Waits until the summarizer has come to where the WAL is now; only as long as it gets on.

    Summaries of timelines that were left are the server's to look for.
    """
    facts = server_facts(connection)
    check_settings(facts)
    check_something_new(parent.record, identity.timeline, facts)
    if parent.record.timeline != identity.timeline:
        return
    start = parse_lsn(parent.record.start_lsn)
    # BASE_BACKUP needs summaries up to its own checkpoint and waits for those; what was there before must be there now.
    wanted, last, since = facts.redo, -1, time.monotonic()
    while True:
        rows = query(connection, "wal_summaries", (identity.timeline,))
        summaries = [Summary(parse_lsn(begin), parse_lsn(end)) for _, begin, end in rows]
        reached = summarized_until(summaries, start)
        if reached is None and any(summary.start > start for summary in summaries):
            raise summaries_missing(parent.record)
        position = start if reached is None else reached
        if position >= wanted:
            return
        if any(summary.start > position for summary in summaries):
            raise summaries_missing(parent.record)
        if position > last:
            last, since = position, time.monotonic()
        if time.monotonic() - since > SUMMARIZER_SECONDS:
            raise summarizer_behind(parent.record, position, wanted, SUMMARIZER_SECONDS)
        check_stop()
        time.sleep(POLL_SECONDS)


def server_facts(connection: Connection) -> ServerFacts:
    """What decides about incrementals, asked now. Raises TaskError."""
    summarize, checksums, hints, in_recovery, position, redo = query(connection, "incremental_facts")[0]
    return ServerFacts(summarize, checksums, hints, in_recovery, parse_lsn(position), parse_lsn(redo))


def rate(max_rate_kib: int) -> int:
    """MAX_RATE within what the server accepts; 0 is unlimited."""
    return min(max(max_rate_kib, LEAST_RATE_KIB), MOST_RATE_KIB) if max_rate_kib else 0


def _check_system_identifier(task: BackupTask, server: DatabaseAddress, found: str) -> None:
    if task.expected_system_identifier not in (None, found):
        raise TaskError(
            "SystemIdentifierMismatch",
            f"the server {server.host}:{server.port} has system identifier {found}, not "
            f"{task.expected_system_identifier}: it is another cluster than the one this archive belongs to",
            remedy="Correct the address in the DatabaseCluster. After pg_upgrade or a new initdb, make a new "
            "DatabaseCluster, or wait until the operator has seen the new identifier.",
        )


def _check_same_server(server: DatabaseAddress, replication: str, queries: str) -> None:
    if replication != queries:
        raise TaskError(
            "SystemIdentifierMismatch",
            f"two connections to {server.host}:{server.port} reached different clusters ({replication} and {queries})",
            remedy="Give the address of one server, not of a balancer in front of several clusters.",
        )
