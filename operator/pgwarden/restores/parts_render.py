"""What a restore's pod needs to reach the server that parts are loaded into. Pure."""

from __future__ import annotations

from pgwarden.clusters.access import Role, address, credential, mount, volume
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.files import PRIVATE
from pgwarden.jobs.render import Manifest
from pgwarden.restores.parts import into_of, parts_of
from pgwarden.restores.parts_contract import LiveTarget
from pgwarden.restores.resource import RestoreRequest

PRIVATE_BYTES = "1Mi"
"""A password file."""


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
