"""Where a restore keeps what on the data volume and on the scratch volume. Pure.

Beside PGDATA, never beneath it, and on the same file system, so that the finished directory is renamed in:

    <pgdata>                      the restored directory, from the last step on
    <pgdata>.tablespaces/<key>/   one folder per tablespace, named after its OID; PostgreSQL's links are absolute, so
                                  the claim must be mounted at the same place wherever the data are used
    <pgdata>.restore/marker.json  whose restore this is and how far it got
                     backup.json, backup_manifest
                     original/    the configuration files that came with the backup, kept for people
                     inputs/<n>/  the backups of a chain, the full first, until they are combined
                     data/        PGDATA until it is renamed in
                     wal/         the WAL that came with the backup, until recovery is done

In place the folder of the work carries the request's key too, because an earlier restore may have left its own, and
the old directory stays where it is until the last step (old_data.py):

    <pgdata>.restore-<key>/...
    <pgdata>.before-<key>/        the old directory, afterwards
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

GUARD_MARK = ".pgwarden-"


class BackupPlace(Protocol):
    """Where one backup is unpacked."""

    @property
    def data(self) -> Path: ...
    @property
    def manifest(self) -> Path: ...
    def tablespace(self, oid: int) -> Path: ...


@dataclass(frozen=True)
class ChainInput:
    """Where one backup of a chain is unpacked before the chain is combined.

    pg_combinebackup looks for the manifest inside the data directory.
    """

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def manifest(self) -> Path:
        return self.data / "backup_manifest"

    def tablespace(self, oid: int) -> Path:
        return self.folder / "tablespaces" / str(oid)


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
    def key(self) -> str:
        """Keeps what is this request's apart from what an earlier restore left."""
        return hashlib.sha256(self.request_uid.encode()).hexdigest()[:8]

    @property
    def all_tablespaces(self) -> Path:
        return self.pgdata.with_name(f"{self.pgdata.name}.tablespaces")

    @property
    def tablespaces(self) -> Path:
        """Folder of this request's tablespaces."""
        return self.all_tablespaces / self.key

    def tablespace(self, oid: int) -> Path:
        return self.tablespaces / str(oid)

    @property
    def inputs(self) -> Path:
        """Folder of the backups of a chain."""
        return self.work / "inputs"

    def chain_input(self, number: int) -> ChainInput:
        return ChainInput(self.inputs / str(number))

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


@dataclass(frozen=True)
class InPlacePaths(RestorePaths):
    """The paths of a request that replaces the data of a server."""

    server_pgdata: Path | None = None
    """PGDATA as the server's own pod sees it, where that is another path."""

    def seen_by_server(self, path: Path) -> Path:
        """A path beside or below PGDATA, as people find it in the server's own pod."""
        if self.server_pgdata is None:
            return path
        return self.server_pgdata.parent / path.relative_to(self.pgdata.parent)

    @property
    def work(self) -> Path:
        return self.pgdata.with_name(f"{self.pgdata.name}.restore-{self.key}")

    @property
    def before(self) -> Path:
        """The old data directory, once the restored one is in its place."""
        return self.pgdata.with_name(f"{self.pgdata.name}.before-{self.key}")

    @property
    def guard_suffix(self) -> str:
        """What the name of pg_control ends in while PostgreSQL must not start."""
        return f"{GUARD_MARK}{self.key}"

    @property
    def replaced(self) -> Path:
        """What is known of the old data directory."""
        return self.work / "replaced.json"
