"""Operation `backup`: one physical backup, unless an earlier attempt has committed it already."""

from __future__ import annotations

from datetime import UTC, datetime

from pgwarden.backups.contract import BackupReport, BackupTask, NothingNewReport
from pgwarden.backups.engine import take_backup
from pgwarden.backups.incremental import NothingNew
from pgwarden.backups.incremental_floor import FIRST_WITH_INCREMENTALS, below_floor, floor_of
from pgwarden.backups.parents import find_parent
from pgwarden.backups.receiver import Watcher
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.backups.rolled_back import refuse_rolled_back
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive, refuse_succeeded
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.commit import RecordFile
from pgwarden.storage.store import Store, open_store

__all__ = ["BackupTask", "run"]


def run(payload: BackupTask, context: AgentContext) -> Done:
    """Takes the backup, commits it and reports it. Raises TaskError."""
    store = open_store(payload.store)
    key = catalogue_key_of(payload.store)
    context.progress("preparing")
    archive = claim_archive(store, payload.archive, datetime.now(UTC))
    location = layout.backup_folder(archive, payload.backup_id)
    file = RecordFile(store, location, key, read_record)
    committed = file.committed()
    if committed is not None:
        return done(committed, location, repeated=True)
    refuse_rolled_back(store, archive, payload.database)
    watcher = Watcher(lambda received, total: context.progress("copying", received, total), context.check_stop)
    incremental = payload.type == "incremental"
    parent = find_parent(store, archive, payload.parent_id, key) if incremental else None
    try:
        record, note = take_backup(payload, store, archive, parent, key, watcher)
    except NothingNew as nothing:
        on = parent.record.backup_id if parent is not None else ""
        return Done("NothingNew", str(nothing), NothingNewReport(parent_id=on), skipped=True)
    context.progress("committing", record.plain_bytes, record.plain_bytes)
    check_chain(store, archive, record)

    def still_wanted() -> None:
        context.check_stop()
        refuse_succeeded(store, payload.archive, archive)

    held = file.commit(record, still_wanted)
    if held is not record:
        return done(held, location, repeated=True)
    return done(record, location, repeated=False, note=note)


def check_chain(store: Store, archive: str, record: BackupRecord) -> None:
    """Raises TaskError with reason ParentGone when what an incremental stands on was deleted while it was taken."""
    for backup_id in record.chain:
        if store.head(layout.record_file(layout.backup_folder(archive, backup_id))) is None:
            raise TaskError(
                "ParentGone",
                f"backup {backup_id}, which this one holds the changes since, was deleted from the archive {archive} "
                "while this one was taken",
                remedy="It expired: take a new full backup, and incrementals on that, or lengthen the retention.",
            )


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
