"""What an archiver tells about itself, gathered by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from pgwarden.api.wal import format_lsn
from pgwarden.archiving.contract import ArchiveGap, ArchiverReport, ArchiverSettings, ArchiverState, SlotReport
from pgwarden.archiving.moments import Moment
from pgwarden.archiving.primary import Look, Primary
from pgwarden.archiving.uploads import Uploads
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.archive import ArchiveFile

GAPS_TOLD = 20
UNLIMITED = (
    "max_slot_wal_keep_size is -1: while nothing can be archived, WAL piles up on the server until its disk is full; "
    "set it to what the disk can spare"
)

log = structlog.get_logger()


class Status:
    """The present state; for several threads."""

    def __init__(
        self, settings: ArchiverSettings, clock: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        now = clock()
        self._report = ArchiverReport(time=now, since=now, policy=settings.policy, digest=settings.digest)
        self._slot = settings.slot
        self._about_server: list[str] = []
        """Settings of the server that will hurt one day."""
        self._recovery_point: Moment | None = None
        self._positions: dict[str, int] = {}

    def enter(self, state: ArchiverState, error: TaskError | None = None, message: str = "") -> None:
        """The archiver is in that state from now on; says so in the log when it is news."""
        reason = error.reason if error is not None else state.value
        with self._lock:
            news = (state, reason) != (self._report.state, self._report.reason)
            changes: dict[str, object] = {
                "state": state,
                "reason": reason,
                "message": error.message if error is not None else message,
                "remedy": error.remedy if error is not None else "",
            }
            if news:
                changes["since"] = self._clock()
            self._report = self._report.model_copy(update=changes)
            told = self._report
        if news:
            log.info("state", state=state.value, reason=reason, why=told.message, what_to_do=told.remedy)

    def archive(self, folder: str, file: ArchiveFile) -> None:
        """WAL goes into that archive now; nothing that was told of another one holds of it."""
        with self._lock:
            self._positions.clear()
            self._recovery_point = None
        self._update(
            archive=folder.rsplit("/", 1)[-1],
            archive_since=file.created if file.succeeds else None,
            archive_reason=file.why,
            archived_timeline=0,
        )

    def connected(self, primary: Primary, timeline: int) -> None:
        """WAL of that timeline is taken from that server now."""
        facts = primary.facts
        unlimited = facts.max_slot_wal_keep_size == "-1"
        self._about_server = [
            *([UNLIMITED] if unlimited else []),
            *([patroni(primary.name, self._slot)] if facts.patroni else []),
        ]
        with self._lock:
            # On another timeline the same position is another one.
            self._positions.pop("acknowledged", None)
        self._update(
            server=primary.name,
            system_identifier=facts.system_identifier,
            timeline=timeline,
            unlimited_slot=unlimited,
            replica_slots=[],
            warnings=self._about_server,
        )

    def holds(self, timeline: int) -> None:
        """The archive holds the timeline's history file, and its WAL from the beginning on."""
        self._update(archived_timeline=timeline)

    def replicas(self, slots: list[SlotReport], problems: list[str]) -> None:
        """The slot on the replicas, and why it is not kept on some of them."""
        self._update(replica_slots=slots, warnings=[*self._about_server, *problems])

    def gaps(self, gaps: list[ArchiveGap]) -> None:
        self._update(gaps=gaps[-GAPS_TOLD:], gaps_total=len(gaps))

    def slot(self, slot: SlotReport) -> None:
        self._update(slot=slot)

    def looked(self, look: Look) -> None:
        self._update(slot=look.slot)
        self.positions(server=look.lsn)

    def positions(self, **positions: int) -> None:
        """Of `received`, `acknowledged`, `flushed` and `server`, in bytes."""
        with self._lock:
            self._positions.update(positions)

    def acknowledged(self) -> int:
        """The end of what the store holds, as a position in bytes; 0 while that is not known."""
        with self._lock:
            return self._positions.get("acknowledged", 0)

    def recovery_point(self, moment: Moment | None) -> None:
        with self._lock:
            self._recovery_point = moment or self._recovery_point

    def uploaded(self, uploads: Uploads, *, archived: bool) -> None:
        """What the uploads have come to; `archived` tells that something has just been acknowledged."""
        changes: dict[str, object] = {
            "spool_bytes": uploads.pending_bytes,
            "segments_archived": uploads.counts.segments,
            "stored_bytes": uploads.counts.stored_bytes,
        }
        if archived:
            changes["last_archived_time"] = self._clock()
        self._update(**changes)

    def report(self) -> ArchiverReport:
        """The document."""
        with self._lock:
            at, point = self._positions, self._recovery_point
            changes: dict[str, object] = {"time": self._clock()}
            for name in ("received", "acknowledged", "flushed", "server"):
                changes[f"{name}_lsn"] = format_lsn(at[name]) if name in at else ""
            if "server" in at and "acknowledged" in at:
                changes["lag_bytes"] = max(0, at["server"] - at["acknowledged"])
            if point is not None:
                changes["recovery_point_time"] = point.time
                changes["lag_seconds"] = round(self._monotonic() - point.seen, 1)
            return self._report.model_copy(update=changes)

    def _update(self, **changes: object) -> None:
        with self._lock:
            self._report = self._report.model_copy(update=changes)


def patroni(server: str, slot: str) -> str:
    """What has to stand in Patroni's configuration, which no server tells."""
    return (
        f"Patroni looks after {server}. It drops replication slots that it does not know, at the latest when a server "
        "is restarted. Unless it stands there already, add to its configuration (patronictl edit-config): "
        f"ignore_slots: [{{name: {slot}, type: physical}}]"
    )
