"""Refuses to back a server up into an archive that holds WAL of another history.

A server whose volume was rolled back begins to write other WAL at positions that are archived already. A backup of it
in the same archive would be restored with the WAL of the history before: records of one onto pages of the other. The
archiver begins another archive; until it has, whoever backs up has to see it for himself.
"""

from __future__ import annotations

from pgwarden.api.wal import format_lsn, parse_lsn, segment_name
from pgwarden.backups.inventory import OPERATION
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import connect
from pgwarden.postgres.statements import query
from pgwarden.storage import layout
from pgwarden.storage.store import Store
from pgwarden.storage.wal_listing import wal_pieces


def refuse_rolled_back(store: Store, archive: str, primary: DatabaseAddress) -> None:
    """Raises TaskError with reason ServerBehindArchive when the archive holds WAL that the server has not written yet,
    and what connections and stores raise. A standby has nothing to tell."""
    with connect(primary, OPERATION) as connection:
        for timeline, before, segment_bytes in query(connection, "wal_written"):
            folder = layout.timeline_folder(archive, timeline)
            current = segment_name(timeline, parse_lsn(before) // segment_bytes, segment_bytes)
            listing = store.list(folder, after=f"{folder}/{current}")
            archived = max((piece.end for piece in wal_pieces(listing, segment_bytes)), default=0)
            # Asked again: the archiver goes on while it is listed.
            for _, written, _ in query(connection, "wal_written"):
                if archived > parse_lsn(written):
                    raise behind(primary, written, archive, archived)


def behind(primary: DatabaseAddress, written: str, archive: str, archived: int) -> TaskError:
    return TaskError(
        "ServerBehindArchive",
        f"WAL of {primary.host}:{primary.port} ends at {written}, and {archive} holds it up to {format_lsn(archived)}: "
        "the server has lost what it had written",
        remedy="Its volume was rolled back. Where WAL is archived, another archive begins by itself and this is tried "
        "again; else give the cluster a BackupStore with another prefix.",
        retryable=True,
    )
