"""archive.json: whose backups and WAL an archive holds.

Staging restored from production has the same name and the same system identifier. Without this file it would write
its own WAL between production's and make both useless; so only one DatabaseCluster, known by its UID, may write.

A DatabaseCluster that was made anew, in another Kubernetes cluster say, has another UID. Somebody who knows that it
takes the old one's place has it *adopt* the archive: that creates archive.0001.json, then archive.0002.json and so on.
The last one holds; nothing is overwritten, so the whole descent can be read.
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
    """archive.json, and archive.<number>.json."""

    schema_version: int = 1
    namespace: str
    cluster: str
    cluster_uid: str
    created: datetime
    adopted_from: str = ""
    """UID of the DatabaseCluster that the archive belonged to before; empty in archive.json."""
    adopted_by: str = ""
    """Who said so."""


def claim_archive(store: Store, identity: ArchiveIdentity, now: datetime) -> str:
    """The folder of the cluster's archive, which belongs to it from now on if it did not before.

    Raises TaskError: ArchiveBelongsToAnother, ObjectDamaged, and what `Store` raises.
    """
    folder = layout.archive_folder(identity.namespace, identity.cluster)
    mine = ArchiveFile(
        namespace=identity.namespace, cluster=identity.cluster, cluster_uid=identity.cluster_uid, created=now
    )
    try:
        store.put(layout.archive_file(folder), to_bytes(mine))
    except ObjectExists:
        check_archive(store, identity)
    return folder


def check_archive(store: Store, identity: ArchiveIdentity) -> None:
    """Raises TaskError: ArchiveBelongsToAnother when it is another cluster's, ArchiveNotFound, ObjectDamaged."""
    folder = layout.archive_folder(identity.namespace, identity.cluster)
    _, found = binding(store, folder)
    if found.cluster_uid != identity.cluster_uid:
        raise TaskError(
            "ArchiveBelongsToAnother",
            f"the archive {folder} in the store ({store.name}) belongs to the DatabaseCluster with UID "
            f"{found.cluster_uid}, since {found.created:%Y-%m-%d}; this one has UID {identity.cluster_uid}",
            remedy="Give this cluster a BackupStore with another prefix. Only when the other DatabaseCluster is gone "
            f"for good and this one takes its place: pgwarden backup adopt --from {found.cluster_uid}.",
        )


def binding(store: Store, folder: str) -> tuple[int, ArchiveFile]:
    """How often the archive in `folder` was adopted, and whose it is.

    Raises TaskError: ArchiveNotFound, ObjectDamaged.
    """
    path = layout.archive_file(folder)
    if store.head(path) is None:
        raise TaskError(
            "ArchiveNotFound",
            f"there is no archive {folder} in the store ({store.name})",
            remedy="Check the names of namespace and cluster, and the store's prefix. The first backup makes one.",
        )
    number = 0
    while store.head(layout.adopted_archive_file(folder, number + 1)) is not None:
        number += 1
        path = layout.adopted_archive_file(folder, number)
    try:
        return number, ArchiveFile.model_validate_json(store.read_small(path))
    except ValidationError as error:
        raise TaskError(
            "ObjectDamaged",
            f"{path} in the store ({store.name}) does not say whose archive it is",
            remedy="Look at who else writes into the store; give the BackupStore another prefix to begin anew.",
        ) from error


def adopt_archive(store: Store, identity: ArchiveIdentity, previous_uid: str, now: datetime, person: str) -> bool:
    """Has the archive belong to another DatabaseCluster from now on; False when it does already.

    Raises TaskError: AdoptionRefused when it does not belong to `previous_uid`, ArchiveNotFound, ObjectDamaged.
    """
    folder = layout.archive_folder(identity.namespace, identity.cluster)
    number, found = binding(store, folder)
    if found.cluster_uid == identity.cluster_uid:
        return False
    mine = ArchiveFile(
        namespace=identity.namespace,
        cluster=identity.cluster,
        cluster_uid=identity.cluster_uid,
        created=now,
        adopted_from=found.cluster_uid,
        adopted_by=person,
    )
    try:
        if found.cluster_uid == previous_uid:
            store.put(layout.adopted_archive_file(folder, number + 1), to_bytes(mine))
            return True
    except ObjectExists:
        _, found = binding(store, folder)
    raise TaskError(
        "AdoptionRefused",
        f"the archive {folder} belongs to the DatabaseCluster with UID {found.cluster_uid}, not {previous_uid}",
        remedy="Make sure that this DatabaseCluster is gone for good, then name its UID with --from.",
    )


def to_bytes(file: ArchiveFile) -> bytes:
    return file.model_dump_json(by_alias=True, indent=2, exclude_defaults=False).encode() + b"\n"
