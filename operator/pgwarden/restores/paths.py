"""Where a restore keeps what on the data volume and on the scratch volume. Pure.

Beside PGDATA, never beneath it, and on the same file system, so that the finished directory is renamed in:

    <pgdata>                      the restored directory, from the last step on
    <pgdata>.tablespaces/<key>/   one folder per tablespace, named after its OID; PostgreSQL's links are absolute, so
                                  the claim must be mounted at the same place wherever the data are used
    <pgdata>.restore/marker.json  whose restore this is and how far it got
                     backup.json, backup_manifest
                     original/    the configuration files that came with the backup, kept for people
                     data/        PGDATA until it is renamed in
                     wal/         the WAL that came with the backup, until recovery is done
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RestorePaths:
    """The paths of one request's restore."""

    pgdata: Path
    shared: Path
    request_uid: str

    @property
    def work(self) -> Path:
        return self.pgdata.with_name(f"{self.pgdata.name}.restore")

    @property
    def marker(self) -> Path:
        return self.work / "marker.json"

    @property
    def lock(self) -> Path:
        return self.work / "lock"

    @property
    def record(self) -> Path:
        return self.work / "backup.json"

    @property
    def manifest(self) -> Path:
        return self.work / "backup_manifest"

    @property
    def original(self) -> Path:
        return self.work / "original"

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def wal(self) -> Path:
        return self.work / "wal"

    @property
    def tablespaces(self) -> Path:
        """Folder of this request's tablespaces; the key keeps it apart from what an earlier restore left."""
        key = hashlib.sha256(self.request_uid.encode()).hexdigest()[:8]
        return self.pgdata.with_name(f"{self.pgdata.name}.tablespaces") / key

    def tablespace(self, oid: int) -> Path:
        return self.tablespaces / str(oid)

    @property
    def wal_queue(self) -> Path:
        """Where agent and restore_command meet."""
        return self.shared / "wal"

    @property
    def socket_folder(self) -> Path:
        return self.shared / "socket"

    @property
    def server_config(self) -> Path:
        """Folder of the configuration the server recovers with."""
        return self.shared / "server"
