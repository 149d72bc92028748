"""Operation `backup`: one full physical backup, unless an earlier attempt has committed it already."""

from __future__ import annotations

from datetime import UTC, datetime

from pgwarden.backups.contract import BackupReport, BackupTask
from pgwarden.backups.engine import Watcher, take_backup
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.store import ObjectExists, Store, open_store

__all__ = ["BackupTask", "run"]


def run(payload: BackupTask, context: AgentContext) -> Done:
    """Takes the backup, commits it and reports it. Raises TaskError."""
    store = open_store(payload.store)
    context.progress("preparing")
    archive = claim_archive(store, payload.archive, datetime.now(UTC))
    location = layout.backup_folder(archive, payload.backup_id)
    committed = find_committed(store, location)
    if committed is not None:
        return done(committed, location, repeated=True)
    watcher = Watcher(lambda received, total: context.progress("copying", received, total), context.check_stop)
    record = take_backup(payload, store, location, watcher)
    context.check_stop()
    context.progress("committing", record.plain_bytes, record.plain_bytes)
    try:
        store.put(layout.record_file(location), record.to_bytes())
    except ObjectExists:
        # Another pod of the same attempt was quicker; what this one uploaded belongs to no backup.
        path = layout.record_file(location)
        return done(read_record(store.read_small(path), path), location, repeated=True)
    return done(record, location, repeated=False)


def find_committed(store: Store, location: str) -> BackupRecord | None:
    """The record of the backup at `location` when it is committed. Raises TaskError."""
    path = layout.record_file(location)
    if store.head(path) is None:
        return None
    return read_record(store.read_small(path), path)


def done(record: BackupRecord, location: str, *, repeated: bool) -> Done:
    """What the operator is told."""
    report = BackupReport(
        backup_id=record.backup_id,
        location=location,
        start_time=record.start_time,
        stop_time=record.stop_time,
        start_lsn=record.start_lsn,
        stop_lsn=record.stop_lsn,
        timeline=record.timeline,
        system_identifier=record.system_identifier,
        postgres_version=record.server.version,
        plain_bytes=record.plain_bytes,
        stored_bytes=record.stored_bytes,
        objects=len(record.objects),
        tablespaces=len(record.tablespaces),
        superuser=record.server.bootstrap_superuser or "",
        encrypted=record.encrypted,
        damaged=record.damaged,
        repeated=repeated,
    )
    if record.damaged:
        message = f"stored, but not to be relied on: {record.damage}"
        return Done("BackupDamaged", message, report)
    took = (record.stop_time - record.start_time).total_seconds()
    message = f"{len(record.objects)} objects, {record.stored_bytes} of {record.plain_bytes} bytes, in {took:.0f} s"
    return Done("AlreadyCommitted" if repeated else "BackupCommitted", message, report)
