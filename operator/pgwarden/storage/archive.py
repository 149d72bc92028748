"""archive.json: whose backups and WAL an archive holds.

Staging restored from production has the same name and the same system identifier. Without this file it would write
its own WAL between production's and make both useless; so only one DatabaseCluster, known by its UID, may write.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ArchiveIdentity
from pgwarden.jobs.task import ReportModel
from pgwarden.storage import layout
from pgwarden.storage.store import ObjectExists, Store


class ArchiveFile(ReportModel):
    """archive.json."""

    schema_version: int = 1
    namespace: str
    cluster: str
    cluster_uid: str
    created: datetime


def claim_archive(store: Store, identity: ArchiveIdentity, now: datetime) -> str:
    """The folder of the cluster's archive, which belongs to it from now on if it did not before.

    Raises TaskError: ArchiveBelongsToAnother, ObjectDamaged, and what `Store` raises.
    """
    folder = layout.archive_folder(identity.namespace, identity.cluster)
    path = layout.archive_file(folder)
    mine = ArchiveFile(
        namespace=identity.namespace, cluster=identity.cluster, cluster_uid=identity.cluster_uid, created=now
    )
    try:
        store.put(path, mine.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
    except ObjectExists:
        check_archive(store, identity, path)
    return folder


def check_archive(store: Store, identity: ArchiveIdentity, path: str) -> None:
    """Raises TaskError: ArchiveBelongsToAnother when archive.json names another cluster, ObjectDamaged."""
    try:
        found = ArchiveFile.model_validate_json(store.read_small(path))
    except ValidationError as error:
        raise TaskError(
            "ObjectDamaged",
            f"{path} in the store ({store.name}) does not say whose archive it is",
            remedy="Look at who else writes into the store; give the BackupStore another prefix to begin anew.",
        ) from error
    if found.cluster_uid != identity.cluster_uid:
        raise TaskError(
            "ArchiveBelongsToAnother",
            f"the archive {path.rsplit('/', 1)[0]} in the store ({store.name}) belongs to the DatabaseCluster with UID "
            f"{found.cluster_uid}, since {found.created:%Y-%m-%d}; this one has UID {identity.cluster_uid}",
            remedy="Give this cluster a BackupStore with another prefix. Only when the other DatabaseCluster is gone "
            f"for good and this one takes its place: write this UID into clusterUid of {path}.",
        )
