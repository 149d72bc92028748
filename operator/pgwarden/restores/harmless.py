"""Makes a laid out data directory safe to start: nothing in it reaches the original any more.

A copy that keeps the original's files connects to its primary, archives over its WAL, consumes its slots, or opens the
tablespaces of the server it was taken from.
"""

from __future__ import annotations

from pathlib import Path

from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.configuration import FINAL_AUTO_CONF
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.paths import BackupPlace, RestorePaths
from pgwarden.restores.tablespaces import format_tablespace_map, parse_tablespace_map

CONFIGURATION_FILES = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
# standby.signal overrides recovery.signal; both may come with a backup that was taken from a standby.
SIGNAL_FILES = ("standby.signal", "recovery.signal")
TABLESPACE_MAP = "tablespace_map"


def link_tablespaces(place: BackupPlace, record: BackupRecord) -> None:
    """Links pg_tblspc to the folders the tablespaces were unpacked into, or combined into: those links are there.

    The links are what pg_verifybackup and PostgreSQL follow; the server makes them anew from tablespace_map when it
    begins to recover. Raises TaskError with reason TablespacesDiffer when archives, tablespace_map and record don't
    name the same tablespaces.
    """
    listed = set(mapped_locations(place.data))
    unpacked = {archive.tablespace_oid for archive in record.archives} - {None}
    recorded = {tablespace.oid for tablespace in record.tablespaces}
    if not listed == unpacked == recorded:
        raise TaskError(
            "TablespacesDiffer",
            f"backup {record.backup_id} names the tablespaces {sorted(recorded)} in its record and {sorted(listed)} in "
            f"tablespace_map, and holds {sorted(oid for oid in unpacked if oid)}",
            remedy="The backup is not whole: restore another one.",
        )
    for oid in listed:
        link = place.data / "pg_tblspc" / str(oid)
        link.parent.mkdir(mode=0o700, exist_ok=True)
        if not (link.is_symlink() and link.readlink() == place.tablespace(oid)):
            link.symlink_to(place.tablespace(oid))


def make_harmless(paths: RestorePaths) -> None:
    """Moves the original's configuration aside and has the server recover from its own copy of everything.

    Only after pg_verifybackup: these are changes to what the manifest lists.
    """
    for name in (*CONFIGURATION_FILES, *SIGNAL_FILES):
        move_aside(paths, name)
    if mapped_locations(paths.data):
        # Kept for people: where the tablespaces were on the original server.
        original = paths.original / TABLESPACE_MAP
        if not original.exists():
            write_durably(original, (paths.data / TABLESPACE_MAP).read_bytes())
        locations = {oid: str(paths.tablespace(oid)) for oid in mapped_locations(paths.data)}
        write_durably(paths.data / TABLESPACE_MAP, format_tablespace_map(locations).encode())
    # It wins over postgresql.conf; one that is missing is complained about at every start.
    write_durably(paths.data / "postgresql.auto.conf", FINAL_AUTO_CONF.encode())
    write_durably(paths.data / "recovery.signal", b"")
    sync_path(paths.data)


def move_aside(paths: RestorePaths, name: str) -> None:
    """Moves a file of the data directory to where people find the original's."""
    file = paths.data / name
    if file.exists():
        file.replace(paths.original / name)
        sync_path(paths.original)


def mapped_locations(data: Path) -> dict[int, str]:
    """OID -> location as the data directory's tablespace_map says, empty when it has none."""
    try:
        text = (data / TABLESPACE_MAP).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    return parse_tablespace_map(text)
