"""Operation `logical-backup`: one dump of each database, unless an earlier attempt has committed it already."""

from __future__ import annotations

from datetime import UTC, datetime

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.logical.contract import LogicalBackupReport, LogicalBackupTask
from pgwarden.logical.engine import take_logical_backup
from pgwarden.logical.record import LogicalRecord, read_logical_record
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive, refuse_succeeded
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.commit import RecordFile
from pgwarden.storage.store import open_store

__all__ = ["LogicalBackupTask", "run"]


def run(payload: LogicalBackupTask, context: AgentContext) -> Done:
    """Takes the backup, commits it and reports it. Raises TaskError."""
    store = open_store(payload.store)
    key = catalogue_key_of(payload.store)
    context.progress("preparing")
    archive = claim_archive(store, payload.archive, datetime.now(UTC))
    location = layout.logical_folder(archive, payload.backup_id)
    file = RecordFile(store, location, key, read_logical_record)
    committed = file.committed()
    if committed is not None:
        return done(committed, location, repeated=True)
    record = take_logical_backup(payload, store, location, context)
    context.progress("committing", record.plain_bytes, record.plain_bytes)

    def still_wanted() -> None:
        context.check_stop()
        refuse_succeeded(store, payload.archive, archive)

    held = file.commit(record, still_wanted)
    return done(held, location, repeated=held is not record)


def done(record: LogicalRecord, location: str, *, repeated: bool) -> Done:
    """What the operator is told."""
    report = LogicalBackupReport(
        backup_id=record.backup_id,
        location=location,
        start_time=record.start_time,
        stop_time=record.stop_time,
        system_identifier=record.system_identifier,
        postgres_version=record.server.version,
        databases=len(record.databases),
        globals=record.globals is not None,
        plain_bytes=record.plain_bytes,
        stored_bytes=record.stored_bytes,
        objects=len(record.objects),
        encrypted=record.encrypted,
        repeated=repeated,
    )
    took = (record.stop_time - record.start_time).total_seconds()
    names = ", ".join(dump.name for dump in record.databases)
    message = f"dumped {names}: {record.stored_bytes} bytes of {record.plain_bytes}, in {took:.0f} s"
    return Done("AlreadyCommitted" if repeated else "BackupCommitted", message, report)
