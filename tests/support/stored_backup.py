"""A backup in a claim, made of what pg_basebackup writes: for tests of restores that need a backup of their own shape.

location = store_backup(server, store_folder, backup_id="b1")       # StoreLocation's folder, path inside it
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.backups.record import (
    Archive,
    ArchiveObject,
    BackupRecord,
    Database,
    RuleFile,
    Server,
    Setting,
    StoredObject,
    Tablespace,
)
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import Store, open_store

from .postgres import PostgresServer, give_to_server_user, owned_folder

ARCHIVE = "ns/operational/0001"
OBJECT_BYTES = 4 << 20


def claim(folder: Path, identity_file: Path | None = None) -> StoreLocation:
    """A claim mounted at `folder`."""
    return StoreLocation(
        claim=ClaimLocation(path=str(folder)), identity_file=str(identity_file) if identity_file else None
    )


def store_backup(
    server: PostgresServer,
    store_location: StoreLocation,
    backup_id: str,
    *,
    recipients: Sequence[str] = (),
    object_bytes: int = OBJECT_BYTES,
    max_rate: str = "1024M",
    changes: Mapping[str, object] | None = None,
) -> str:
    """Backs `server` up with pg_basebackup and stores it as pgwarden does; returns the backup's location.

    `max_rate` as pg_basebackup takes it; `changes` are fields of the record that are to say something else.
    """
    folder = owned_folder(server.folder / f"base-{backup_id}")
    server.tool(
        "pg_basebackup",
        f"--pgdata={folder}",
        "--format=tar",
        "--wal-method=fetch",
        "--checkpoint=fast",
        "--manifest-checksums=SHA256",
        "--no-sync",
        f"--max-rate={max_rate}",
        environment=server.environment(),
    )
    manifest = json.loads((folder / "backup_manifest").read_text())
    ranges = manifest["WAL-Ranges"]
    store = open_store(store_location)
    location = f"{ARCHIVE}/backups/{backup_id}"
    packing = Packing(level=1, recipients=parse_recipients(recipients))
    ending = ".age" if recipients else ""
    tars = sorted(folder.glob("*.tar"), key=lambda path: path.name == "base.tar")
    archives = [store_archive(store, location, path, path.stem, packing, ending, object_bytes) for path in tars]
    manifest_path = f"attempt-1-00000000/backup_manifest.zst{ending}"
    written = write_object(store, f"{location}/{manifest_path}", [(folder / "backup_manifest").read_bytes()], packing)
    now = datetime.now(UTC)
    fields: dict[str, object] = {
        "pgwarden_version": "test",
        "backup_id": backup_id,
        "attempt": 1,
        "cluster_uid": "0",
        "system_identifier": server.system_identifier,
        "timeline": ranges[-1]["Timeline"],
        "start_lsn": ranges[0]["Start-LSN"],
        "stop_lsn": ranges[-1]["End-LSN"],
        "start_time": now,
        "stop_time": now,
        "server": describe(server),
        "archives": archives,
        "manifest": StoredObject(path=manifest_path, **vars(written)),
        "manifest_files": len(manifest["Files"]),
        "tablespaces": tablespaces(server),
        "recipients": list(recipients),
        "compression": "zstd level 1",
        "restore_by_hand": [],
    }
    record = BackupRecord.model_validate({**fields, **(changes or {})})
    store.put(f"{location}/backup.json", record.to_bytes())
    shutil.rmtree(folder)
    if store_location.claim is not None:
        give_to_server_user(Path(store_location.claim.path))
    return location


def store_archive(
    store: Store, location: str, path: Path, name: str, packing: Packing, ending: str, object_bytes: int
) -> Archive:
    """Cuts a tar file between members, or within them where they are large, and stores the pieces."""
    with tarfile.open(path) as tar:
        headers = {member.offset for member in tar}
    size = path.stat().st_size
    cuts = [0, *sorted(cut for cut in range(object_bytes, size, object_bytes))]
    # Every second cut is moved to the beginning of a member, so that both kinds of pieces are there.
    starts = sorted({max(h for h in headers if h <= cut) if number % 2 else cut for number, cut in enumerate(cuts)})
    objects = []
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else size
        object_path = f"attempt-1-00000000/{name}.tar.zst.{number:05d}{ending}"
        written = write_object(store, f"{location}/{object_path}", chunks_of(path, start, end), packing)
        objects.append(ArchiveObject(path=object_path, offset=start, starts_member=start in headers, **vars(written)))
    return Archive(tablespace_oid=None if name == "base" else int(name), plain_bytes=size, objects=objects)


def chunks_of(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            chunk = file.read(min(1 << 20, end - start))
            start += len(chunk)
            yield chunk


def tablespaces(server: PostgresServer) -> list[Tablespace]:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT oid::int8, spcname, pg_tablespace_location(oid) FROM pg_tablespace "
            "WHERE spcname NOT LIKE 'pg\\_%' ORDER BY oid"
        ).fetchall()
    return [Tablespace(oid=int(str(o)), name=str(n), location=str(where), estimated_bytes=0) for o, n, where in rows]


def describe(server: PostgresServer) -> Server:
    with server.connect() as connection:
        settings = [
            Setting(name=str(name), value=str(value), source=str(source))
            for name, value, source in connection.execute(
                "SELECT name, current_setting(name), source FROM pg_settings "
                "WHERE source NOT IN ('default', 'override') AND setting IS DISTINCT FROM boot_val"
            )
        ]
        superuser = connection.execute("SELECT rolname FROM pg_roles WHERE oid = 10").fetchone()
        names = [str(name) for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn")]
        version = connection.info.server_version
    return Server(
        version=f"{version // 10000}.{version % 10000}",
        version_num=version,
        version_text="PostgreSQL",
        block_size=8192,
        wal_segment_bytes=16 << 20,
        data_checksums=True,
        data_directory_mode="0700",
        bootstrap_superuser=str(superuser[0]) if superuser else None,
        settings=settings,
        hba=RuleFile(readable=False),
        ident=RuleFile(readable=False),
        databases=[
            Database(name=name, oid=0, encoding="UTF8", locale_provider="libc", collate="C", ctype="C")
            for name in names
        ],
    )
