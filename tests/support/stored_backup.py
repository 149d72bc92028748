"""Backups for tests of restores, in a store that the user the pods run as can read."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.files import ClaimLocation, StoreLocation

from .backups import take_backup
from .postgres import PostgresServer, give_to_server_user

OBJECT_BYTES = 4 << 20
"""Small, so that a backup of a few dozen MiB has several pieces."""


def claim(folder: Path, *, recipients: list[str] | None = None, identity_file: Path | None = None) -> StoreLocation:
    """A claim mounted at `folder`."""
    return StoreLocation(
        claim=ClaimLocation(path=str(folder)),
        recipients=recipients or [],
        identity_file=str(identity_file) if identity_file else None,
    )


def store_backup(
    server: PostgresServer, store: StoreLocation, *, object_bytes: int = OBJECT_BYTES, max_rate_kib: int = 0
) -> str:
    """Backs `server` up and returns the backup's location."""
    report, _ = take_backup(
        server.address(), store, object_bytes=object_bytes, max_rate_kib=max_rate_kib, compression_level=1
    )
    if store.claim is not None:
        give_to_server_user(Path(store.claim.path))
    return report.location
