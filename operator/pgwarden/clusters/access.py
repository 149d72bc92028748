"""Where a DatabaseCluster leads, how work on it gets its address and its Secrets, and whether it may begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pgwarden.api.conditions import Truth, find
from pgwarden.api.references import CertificateSource, Wanted
from pgwarden.clusters.resource import Credential, DatabaseCluster, Endpoint
from pgwarden.jobs.files import SECRETS, ArchiveIdentity, DatabaseAddress

Manifest = dict[str, Any]

NEVER_SEEN = ("", "0")
"""System identifiers of a cluster that was never reached, the second as its status has it: no two are the same."""


class Role(StrEnum):
    """For what a connection is made."""

    MONITOR = "monitor"
    BACKUP = "backup"
    MIGRATION = "migration"
    RESTORE = "restore"


@dataclass(frozen=True)
class Obstacle:
    """Why work on a cluster cannot begin now."""

    reason: str
    message: str


@dataclass(frozen=True)
class AbandonedRestore:
    """What becomes of a restore in place whose RestoreRequest was deleted on the way."""

    message: str
    """Empty where there is none."""
    concluded: bool = False
    """Whether nothing is left of it."""
    stuck: bool = False
    """Whether putting back failed; it is tried again."""
    handed_over: bool = False
    """Whether the restored data were in their place already."""


def archive_identity(cluster: DatabaseCluster, store: str) -> ArchiveIdentity:
    """Whose the archive of the cluster in the BackupStore of that name is."""
    metadata = cluster.metadata
    return ArchiveIdentity(namespace=metadata.namespace, cluster=metadata.name, cluster_uid=metadata.uid, store=store)


def credential(cluster: DatabaseCluster, role: Role) -> Credential | None:
    """The credential the cluster names for that kind of work."""
    found: Credential | None = getattr(cluster.spec.credentials, role.value)
    return found


def obstacle(cluster: DatabaseCluster | None, name: str, role: Role) -> Obstacle | None:
    """What keeps work from beginning, if anything does; all of it may pass without the work's own object changing."""
    if cluster is None:
        return Obstacle("ClusterNotFound", f"there is no DatabaseCluster {name} in this namespace; create it")
    where = f"DatabaseCluster {name}"
    if cluster.spec.suspend:
        return Obstacle("ClusterSuspended", f"{where} is suspended (spec.suspend)")
    if credential(cluster, role) is None:
        return Obstacle("CredentialsMissing", f"{where} names no credentials.{role.value}; add the Secret of that role")
    conditions = cluster.status.conditions
    duplicate = find(conditions, "DuplicateOf")
    if duplicate is not None and duplicate.status == Truth.TRUE:
        return Obstacle("ClusterDuplicate", duplicate.message)
    reachable = find(conditions, "Reachable")
    if reachable is not None and reachable.status == Truth.FALSE:
        return Obstacle("ClusterUnreachable", f"{where} cannot be reached ({reachable.reason}): {reachable.message}")
    if not cluster.status.version:
        told = reachable.message if reachable else "the monitor has not answered yet"
        return Obstacle("ClusterNotObserved", f"{where} has not been seen yet: {told}")
    return None


def address(
    cluster: DatabaseCluster, *, database: str | None = None, endpoint: Endpoint | None = None, folder: str = "database"
) -> DatabaseAddress:
    """The address of a server as a pod with `volume` mounted sees it."""
    server = endpoint or cluster.spec.primary
    verified = cluster.spec.tls.ca is not None
    return DatabaseAddress(
        host=server.host,
        port=server.port,
        database=database or cluster.spec.maintenance_database,
        tls_mode=cluster.spec.tls.mode.value,
        username_file=f"{SECRETS}/{folder}/username",
        password_file=f"{SECRETS}/{folder}/password",
        ca_file=f"{SECRETS}/{folder}/ca.crt" if verified else None,
    )


def volume(cluster: DatabaseCluster, used: Credential, name: str = "database", *, optional: bool = False) -> Manifest:
    """A projected volume with username, password and ca.crt; `optional` lets a pod start without them."""
    items = [
        {"key": used.username_key, "path": "username"},
        {"key": used.password_key, "path": "password"},
    ]
    sources: list[Manifest] = [{"secret": {"name": used.secret_name, "items": items, "optional": optional}}]
    if cluster.spec.tls.ca is not None:
        sources.append(certificate_projection(cluster.spec.tls.ca, optional=optional))
    return {"name": name, "projected": {"defaultMode": 0o440, "sources": sources}}


def certificate_projection(source: CertificateSource, *, optional: bool = False) -> Manifest:
    """A CA bundle as `ca.crt` of a projected volume."""
    kind = "secret" if source.kind == "Secret" else "configMap"
    items = [{"key": source.key, "path": "ca.crt"}]
    return {kind: {"name": source.name, "items": items, "optional": optional}}


def mount(name: str = "database") -> Manifest:
    """The mount of `volume`."""
    return {"name": name, "mountPath": f"{SECRETS}/{name}", "readOnly": True}


def wanted(cluster: DatabaseCluster, role: Role) -> list[Wanted]:
    """The Secrets and keys that a connection for that kind of work needs."""
    used = credential(cluster, role)
    name = cluster.metadata.name
    found = []
    if used is not None:
        keys = (used.username_key, used.password_key)
        found.append(Wanted("Secret", used.secret_name, keys, f"credentials.{role.value} of DatabaseCluster {name}"))
    if cluster.spec.tls.ca is not None:
        found.append(certificate_wanted(cluster.spec.tls.ca, f"tls.ca of DatabaseCluster {name}"))
    return found


def certificate_wanted(source: CertificateSource, purpose: str) -> Wanted:
    """The object and key that a CA bundle stands in."""
    return Wanted(source.kind.value, source.name, (source.key,), purpose)


def major_version(version: str) -> int:
    """17.10 -> 17. Raises ValueError for an empty or strange version."""
    return int(version.split(".", 1)[0])


def server_of(cluster: Mapping[str, Any], seen: str = "") -> str:
    """What tells that PostgreSQL cluster from all others; empty where nobody knows.

    That is its system identifier, `seen` or else the one in the status; and for a restored copy, which has the one of
    its original, its address as well. Read out of a bare body: one that this version cannot read leads somewhere, too.
    """
    identifier = seen or str((cluster.get("status") or {}).get("systemIdentifier", ""))
    if identifier in NEVER_SEEN:
        return ""
    spec = cluster["spec"]
    if "copyOf" not in spec:
        return identifier
    return f"{identifier} at {spec['primary']['host']}:{spec['primary'].get('port', 5432)}"
