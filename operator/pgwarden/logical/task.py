"""Operation `logical-backup`: one dump of each database, unless an earlier attempt has committed it already."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.backups.record import Authentication
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.logical.contract import LogicalBackupReport, LogicalBackupTask
from pgwarden.logical.engine import take_logical_backup
from pgwarden.logical.record import LogicalRecord, read_logical_record
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.authenticity import refuse_forged, sign
from pgwarden.storage.catalogue_key import CatalogueKey, read_catalogue_key
from pgwarden.storage.store import ObjectExists, Store, open_store

__all__ = ["LogicalBackupTask", "run"]


def run(payload: LogicalBackupTask, context: AgentContext) -> Done:
    """Takes the backup, commits it and reports it. Raises TaskError."""
    store = open_store(payload.store)
    folder = payload.store.catalogue_key
    key = read_catalogue_key(Path(folder)) if folder is not None else None
    context.progress("preparing")
    archive = claim_archive(store, payload.archive, datetime.now(UTC))
    location = layout.logical_folder(archive, payload.backup_id)
    committed = find_committed(store, location, key)
    if committed is not None:
        return done(committed, location, repeated=True)
    record = take_logical_backup(payload, store, location, context)
    content = signed(record, key)
    context.progress("committing", record.plain_bytes, record.plain_bytes)
    # Whoever was told to stop has been given up, and must not commit what nobody expects any more.
    context.check_stop()
    try:
        store.put(layout.record_file(location), content)
    except ObjectExists:
        # Another pod of the same attempt was quicker; what this one uploaded belongs to no backup.
        path = layout.record_file(location)
        return done(read_logical_record(store.read_small(path), path), location, repeated=True)
    return done(record, location, repeated=False)


def signed(record: LogicalRecord, key: CatalogueKey | None) -> bytes:
    """The content of backup.json, authenticated where there is a key."""
    if key is None:
        return record.to_bytes()
    authentication = Authentication.model_validate(sign(json.loads(record.to_bytes()), key.hmac))
    return record.model_copy(update={"authentication": authentication}).to_bytes()


def find_committed(store: Store, location: str, key: CatalogueKey | None) -> LogicalRecord | None:
    """The record of the backup at `location` when it is committed. Raises TaskError: RecordForged, and others."""
    path = layout.record_file(location)
    if store.head(path) is None:
        return None
    content = store.read_small(path)
    if key is not None:
        refuse_forged(content, path, key.hmac)
    return read_logical_record(content, path)


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
