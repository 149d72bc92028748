"""Finds in the store what an incremental backup is taken on, with everything a restore of it needs."""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.backups.incremental import NEW_FULL, refused
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.authenticity import Authenticity, refuse_forged
from pgwarden.storage.catalogue_key import CatalogueKey
from pgwarden.storage.store import Store

INCREMENTAL_MARK = "-incr-"
"""Stands in the ids of incrementals; saves reading their records when a full is looked for."""


@dataclass(frozen=True)
class Parent:
    """A backup, and all that it stands on."""

    chain: list[BackupRecord]
    """The full first, the parent last."""

    @property
    def record(self) -> BackupRecord:
        return self.chain[-1]

    @property
    def ids(self) -> list[str]:
        return [record.backup_id for record in self.chain]

    @property
    def version_num(self) -> int:
        """The lowest version that any of them was taken with."""
        return min(record.server.version_num for record in self.chain)


def find_parent(store: Store, archive: str, backup_id: str | None, key: CatalogueKey | None) -> Parent:
    """The backup of that id, or the newest full that can be relied on, with its chain.

    Raises TaskError: NoParent, ParentNotAuthentic, ParentDamaged, ManifestNotReadable, RecordForged, and what reading
    raises.
    """
    parent = newest_full(store, archive, key) if backup_id is None else _read(store, archive, backup_id, key)
    chain = [_read(store, archive, each, key) for each in parent.chain]
    if parent.encrypted and (key is None or parent.catalogue_recipient != key.recipient):
        raise refused(
            parent,
            "ManifestNotReadable",
            "its manifest is not encrypted to the store's present catalogue key, as after a move to another Kubernetes "
            "cluster",
        )
    return Parent([*chain, parent])


def newest_full(store: Store, archive: str, key: CatalogueKey | None) -> BackupRecord:
    """The newest full that is committed, reliable and authentic. Raises TaskError with reason NoParent."""
    names = store.folders(layout.join(archive, layout.BACKUPS_FOLDER))
    for name in sorted(names, reverse=True):
        if INCREMENTAL_MARK in name or store.head(_record_file(archive, name)) is None:
            continue
        try:
            record = _read(store, archive, name, key)
        except TaskError as error:
            if error.retryable:
                raise
            continue
        if record.type == "full" and record.reliable:
            return record
    raise TaskError(
        "NoParent",
        f"the archive {archive} in the store ({store.name}) holds no full backup that an incremental can be taken on",
        remedy=NEW_FULL,
    )


def _read(store: Store, archive: str, backup_id: str, key: CatalogueKey | None) -> BackupRecord:
    path = _record_file(archive, backup_id)
    if store.head(path) is None:
        raise TaskError(
            "NoParent",
            f"there is no backup {backup_id} in the archive {archive} of the store ({store.name})",
            remedy=NEW_FULL,
        )
    content = store.read_small(path)
    record = read_record(content, path)
    if key is not None and refuse_forged(content, path, key.hmac) != Authenticity.AUTHENTIC:
        raise refused(
            record,
            "ParentNotAuthentic",
            "its record was not written with the store's present catalogue key, so nobody can say who wrote it",
        )
    if record.backup_id != backup_id:
        raise refused(record, "ParentNotAuthentic", f"its record was put into the folder of {backup_id}")
    if last_check_failed(store, archive, backup_id):
        raise refused(record, "ParentDamaged", "its objects were read again, and are not what was written")
    return record


def last_check_failed(store: Store, archive: str, backup_id: str) -> bool:
    """Whether the backup was found damaged when its objects were read last; names of checks sort by time."""
    folder = layout.join(layout.backup_folder(archive, backup_id), layout.CHECKS_FOLDER)
    return max((listed.path for listed in store.list(folder)), default="").endswith("-failed.json")


def _record_file(archive: str, backup_id: str) -> str:
    return layout.record_file(layout.backup_folder(archive, backup_id))
