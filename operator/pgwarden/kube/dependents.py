"""Which objects refer to which: whom to wake when a DatabaseCluster, BackupStore or DatabaseBackup changes."""

from __future__ import annotations

from pgwarden.kube.cache import Body, Cache
from pgwarden.kube.key import Key

REFERENCES: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "DatabaseMigration": {"DatabaseCluster": (("clusterRef",),)},
    "DatabaseBackup": {"DatabaseCluster": (("clusterRef",),), "BackupStore": (("storeRef",),)},
    "RestoreRequest": {
        "DatabaseBackup": (("source", "backupRef"),),
        "BackupPolicy": (("source", "policyRef"),),
        "DatabaseCluster": (("source", "clusterRef"), ("target", "into", "clusterRef")),
        "BackupStore": (("source", "storeRef"),),
    },
}
"""Kind of the object that refers -> kind it refers to -> where references stand in its spec."""


def referring(cache: Cache, kind: str, changed: Key) -> list[Key]:
    """Objects of `kind` whose spec names the changed object and that still want something.

    One that is done or stalled waits for nobody: a cluster with years of backups must not wake them all.
    """
    places = REFERENCES.get(kind, {}).get(changed.kind, ())
    found = []
    for key in cache.keys(kind, changed.namespace):
        body = cache.get(key)
        if any(named(body, fields) == changed.name for fields in places) and not concluded(body):
            found.append(key)
    return found


def concluded(body: Body | None) -> bool:
    """Whether an object was judged to be done, or stalled, as it is now."""
    status = (body or {}).get("status") or {}
    if status.get("observedGeneration") != (body or {}).get("metadata", {}).get("generation"):
        return False
    return any(
        c.get("type") in ("Ready", "Stalled") and c.get("status") == "True" for c in status.get("conditions") or []
    )


def named(body: Body | None, fields: tuple[str, ...]) -> str:
    """The name that spec.<fields>.name holds; empty when it holds none."""
    value = (body or {}).get("spec") or {}
    for name in fields:
        value = value.get(name) or {}
    return str(value.get("name", ""))
