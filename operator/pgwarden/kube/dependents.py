"""Which objects refer to which: whom to wake when a DatabaseCluster, BackupStore or DatabaseBackup changes."""

from __future__ import annotations

from pgwarden.kube.cache import Body, Cache
from pgwarden.kube.key import Key

FIELDS = {
    "DatabaseCluster": ("clusterRef",),
    "BackupStore": ("storeRef",),
    "DatabaseBackup": ("source", "backupRef"),
}


def referring(cache: Cache, kind: str, changed: Key) -> list[Key]:
    """Objects of `kind` whose spec names the changed object."""
    fields = FIELDS.get(changed.kind)
    if fields is None:
        return []
    return [key for key in cache.keys(kind, changed.namespace) if named(cache.get(key), fields) == changed.name]


def named(body: Body | None, fields: tuple[str, ...]) -> str:
    """The name that spec.<fields>.name holds; empty when it holds none."""
    value = (body or {}).get("spec") or {}
    for name in fields:
        value = value.get(name) or {}
    return str(value.get("name", ""))
