"""An archiver as a process of its own, and what lies in its archive beside what lies in pg_wal."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from pgwarden.api.wal import SEGMENT_NAME, parse_lsn, segment_start, timeline_of
from pgwarden.archiving.contract import ArchiverReport, ArchiverSettings, ArchiverState, slot_name
from pgwarden.jobs.files import ArchiveIdentity, DatabaseAddress, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store, open_store
from pgwarden.storage.wal_listing import Range, WALPiece, merged, wal_pieces

from .postgres import HOST, PostgresServer, free_port, wait_until

ROOT = Path(__file__).parents[2]
IDENTITY = ArchiveIdentity(namespace="shop", cluster="operational", cluster_uid="7b0c2f5e-uid")
FOLDER = layout.archive_folder(IDENTITY.namespace, IDENTITY.cluster)
SECOND = layout.archive_folder(IDENTITY.namespace, IDENTITY.cluster, "0002")
SEGMENT_BYTES = 1 << 20
"""Of the test servers, so that segments are filled quickly."""
SMALL_SEGMENTS = ("--data-checksums", "--wal-segsize=1")

_numbers = itertools.count(1)


def archiver_settings(store: StoreLocation, *endpoints: DatabaseAddress, **changes: object) -> ArchiverSettings:
    """Settings for a quick archiver; `changes` replace fields."""
    settings = ArchiverSettings(
        policy="nightly",
        archive=IDENTITY,
        endpoints=list(endpoints),
        store=store,
        slot=slot_name("policy-uid"),
        tail_seconds=0.3,
        spool_bytes=4 << 20,
    )
    return settings.model_copy(update=changes)


class ArchiverProcess:
    """`pgwarden archive-wal` with a settings file."""

    def __init__(self, settings: ArchiverSettings, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        number = next(_numbers)
        self.file = folder / f"settings-{number}.json"
        self.port = free_port()
        self.output = folder / f"archiver-{number}.log"
        self.configure(settings)
        with self.output.open("w") as output:
            command = [sys.executable, "-m", "pgwarden", "archive-wal", "--settings", self.file, "--port", self.port]
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), **(environment or {})},
                stdout=output,
                stderr=output,
            )

    def configure(self, settings: ArchiverSettings) -> None:
        """Replaces the settings, as the kubelet does: the whole file at once."""
        new = self.file.with_suffix(".new")
        new.write_text(settings.model_dump_json(by_alias=True))
        new.rename(self.file)

    @property
    def log(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def report(self) -> ArchiverReport | None:
        """The document, None while there is none."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the archiver ended: {self.log}")
        try:
            return ArchiverReport.model_validate_json(self.get("/status"))
        except OSError:
            return None

    def wait_for(
        self, condition: Callable[[ArchiverReport], bool], complaint: str, seconds: float = 60
    ) -> ArchiverReport:
        """The first document that fulfils a condition."""
        seen: list[ArchiverReport] = []

        def fulfilled() -> bool:
            report = self.report()
            if report is not None:
                seen.append(report)
            return report is not None and condition(report)

        try:
            wait_until(fulfilled, complaint, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{complaint}: {seen[-1:]}\n{self.log[-4000:]}") from error
        return seen[-1]

    def wait_for_state(self, state: ArchiverState, reason: str | None = None) -> ArchiverReport:
        """Until it tells that state, and that reason where one is given."""
        return self.wait_for(
            lambda report: report.state == state and reason in (None, report.reason), f"never {state} {reason or ''}"
        )

    def wait_until_it_holds(self, server: PostgresServer) -> ArchiverReport:
        """Until everything is acknowledged that the server has written by now."""
        target = parse_lsn(str(server.query("SELECT pg_current_wal_flush_lsn()")))
        timeline = timeline_of(str(server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")))
        return self.wait_for(
            lambda report: report.timeline == timeline and parse_lsn(report.acknowledged_lsn or "0/0") >= target,
            f"the WAL up to {target:X} was never acknowledged",
        )

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(25)


def archived(
    location: StoreLocation, timeline: int = 1, segment_bytes: int = SEGMENT_BYTES, folder: str = FOLDER
) -> list[WALPiece]:
    """All pieces of WAL of one timeline, by position."""
    listing = open_store(location).list(layout.timeline_folder(folder, timeline))
    return sorted(wal_pieces(listing, segment_bytes), key=lambda piece: (piece.start, piece.end))


def runs(
    location: StoreLocation, timeline: int = 1, segment_bytes: int = SEGMENT_BYTES, folder: str = FOLDER
) -> list[Range]:
    """The positions that the archive holds of a timeline."""
    return merged(Range(piece.start, piece.end) for piece in archived(location, timeline, segment_bytes, folder))


def content(location: StoreLocation, piece: WALPiece) -> bytes:
    """The plain bytes of a piece."""
    identities = read_identities(Path(location.identity_file)) if location.identity_file else []
    return b"".join(read_object(open_store(location), piece.path, identities=identities))


def wal_bytes(server: PostgresServer, timeline: int, start: int, end: int, segment_bytes: int = SEGMENT_BYTES) -> bytes:
    """WAL out of the server's own pg_wal; raises FileNotFoundError when a segment is not there any more."""
    found = b""
    for path in sorted((server.data / "pg_wal").iterdir()):
        if SEGMENT_NAME.fullmatch(path.name) and timeline_of(path.name) == timeline:
            begin = segment_start(path.name, segment_bytes)
            if begin < end and start < begin + segment_bytes:
                data = path.read_bytes()
                found += data[max(0, start - begin) : min(segment_bytes, end - begin)]
    if len(found) != end - start:
        raise FileNotFoundError(f"pg_wal of {server.folder} has {len(found)} of {end - start} bytes")
    return found


def check_archive(
    location: StoreLocation,
    server: PostgresServer,
    timeline: int = 1,
    segment_bytes: int = SEGMENT_BYTES,
    folder: str = FOLDER,
) -> int:
    """Asserts that each piece is what pg_wal holds, and that whole segments have their checksum; how many there are."""
    store: Store = open_store(location)
    pieces = archived(location, timeline, segment_bytes, folder)
    for piece in pieces:
        plain = content(location, piece)
        assert plain == wal_bytes(server, timeline, piece.start, piece.end, segment_bytes), piece
        if piece.whole:
            line = store.read_small(layout.checksum_object(folder, piece.segment)).decode()
            assert line == f"{hashlib.sha256(plain).hexdigest()}  {piece.segment}\n"
    return len(pieces)
