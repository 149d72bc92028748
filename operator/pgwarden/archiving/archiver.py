"""Archives the WAL of one cluster: finds the primary, goes on where the archive ends, begins anew when it breaks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.archiving import gaps, plan
from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.archiving.lookout import Lookout
from pgwarden.archiving.moments import Moments
from pgwarden.archiving.plan import Position, Span
from pgwarden.archiving.primary import Primary, find_primary, refuse_to_be_synchronous
from pgwarden.archiving.receiver import Receiver
from pgwarden.archiving.session import Session, Work
from pgwarden.archiving.status import Status
from pgwarden.archiving.stored import Reader, Stored, newest_timeline, read_gaps
from pgwarden.archiving.trouble import STATES, Trouble, conflict, told_as
from pgwarden.archiving.uploads import Uploads
from pgwarden.archiving.writer import ArchiveWriter
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import ReportModel
from pgwarden.postgres.wal_stream import WALStream
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.store import ObjectExists, Store, object_damaged, open_store

FIRST_PAUSE, LONGEST_PAUSE, CONFLICT_PAUSE = 1.0, 30.0, 60.0
CLOSING_SECONDS = 15.0
"""What is left for the last uploads after SIGTERM."""

log = structlog.get_logger()


class SystemFile(ReportModel):
    """wal/system.json: whose WAL the archive holds."""

    schema_version: int = 1
    system_identifier: str
    segment_bytes: int


@dataclass
class Start:
    """Where a session begins, with the connections it has."""

    stream: WALStream
    path: list[Span]
    position: Position
    stored: Stored
    server_end: int
    """Where the server's WAL ended when it was asked."""


class Archiver(threading.Thread):
    """Archives until told to stop."""

    def __init__(self, settings: ArchiverSettings) -> None:
        super().__init__(name="archiver", daemon=True)
        self.settings = settings
        self.status = Status(settings, lambda: datetime.now(UTC), time.monotonic)
        self.beat = time.monotonic()
        """When it last came by; for the probe that asks whether it is alive."""
        self._stopping = threading.Event()
        self._operation = f"archive-wal/{settings.slot.removeprefix('pgwarden_')}"
        self._moments = Moments()
        self._uploads: Uploads | None = None
        self._skip_comparison = False
        self._slot_tells = True
        """Whether the slot's position is one that was acknowledged; not until a slot made anew was told of one."""

    def stop(self) -> None:
        """Lets it upload what it has and end, within CLOSING_SECONDS and a little."""
        self._stopping.set()

    def run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._session()
                pause = FIRST_PAUSE
            except Trouble as trouble:
                self.status.enter(trouble.state, trouble.error)
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                in_conflict = trouble.state == ArchiverState.CONFLICT
                self._wait(CONFLICT_PAUSE if in_conflict else pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:  # an archiver that ends silently would be the worst of all
                log.exception("the archiver broke; it begins again")
                broken = TaskError("InternalError", f"the archiver broke: {type(error).__name__}: {error}")
                self.status.enter(ArchiverState.WAITING_FOR_PRIMARY, broken)
                self._wait(LONGEST_PAUSE)
        if self._uploads is not None:
            self._uploads.stop()

    def _wait(self, seconds: float) -> None:
        """Until then, or until told to stop; a wait is no sign of death."""
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            self.beat = time.monotonic()
            self._stopping.wait(min(left, 5.0))

    def _session(self) -> None:
        """One stream, from finding the primary to its end. Returns when the next one may begin at once."""
        with told_as(ArchiverState.STORE_UNREACHABLE):
            recipients = parse_recipients(self.settings.store.recipients)
            store = open_store(self.settings.store)
            archive = claim_archive(store, self.settings.archive, datetime.now(UTC))
            newest = newest_timeline(store, archive)
        primary = find_primary(self.settings, self._operation, newest)
        lookout = None
        try:
            start = self._start(primary, store, archive)
            writer = ArchiveWriter(archive, self.settings.compression_level, recipients)
            uploads = self._uploads_with(writer)
            work = Work(self.settings, archive, uploads, self._moments, self.status, self._stopping, self._live)
            lookout = Lookout(primary, start.stream.backend_pid, f"pgwarden/{self._operation}")
            lookout.start()
            try:
                self._stream(start, work, lookout, primary, store)
            finally:
                start.stream.close()
        finally:
            if lookout is None:
                primary.close()
            else:
                lookout.end()

    def _live(self) -> None:
        self.beat = time.monotonic()

    def _uploads_with(self, writer: ArchiveWriter) -> Uploads:
        """The threads that upload; new ones after a conflict, which ended them."""
        if self._uploads is None or self._uploads.conflict is not None:
            self._uploads = Uploads(self.settings.store, writer, self.settings.uploads)
        return self._uploads

    def _start(self, primary: Primary, store: Store, archive: str) -> Start:
        """Everything that is found out before WAL flows. Raises Trouble."""
        facts = primary.facts
        with told_as(ArchiverState.STORE_UNREACHABLE):
            check_system(
                store, archive, SystemFile(system_identifier=facts.system_identifier, segment_bytes=facts.segment_bytes)
            )
            missed = read_gaps(store, archive)
            self.status.gaps(missed)
        with told_as(ArchiverState.WAITING_FOR_PRIMARY):
            refuse_to_be_synchronous(facts.synchronous_standby_names, f"pgwarden/{self._operation}")
            slot = primary.ensure_slot()
            self._slot_tells = self._slot_tells and not primary.made_slot
            self.status.slot(slot)
            stream = WALStream(primary.address, self._operation)
        try:
            with told_as(ArchiverState.WAITING_FOR_PRIMARY):
                identity = stream.identify()
                histories = {number: stream.history(number) for number in range(2, identity.timeline + 1)}
            if identity.system_identifier != facts.system_identifier:
                raise Trouble(ArchiverState.WRONG_SYSTEM, other_system(primary, identity.system_identifier))
            with told_as(ArchiverState.STORE_UNREACHABLE):
                for number, content in histories.items():
                    if content is not None:
                        keep_history(store, archive, number, content)
                path = plan.spans(own_history(store, archive, identity.timeline, histories), identity.timeline)
                reader = Reader(store, archive, facts.segment_bytes, missed, self.settings.spool_bytes)
                kept = parse_lsn(slot.restart_lsn or identity.flush_lsn)
                found: dict[int, Stored] = {}

                def stored_end(timeline: int) -> int | None:
                    found[timeline] = reader.timeline(timeline, kept if self._slot_tells else None)
                    return found[timeline].end

                position = plan.resume(path, stored_end, facts.segment_bytes)
            if position is None:
                position = plan.first(path, kept, facts.segment_bytes)
            stored = found.get(position.timeline, Stored(None))
            if position.timeline == identity.timeline and position.at > parse_lsn(identity.flush_lsn):
                raise Trouble(ArchiverState.CONFLICT, behind(primary, identity.flush_lsn, position.at))
        except BaseException:
            stream.close()
            raise
        self.status.connected(primary, position.timeline)
        return Start(stream, path, position, stored, parse_lsn(identity.flush_lsn))

    def _stream(self, start: Start, work: Work, lookout: Lookout, primary: Primary, store: Store) -> None:
        """Runs a session, and has what it received stored, however it ended. Raises Trouble."""
        segment_bytes = primary.facts.segment_bytes
        position, stored = start.position, start.stored
        begin = plan.floor(position.at, segment_bytes)
        compares_whole = position.at == begin and stored.whole_before_end and not self._skip_comparison
        if compares_whole:
            begin -= segment_bytes
        self._skip_comparison = False
        receiver = Receiver(position.timeline, begin, segment_bytes, stored, work.uploads)
        work.uploads.delete(stored.leftovers)
        unproven = begin if compares_whole else position.at
        session = Session(work, start.stream, lookout, receiver, position.timeline, held=position.at, unproven=unproven)
        ending: TaskError | None = None
        with told_as(ArchiverState.WAITING_FOR_PRIMARY):
            try:
                if start.stream.begin(position.timeline, begin, self.settings.slot) is None:
                    self._slot_tells = True  # it is told first of all
                    session.run()
            except TaskError as error:
                ending = error
        if ending is not None and ending.reason == "WALRemoved" and not session.received_anything:
            if compares_whole:
                self._skip_comparison = True
            else:
                self._record_gap(start, work, primary, store)
            return
        if ending is not None:
            # At once: commits may wait for us, and so may the end of a server that shuts down.
            start.stream.close()
        self._finish(session, work, ending)

    def _finish(self, session: Session, work: Work, ending: TaskError | None) -> None:
        """What was received is stored, whatever ended the stream. Raises Trouble."""
        with told_as(ArchiverState.WAITING_FOR_PRIMARY):
            if ending is not None and ending.reason == "ArchiveConflict":
                work.uploads.refuse(ending)
                raise ending
            if ending is not None:
                self.status.enter(STATES.get(ending.reason, ArchiverState.WAITING_FOR_PRIMARY), ending)
            session.finish(CLOSING_SECONDS)
            if self._stopping.is_set():
                self.status.enter(ArchiverState.STOPPING)
                session.close(connected=ending is None)
            if ending is not None:
                raise ending

    def _record_gap(self, start: Start, work: Work, primary: Primary, store: Store) -> None:
        """Notes what the server no longer has, so that the next session begins behind it. Raises Trouble."""
        position, segment_bytes = start.position, primary.facts.segment_bytes
        start.stream.close()
        branch = next(span.end for span in start.path if span.timeline == position.timeline)
        limit = plan.floor(start.server_end, segment_bytes) if branch is None else branch
        with told_as(ArchiverState.WAITING_FOR_PRIMARY):
            end = gaps.oldest_available(primary.address, self._operation, position, limit, segment_bytes)
        if start.stored.next_start is not None:
            end = min(end, start.stored.next_start)
        missed = gaps.gap(position, end, primary.name, datetime.now(UTC))
        log.error("a gap in the archive", start=missed.start, end=missed.end, timeline=missed.timeline)
        with told_as(ArchiverState.STORE_UNREACHABLE):
            gaps.record(store, work.archive, missed)


def check_system(store: Store, archive: str, mine: SystemFile) -> None:
    """Binds the archive's WAL to a system identifier. Raises TaskError: SystemIdentifierMismatch, ObjectDamaged."""
    path = layout.system_object(archive)
    with suppress(ObjectExists):
        store.put(path, mine.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
        return
    try:
        found = SystemFile.model_validate_json(store.read_small(path))
    except ValidationError as error:
        raise object_damaged(store, path, "it does not say whose WAL the archive holds") from error
    if (found.system_identifier, found.segment_bytes) != (mine.system_identifier, mine.segment_bytes):
        raise TaskError(
            "SystemIdentifierMismatch",
            f"the archive {archive} in the store ({store.name}) holds WAL of the system {found.system_identifier} in "
            f"segments of {found.segment_bytes} bytes, and the server is {mine.system_identifier} with "
            f"{mine.segment_bytes}",
            remedy="After pg_upgrade or a new initdb give the policy a BackupStore with another prefix.",
        )


def keep_history(store: Store, archive: str, timeline: int, content: bytes) -> None:
    """Stores a history file. Raises TaskError: ArchiveConflict when the archive has another one, and what stores do."""
    path = layout.history_object(archive, timeline)
    try:
        store.put(path, content)
    except ObjectExists:
        if store.read_small(path) != content:
            raise conflict(
                f"{path} in the store ({store.name}) is the history of another timeline {timeline} than the server's"
            ) from None


def own_history(store: Store, archive: str, timeline: int, histories: Mapping[int, bytes | None]) -> bytes:
    """The history of the server's own timeline, out of the archive where the server has lost it; empty for the first.

    Raises TaskError with reason HistoryMissing: without it nobody knows where the timeline branched off, and what lies
    before it would be left out without a word.
    """
    content = histories.get(timeline)
    if content is not None or timeline == 1:
        return content or b""
    path = layout.history_object(archive, timeline)
    if store.head(path) is not None:
        return store.read_small(path)
    raise TaskError(
        "HistoryMissing",
        f"the server is on timeline {timeline} and has no {timeline:08X}.history in its pg_wal, nor has the archive",
        remedy="Copy it there from the pg_wal of another member, as the user of PostgreSQL. Without one, give the "
        "cluster a BackupStore with another prefix and take a full backup.",
        retryable=True,
    )


def behind(primary: Primary, server_end: str, archived: int) -> TaskError:
    return TaskError(
        "ServerBehindArchive",
        f"WAL of {primary.name} ends at {server_end}, and the archive holds it up to {format_lsn(archived)}: the "
        "server has lost what it had written",
        remedy="Its volume was rolled back, or its storage lied about what was written. To go on with what it has now, "
        "give the cluster a BackupStore with another prefix and take a full backup; the archive still holds the rest.",
    )


def other_system(primary: Primary, found: str) -> TaskError:
    return TaskError(
        "SystemIdentifierMismatch",
        f"two connections to {primary.name} reached different clusters ({primary.facts.system_identifier} and {found})",
        remedy="Give the address of one server, not of a balancer in front of several clusters.",
    )
