"""Archives the WAL of one cluster: finds the primary, goes on where the archive ends, begins anew when it breaks."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from pgwarden.api.wal import parse_lsn
from pgwarden.archiving import gaps, plan, succession
from pgwarden.archiving.contract import ArchiverSettings, ArchiverState
from pgwarden.archiving.lookout import Lookout
from pgwarden.archiving.moments import Moments
from pgwarden.archiving.plan import Position, Span
from pgwarden.archiving.primary import Held, Primary, find_primary, refuse_to_be_synchronous
from pgwarden.archiving.receiver import Receiver
from pgwarden.archiving.replicas import Replica, ReplicaSlots
from pgwarden.archiving.retirement import drop_slots
from pgwarden.archiving.session import Session, Work
from pgwarden.archiving.status import Status
from pgwarden.archiving.stored import Reader, Stored, newest_timeline, read_gaps
from pgwarden.archiving.system import (
    behind,
    check_system,
    keep_history,
    other_system,
    own_history,
)
from pgwarden.archiving.trouble import STATES, Trouble, told_as
from pgwarden.archiving.uploads import Uploads
from pgwarden.archiving.writer import ArchiveWriter
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.wal_stream import WALStream
from pgwarden.storage import layout
from pgwarden.storage.archive import claim_archive, read_archive_file
from pgwarden.storage.archived_system import SystemFile, archived_system
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.store import Store, open_store

FIRST_PAUSE, LONGEST_PAUSE, CONFLICT_PAUSE, RETIREMENT_PAUSE = 1.0, 30.0, 60.0, 5.0
PRIMARY_PAUSE = 5.0
"""The longest one while there is no primary: services wait until the timeline of a restored one is archived."""
CLOSING_SECONDS = 15.0
"""What is left for the last uploads after SIGTERM."""

log = structlog.get_logger()


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
        self._why = ""
        self._operation = f"archive-wal/{settings.slot.removeprefix('pgwarden_')}"
        self._archive = ""
        """Folder of the archive that is written to."""
        self._moments = Moments()
        self._uploads: Uploads | None = None
        self._skip_comparison = False
        self._slot_tells = True
        """Whether the slot's position is one that was acknowledged; not until a slot made anew was told of one."""

    def stop(self, why: str) -> None:
        """Lets it upload what it has and end, within CLOSING_SECONDS and a little; the log says `why`."""
        self._why = why
        self._stopping.set()

    def run(self) -> None:
        if self.settings.retired:
            self._retire()
            return
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._session()
                pause = FIRST_PAUSE
            except Trouble as trouble:
                self.status.enter(trouble.state, trouble.error)
                if self._goes_on_in_the_next_archive(trouble.error):
                    continue
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                in_conflict = trouble.state == ArchiverState.CONFLICT
                self._wait(CONFLICT_PAUSE if in_conflict else pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                without_primary = trouble.state == ArchiverState.WAITING_FOR_PRIMARY
                pause = min(2 * pause, PRIMARY_PAUSE if without_primary else LONGEST_PAUSE)
            except Exception as error:  # an archiver that ends silently would be the worst of all
                log.exception("the archiver broke; it begins again")
                broken = TaskError("InternalError", f"the archiver broke: {type(error).__name__}: {error}")
                self.status.enter(ArchiverState.WAITING_FOR_PRIMARY, broken)
                self._wait(LONGEST_PAUSE)
        if self._uploads is not None:
            self._uploads.stop()

    def _retire(self) -> None:
        """Drops the slots, and then only answers until it is told to stop."""
        while not self._stopping.is_set():
            try:
                drop_slots(self.settings, self._operation)
            except TaskError as error:
                self.status.enter(ArchiverState.WAITING_FOR_PRIMARY, error)
                self._wait(RETIREMENT_PAUSE)
            else:
                self.status.enter(ArchiverState.RETIRED)
                self._wait(LONGEST_PAUSE)

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
            key = catalogue_key_of(self.settings.store)
            store = open_store(self.settings.store)
            archive = claim_archive(store, self.settings.archive, datetime.now(UTC))
            self._write_into(store, archive)
            self._moments.key = key.hmac if key is not None else None
            held = Held(archived_system(store, archive), newest_timeline(store, archive))
        primary = find_primary(self.settings, self._operation, held)
        lookout = None
        try:
            start = self._start(primary, store, archive)
            writer = ArchiveWriter(archive, self.settings.compression_level, recipients, self._moments.key)
            uploads = self._uploads_with(writer)
            work = Work(self.settings, archive, uploads, self._moments, self.status, self._stopping, self._live)
            lookout = Lookout(primary, start.stream.backend_pid, f"pgwarden/{self._operation}")
            lookout.start()
            replicas = self._slots_on_replicas(primary)
            replicas.start()
            try:
                self._stream(start, work, lookout, primary, store)
            finally:
                replicas.end()
                start.stream.close()
        finally:
            if lookout is None:
                primary.close()
            else:
                lookout.end()

    def _write_into(self, store: Store, archive: str) -> None:
        """Notes which archive is written to; nothing that was known of another one holds of it."""
        if archive == self._archive:
            return
        self.status.archive(archive, read_archive_file(store, layout.archive_file(archive)))
        self._archive = archive
        self._moments = Moments()
        if self._uploads is not None:
            self._uploads.stop()
        self._uploads = None

    def _slots_on_replicas(self, primary: Primary) -> ReplicaSlots:
        system = primary.facts.system_identifier
        others = [each for each in self.settings.endpoints if each != primary.address]
        replicas = [Replica(each, self._operation, self.settings.slot, system) for each in others]
        return ReplicaSlots(replicas, self.status.acknowledged, self.status.replicas)

    def _goes_on_in_the_next_archive(self, error: TaskError) -> bool:
        """Begins another archive where `error` says that this one cannot be gone on with; whether it did."""
        if error.reason not in succession.REASONS:
            return False
        try:
            store = open_store(self.settings.store)
            new = succession.begin_next(store, self.settings.archive, self._archive, error, datetime.now(UTC))
        except TaskError as refused:
            self.status.enter(STATES.get(refused.reason, ArchiverState.STORE_UNREACHABLE), refused)
            return False
        log.warning("WAL goes on in another archive", archive=new, after=self._archive, why=error.message)
        return True

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
            mine = SystemFile(system_identifier=facts.system_identifier, segment_bytes=facts.segment_bytes)
            check_system(store, archive, mine, expected=self.settings.expected_system_identifier)
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
            # Both connections must say so: one of them may have reached a copy.
            written = max(parse_lsn(identity.flush_lsn), primary.look(0).lsn)
            if position.timeline == identity.timeline and position.at > written:
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
        last = position.timeline == start.path[-1].timeline
        session = Session(
            work,
            start.stream,
            lookout,
            receiver,
            position.timeline,
            held=position.at,
            unproven=unproven,
            goal=start.server_end if last else None,
        )
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
                self.status.enter(ArchiverState.STOPPING, message=self._why)
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
