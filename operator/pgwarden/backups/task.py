"""Operation `backup`: one physical backup, unless an earlier attempt has committed it already."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pgwarden.backups.contract import BackupReport, BackupTask, NothingNewReport
from pgwarden.backups.engine import take_backup
from pgwarden.backups.incremental import NothingNew
from pgwarden.backups.incremental_floor import FIRST_WITH_INCREMENTALS, below_floor, floor_of
from pgwarden.backups.parents import catalogue_key, find_parent
from pgwarden.backups.receiver import Watcher
from pgwarden.backups.record import Authentication, BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.authenticity import refuse_forged, sign
from pgwarden.storage.catalogue_key import CatalogueKey
from pgwarden.storage.store import ObjectExists, Store, open_store

__all__ = ["BackupTask", "run"]


def run(payload: BackupTask, context: AgentContext) -> Done:
    """Takes the backup, commits it and reports it. Raises TaskError."""
    store = open_store(payload.store)
    key = catalogue_key(payload.store)
    context.progress("preparing")
    archive = claim_archive(store, payload.archive, datetime.now(UTC))
    location = layout.backup_folder(archive, payload.backup_id)
    committed = find_committed(store, location, key)
    if committed is not None:
        return done(committed, location, repeated=True)
    watcher = Watcher(lambda received, total: context.progress("copying", received, total), context.check_stop)
    incremental = payload.type == "incremental"
    parent = find_parent(store, archive, payload.parent_id, key) if incremental else None
    try:
        record, note = take_backup(payload, store, archive, parent, key, watcher)
    except NothingNew as nothing:
        on = parent.record.backup_id if parent is not None else ""
        return Done("NothingNew", str(nothing), NothingNewReport(parent_id=on), skipped=True)
    content = signed(record, key)
    context.progress("committing", record.plain_bytes, record.plain_bytes)
    # Whoever was told to stop has been given up, and must not commit what nobody expects any more.
    context.check_stop()
    try:
        store.put(layout.record_file(location), content)
    except ObjectExists:
        # Another pod of the same attempt was quicker; what this one uploaded belongs to no backup.
        path = layout.record_file(location)
        return done(read_record(store.read_small(path), path), location, repeated=True)
    return done(record, location, repeated=False, note=note)


def signed(record: BackupRecord, key: CatalogueKey | None) -> bytes:
    """The content of backup.json, authenticated where there is a key."""
    if key is None:
        return record.to_bytes()
    authentication = Authentication.model_validate(sign(json.loads(record.to_bytes()), key.hmac))
    return record.model_copy(update={"authentication": authentication}).to_bytes()


def find_committed(store: Store, location: str, key: CatalogueKey | None) -> BackupRecord | None:
    """The record of the backup at `location` when it is committed. Raises TaskError: RecordForged, and others."""
    path = layout.record_file(location)
    if store.head(path) is None:
        return None
    content = store.read_small(path)
    if key is not None:
        refuse_forged(content, path, key.hmac)
    return read_record(content, path)


def done(record: BackupRecord, location: str, *, repeated: bool, note: str = "") -> Done:
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
        untrusted=record.untrusted_reason,
        parent_id=record.parent_id or "",
        chain=len(record.chain) + 1,
        no_parent=why_no_parent(record),
        note=note,
        repeated=repeated,
    )
    if record.damaged:
        message = f"stored, but not to be relied on: {record.damage}"
        return Done("BackupDamaged", message, report)
    took = (record.stop_time - record.start_time).total_seconds()
    message = f"{len(record.objects)} objects, {record.stored_bytes} of {record.plain_bytes} bytes, in {took:.0f} s"
    return Done("AlreadyCommitted" if repeated else "BackupCommitted", message, report)


def why_no_parent(record: BackupRecord) -> str:
    """Why no incremental can be taken on a backup, as far as the backup itself tells; empty when one can."""
    version = record.server.version_num
    if not record.reliable:
        return "it is not to be relied on itself"
    if version // 10000 < FIRST_WITH_INCREMENTALS:
        return f"incremental backups exist from PostgreSQL {FIRST_WITH_INCREMENTALS} on"
    if below_floor(version):
        return (
            f"it was taken with PostgreSQL {record.server.version}; incrementals can be trusted on fulls from "
            f"{floor_of(version)} on"
        )
    return ""
