"""Takes one physical backup: BASE_BACKUP, cut into objects, compressed, encrypted, uploaded, then committed.

Nothing is staged on disk. backup.json is written last, and only when every object is in the store and every file has
the size that the server's manifest says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pgwarden
from pgwarden.backups.by_hand import Link, restore_script
from pgwarden.backups.clock import ServerClock
from pgwarden.backups.contract import BackupTask
from pgwarden.backups.inventory import OPERATION
from pgwarden.backups.parents import Parent
from pgwarden.backups.receiver import Contents, Receiver, Watcher
from pgwarden.backups.record import BackupRecord, Tablespace
from pgwarden.backups.sources import Base, Begun, begin_backup
from pgwarden.backups.upload import Uploads
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.backup_lock import backup_lock
from pgwarden.postgres.replication import BackupEnd, BackupStart
from pgwarden.storage import layout
from pgwarden.storage.catalogue_key import CatalogueKey
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.objects import Packing, read_object
from pgwarden.storage.store import Store


def take_backup(
    task: BackupTask, store: Store, archive: str, parent: Parent | None, key: CatalogueKey | None, watcher: Watcher
) -> tuple[BackupRecord, str]:
    """Uploads everything of a backup; returns its record, which the caller commits, and a note for people.

    With a `parent` it is an incremental. Raises NothingNew, and TaskError: ServerTooOld, SystemIdentifierMismatch,
    NoReplicationSlot, AnotherBackupRuns, BaseBackupFailed, BackupInterrupted, BackupIncomplete, TimelineChanged,
    InvalidRecipient, the refusals of `incremental`, and what connections and stores raise.
    """
    packing = Packing(task.compression_level, task.compression_threads, parse_recipients(task.store.recipients))
    for_manifest = packing
    if packing.recipients and key is not None:
        for_manifest = replace(packing, recipients=[*packing.recipients, *parse_recipients([key.recipient])])
    base = None if parent is None else Base(parent, lambda: read_manifest(store, archive, parent, key))
    with backup_lock(task.database, OPERATION, watcher.check_stop) as primary:
        # The primary's also where a replica serves: the archive's moments are by that one.
        clock = ServerClock(primary)
        begun = begin_backup(task, base, watcher.check_stop)
        try:
            ended, contents = _receive(task, store, archive, begun, packing, for_manifest, watcher)
        finally:
            begun.run.connection.finish()
        times = (clock.started, clock.now())
    return _record(task, archive, parent, key, begun, ended, contents, times), begun.note


def read_manifest(store: Store, archive: str, parent: Parent, key: CatalogueKey | None) -> Iterator[bytes]:
    """The parent's manifest, verified. Raises TaskError."""
    stored = parent.record.manifest
    path = layout.join(layout.backup_folder(archive, parent.record.backup_id), stored.path)
    return read_object(store, path, stored, key.identities if key is not None else ())


def _receive(
    task: BackupTask,
    store: Store,
    archive: str,
    begun: Begun,
    packing: Packing,
    for_manifest: Packing,
    watcher: Watcher,
) -> tuple[BackupEnd, Contents]:
    """Everything the server sends, into the store."""
    location = layout.backup_folder(archive, task.backup_id)
    expected = sum(space.estimated_bytes for space in begun.start.tablespaces)
    with Uploads(store, location, packing, watcher.check_stop) as uploads:
        receiver = Receiver(task, uploads, for_manifest, expected, watcher)
        for message in begun.run.messages():
            receiver.receive(message)
        ended = begun.run.end()
        check_one_timeline(begun.start, ended)
        receiver.close()
        return ended, receiver.contents()


def check_one_timeline(start: BackupStart, end: BackupEnd) -> None:
    """Raises TaskError with reason TimelineChanged: a record names one timeline, on which its WAL is looked for."""
    if start.timeline != end.timeline:
        raise TaskError(
            "TimelineChanged",
            f"the backup began on timeline {start.timeline} and ended on {end.timeline}: another server was promoted "
            "meanwhile",
            remedy="Nothing was committed and the backup is tried again, on the new timeline.",
            retryable=True,
        )


def _record(
    task: BackupTask,
    archive: str,
    parent: Parent | None,
    key: CatalogueKey | None,
    begun: Begun,
    ended: BackupEnd,
    contents: Contents,
    times: tuple[datetime, datetime],
) -> BackupRecord:
    inventory = begun.inventory
    server = inventory.server
    if contents.owner is not None:
        server.owner_uid, server.owner_gid = contents.owner.uid, contents.owner.gid
    tablespaces = [
        Tablespace(
            oid=space.oid,
            name=inventory.tablespace_names.get(space.oid, ""),
            location=space.location or "",
            estimated_bytes=space.estimated_bytes,
        )
        for space in begun.start.tablespaces
        if space.oid is not None
    ]
    encrypted = bool(task.store.recipients)
    chain = parent.chain if parent is not None else []
    own = Link(task.backup_id, contents.archives, contents.manifest, tablespaces)
    earlier = [Link(each.backup_id, each.archives, each.manifest, each.tablespaces) for each in chain]
    return BackupRecord(
        pgwarden_version=pgwarden.__version__,
        backup_id=task.backup_id,
        attempt=task.attempt,
        type="incremental" if chain else "full",
        parent_id=chain[-1].backup_id if chain else None,
        chain=[each.backup_id for each in chain],
        chain_version_num=parent.version_num if parent is not None else None,
        policy=task.policy,
        cluster_uid=task.archive.cluster_uid,
        system_identifier=inventory.system_identifier,
        timeline=begun.start.timeline,
        start_lsn=begun.start.start_lsn,
        stop_lsn=ended.stop_lsn,
        start_time=times[0],
        stop_time=times[1],
        damaged=bool(ended.checksum_failure),
        damage=ended.checksum_failure,
        server=server,
        archives=contents.archives,
        manifest=contents.manifest,
        manifest_files=contents.manifest_files,
        tablespaces=tablespaces,
        recipients=task.store.recipients,
        catalogue_recipient=key.recipient if encrypted and key is not None else "",
        compression=f"zstd level {task.compression_level}",
        restore_by_hand=restore_script(
            folder=layout.join(archive, layout.BACKUPS_FOLDER),
            version=server.version,
            chain=[*earlier, own],
            encrypted=encrypted,
        ),
    )
