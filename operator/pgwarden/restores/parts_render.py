"""What a restore's pod needs to reach the server that parts are loaded into. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.api.references import SecretKey
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.access import Role, address, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import PRIVATE, SCRATCH
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.logical.resource import LogicalFormat
from pgwarden.restores.drills import volume as scratch_volume
from pgwarden.restores.parts import into_of, parts_of
from pgwarden.restores.parts_contract import LiveTarget, LoadDumpTask
from pgwarden.restores.resource import DrillStorage, RestoreRequest
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore

PRIVATE_BYTES = "1Mi"
"""A password file."""


@dataclass(frozen=True)
class DumpSource:
    """A logical backup, and what reading it takes."""

    backup: DatabaseBackup
    store: BackupStore
    decryption: SecretKey | None
    plain_bytes: int
    """What all its dumps may need, unpacked; 0 where nothing tells."""


def load_dump(request: RestoreRequest, source: DumpSource, live: DatabaseCluster, launch: Launch) -> Manifest:
    """The Job of one attempt that loads dumps: one agent, and no server beside it."""
    identity = source.decryption
    payload = LoadDumpTask(
        request_uid=request.metadata.uid,
        store=location(source.store, identity=identity is not None, catalogue_key=True),
        location=source.backup.status.location,
        into=live_target(request, live),
    )
    return launch.job(
        Owner.of(request),
        payload,
        request.spec.job_template,
        cluster=live.metadata.name,
        system_identifier=live.status.system_identifier,
        volumes=(
            unpacking_volume(request, source),
            *live_volumes(live),
            *volumes(source.store, identity=identity, read_only=True, catalogue_key=True),
        ),
        mounts=(
            {"name": "data", "mountPath": SCRATCH},
            *live_mounts(live),
            *mounts(source.store, identity=identity, read_only=True, catalogue_key=True),
        ),
    )


def unpacking_volume(request: RestoreRequest, source: DumpSource) -> Manifest:
    """Where dumps in directory format are unpacked; others pass through, and leave a list of what is in them."""
    logical = source.backup.spec.logical
    directory = logical is not None and logical.format == LogicalFormat.DIRECTORY
    asked = into_of(request).storage != DrillStorage()
    if asked or (directory and source.plain_bytes):
        return scratch_volume(request, source.plain_bytes)
    return {"name": "data", "emptyDir": {}}


def live_target(request: RestoreRequest, live: DatabaseCluster) -> LiveTarget:
    """The server and what is loaded into it, for the agents."""
    return LiveTarget(
        address=address(live),
        expected_system_identifier=live.status.system_identifier,
        parts=parts_of(request),
        without_owners=into_of(request).without_owners,
    )


def live_volumes(live: DatabaseCluster | None) -> list[Manifest]:
    """The Secret of its role, and room in memory for what is made of it."""
    used = credential(live, Role.RESTORE) if live is not None else None
    if live is None or used is None:
        return []
    return [volume(live, used), {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": PRIVATE_BYTES}}]


def live_mounts(live: DatabaseCluster | None) -> list[Manifest]:
    """Mounts of `live_volumes`, for agents alone: the server that recovers the copy does not see them."""
    return [mount(), {"name": "private", "mountPath": PRIVATE}] if live is not None else []
