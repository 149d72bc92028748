"""archive.json: whose backups and WAL an archive holds, and which of a cluster's archives is written to.

Staging restored from production has the same name and the same system identifier. Without this file it would write
its own WAL between production's and make both useless; so only one DatabaseCluster, known by its UID, may write.

A DatabaseCluster that was made anew, in another Kubernetes cluster say, has another UID. Somebody who knows that it
takes the old one's place has it *adopt* its archives: that creates archive.0001.json, then archive.0002.json and so on
in each. The last one holds; nothing is overwritten, so the whole descent can be read.

A server whose volume was rolled back writes other WAL at positions that are archived already. Its archive stays as it
is then, and the cluster's next one *succeeds* it: the highest id is the one that is written to. An archive.json is
never deleted, so that no id is given out twice.
"""

from __future__ import annotations

from contextlib import suppress
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
    succeeds: str = ""
    """Id of the archive before this one; empty in the first."""
    why: str = ""
    """Why that one could not be gone on with."""


def archive_folders(store: Store, namespace: str, cluster: str) -> list[str]:
    """The folders of all archives of a cluster, the oldest first; empty where it has none."""
    ids = layout.archive_ids(store.folders(layout.cluster_folder(namespace, cluster)))
    return [layout.archive_folder(namespace, cluster, each) for each in ids]


def claim_archive(store: Store, identity: ArchiveIdentity, now: datetime) -> str:
    """The folder of the cluster's newest archive, which belongs to it from now on if it did not before.

    Raises TaskError: ArchiveBelongsToAnother, ObjectDamaged, and what `Store` raises.
    """
    known = archive_folders(store, identity.namespace, identity.cluster)
    folder = known[-1] if known else layout.archive_folder(identity.namespace, identity.cluster)
    try:
        store.put(layout.archive_file(folder), to_bytes(belonging_to(identity, now)))
    except ObjectExists:
        check_archive(store, identity, folder)
    return folder


def succeed_archive(store: Store, identity: ArchiveIdentity, folder: str, why: str, now: datetime) -> str:
    """The folder of the archive that takes the place of the one in `folder`, made unless somebody was quicker.

    Raises TaskError: ArchiveBelongsToAnother, ObjectDamaged, and what `Store` raises.
    """
    check_archive(store, identity, folder)
    old = folder.rsplit("/", 1)[-1]
    new = layout.archive_folder(identity.namespace, identity.cluster, layout.next_archive_id(old))
    mine = belonging_to(identity, now).model_copy(update={"succeeds": old, "why": why})
    with suppress(ObjectExists):
        store.put(layout.archive_file(new), to_bytes(mine))
    check_archive(store, identity, new)
    return new


def refuse_succeeded(store: Store, identity: ArchiveIdentity, folder: str) -> None:
    """Raises TaskError with reason ArchiveSucceeded when another archive has taken the place of that one."""
    newest = archive_folders(store, identity.namespace, identity.cluster)[-1:]
    if newest not in ([], [folder]):
        raise TaskError(
            "ArchiveSucceeded",
            f"the archive {newest[0]} took the place of {folder} while this backup was taken, so it may be of another "
            "history than the WAL there",
            remedy="It is tried again by itself, into the new archive.",
            retryable=True,
        )


def check_archive(store: Store, identity: ArchiveIdentity, folder: str) -> None:
    """Raises TaskError: ArchiveBelongsToAnother when it is another cluster's, ArchiveNotFound, ObjectDamaged."""
    _, found = binding(store, folder)
    if found.cluster_uid != identity.cluster_uid:
        raise TaskError(
            "ArchiveBelongsToAnother",
            f"the archive {folder} in the store ({store.name}) belongs to the DatabaseCluster with UID "
            f"{found.cluster_uid}, since {found.created:%Y-%m-%d}; this one has UID {identity.cluster_uid}",
            remedy="Give this cluster a BackupStore with another prefix. Only when the other DatabaseCluster is gone "
            f"for good and this one takes its place: {adopting(identity, found.cluster_uid)}",
        )


def adopting(identity: ArchiveIdentity, previous: str) -> str:
    """The command by which a DatabaseCluster takes over what another one has left in its store."""
    store = identity.store or "STORE"
    return (
        f"kubectl pgwarden backup adopt --namespace {identity.namespace} --cluster {identity.cluster}"
        f" --store {store} --from {previous}"
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
    return number, read_archive_file(store, path)


def read_archive_file(store: Store, path: str) -> ArchiveFile:
    """An archive.json. Raises TaskError: ObjectMissing, ObjectDamaged."""
    try:
        return ArchiveFile.model_validate_json(store.read_small(path))
    except ValidationError as error:
        raise TaskError(
            "ObjectDamaged",
            f"{path} in the store ({store.name}) does not say whose archive it is",
            remedy="Look at who else writes into the store; give the BackupStore another prefix to begin anew.",
        ) from error


def adopt_archives(store: Store, identity: ArchiveIdentity, previous_uid: str, now: datetime, person: str) -> bool:
    """Has all archives of the cluster belong to another DatabaseCluster from now on; False when they do already.

    Raises TaskError: AdoptionRefused when one does not belong to `previous_uid`, ArchiveNotFound, ObjectDamaged.
    """
    known = archive_folders(store, identity.namespace, identity.cluster)
    folders = known or [layout.archive_folder(identity.namespace, identity.cluster)]
    # The newest last: until that one is adopted, nothing is written.
    adopted = [adopt_archive(store, folder, identity, previous_uid, now, person) for folder in folders]
    return any(adopted)


def adopt_archive(
    store: Store, folder: str, identity: ArchiveIdentity, previous_uid: str, now: datetime, person: str
) -> bool:
    """As `adopt_archives`, of the one in `folder`."""
    number, found = binding(store, folder)
    if found.cluster_uid == identity.cluster_uid:
        return False
    mine = belonging_to(identity, now).model_copy(
        update={"adopted_from": found.cluster_uid, "adopted_by": person, "succeeds": found.succeeds, "why": found.why}
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


def belonging_to(identity: ArchiveIdentity, now: datetime) -> ArchiveFile:
    """The file of an archive of that cluster."""
    return ArchiveFile(
        namespace=identity.namespace, cluster=identity.cluster, cluster_uid=identity.cluster_uid, created=now
    )


def to_bytes(file: ArchiveFile) -> bytes:
    return file.model_dump_json(by_alias=True, indent=2, exclude_defaults=False).encode() + b"\n"
