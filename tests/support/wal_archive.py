"""An archive of WAL made from a test server's own pg_wal, as the layout says, and at a moment of the test's choosing.

archive = WALArchive(server, store)
archive.store_segments()          # whole segments; the one that is still written as tails
archive.note_moment()             # server time -> position
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.api.wal import HISTORY_NAME, SEGMENT_NAME, parse_lsn, segment_start, timeline_of
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.layout import archive_folder, history_object, moments_object, segment_object, tail_object
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import ObjectExists, Store, open_store

from .backups import IDENTITY
from .postgres import PostgresServer, give_to_server_user

SEGMENT = 16 << 20
TAIL = 100_000


@dataclass
class WALArchive:
    """The WAL of one server, and later of the one that was promoted in its place, in one archive."""

    server: PostgresServer
    location: StoreLocation
    archive: str = archive_folder(IDENTITY.namespace, IDENTITY.cluster)

    @property
    def store(self) -> Store:
        return open_store(self.location)

    def position(self) -> tuple[datetime, int, str, str]:
        """Time, timeline, position and next transaction of the server."""
        with self.server.connect() as connection:
            row = connection.execute(
                "SELECT clock_timestamp(), pg_current_wal_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text,"
                " ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"
            ).fetchone()
        assert row is not None
        assert isinstance(row[0], datetime)
        return row[0].astimezone(UTC), int(str(row[3])), str(row[1]), str(row[2])

    def note_moment(self) -> datetime:
        """Stores all WAL up to now, then says so, as the archiver does; returns the moment."""
        time, timeline, lsn, xid = self.position()
        self.store_segments(lsn)
        moment = {"time": time.isoformat(), "timeline": timeline, "lsn": lsn, "nextXid": xid}
        name = moments_object(self.archive, time, timeline, parse_lsn(lsn))
        self.put(name, json.dumps({"schemaVersion": 1, "moments": [moment]}).encode())
        return time

    def store_segments(self, until: str | None = None) -> None:
        """Stores what pg_wal holds up to `until`, the current position where None; what is stored stays as it is."""
        end = parse_lsn(until or self.position()[2])
        timeline = self.position()[1]
        for path in sorted((self.server.data / "pg_wal").iterdir()):
            if HISTORY_NAME.fullmatch(path.name):
                self.put(history_object(self.archive, timeline_of(path.name)), path.read_bytes())
            elif SEGMENT_NAME.fullmatch(path.name):
                start = segment_start(path.name, SEGMENT)
                if start + SEGMENT <= end:
                    self.store_segment(path)
                elif start < end and timeline_of(path.name) == timeline:
                    self.store_tails(path, end - start)
        if self.location.claim is not None:
            give_to_server_user(Path(self.location.claim.path))

    def store_segment(self, path: Path) -> None:
        """A whole segment; its tails go, as the archiver has it."""
        encrypted = bool(self.location.recipients)
        self.write(segment_object(self.archive, path.name, encrypted=encrypted), path.read_bytes())
        for name in [each.path for each in self.store.list(self.archive) if f"/{path.name}.tail." in each.path]:
            self.store.delete(name)

    def store_tails(self, path: Path, end: int) -> None:
        """The beginning of a segment in pieces."""
        encrypted = bool(self.location.recipients)
        content = path.read_bytes()[:end]
        done = [
            int(each.path.split("-")[-1][:8], 16)
            for each in self.store.list(self.archive)
            if f"/{path.name}.tail." in each.path
        ]
        start = max(done, default=0)
        while start < end:
            stop = min(end, start + max(TAIL, (end - start) // 3))
            name = tail_object(self.archive, path.name, start, stop, encrypted=encrypted)
            self.write(name, content[start:stop])
            start = stop

    def write(self, path: str, content: bytes) -> None:
        packing = Packing(level=1, threads=1, recipients=parse_recipients(self.location.recipients))
        try:
            write_object(self.store, path, [content], packing)
        except ObjectExists:
            return

    def put(self, path: str, content: bytes) -> None:
        try:
            self.store.put(path, content)
        except ObjectExists:
            return

    def segments(self) -> list[str]:
        """Paths of the WAL in the archive, in order."""
        return sorted(each.path for each in self.store.list(f"{self.archive}/wal"))
