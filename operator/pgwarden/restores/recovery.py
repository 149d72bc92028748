"""Recovers a laid out data directory: configuration, server, WAL, promotion, and proof of where it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pgwarden.api.wal import parse_lsn
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.restored import RestoredServer
from pgwarden.restores.configuration import RECOVERY_HBA, recovery_settings, render, target_settings
from pgwarden.restores.contract import Resolved
from pgwarden.restores.control_data import ControlData
from pgwarden.restores.durable import write_durably
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.server import POLL_SECONDS, RecoveryServer
from pgwarden.restores.wal_queue import WALQueue

DEFAULT_SUPERUSER = "postgres"
USUAL_DATABASES = ("postgres", "template1")
STATUS_LINE = 8
TARGETS = {"recovery_target_time", "recovery_target_lsn", "recovery_target_xid", "recovery_target_name"}
KILLED = 128
OTHER_BACKUP = "Restore another backup, or to a target before the WAL that is missing."


@dataclass(frozen=True)
class RecoveryEnd:
    """Where recovery ended, as the new timeline's history file says."""

    lsn: str
    parent_timeline: int


def write_configuration(
    paths: RestorePaths,
    record: BackupRecord,
    control: ControlData,
    resolved: Resolved,
    *,
    to_the_end: bool = False,
    stay_open: bool = False,
) -> None:
    """Puts in place what the server recovers with; `to_the_end` of the WAL that there is, whatever the target. With
    `stay_open` it is open for reading when it gets there, and is not promoted."""
    targets = target_settings(resolved, to_the_end=to_the_end, stay_open=stay_open)
    settings = recovery_settings(record, control, paths) | targets
    for folder in (paths.server_config, paths.socket_folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    (paths.server_config / "postgresql.conf").write_text(render(settings))
    (paths.server_config / "pg_hba.conf").write_text(RECOVERY_HBA)
    (paths.server_config / "pg_ident.conf").write_text("")
    if control.timelines <= {section.timeline for section in resolved.path}:
        # The server takes the signal file away before its first checkpoint on the new timeline. One that is killed in
        # between would come back on the original's timeline.
        waits = stay_open and not TARGETS & targets.keys()
        write_durably(paths.data / ("standby.signal" if waits else "recovery.signal"), b"")
        (paths.data / ("recovery.signal" if waits else "standby.signal")).unlink(missing_ok=True)
    # What a killed server left. The Job's earlier pod is gone before this one starts, and with it that server; its
    # process id may now be somebody else's, and PostgreSQL would refuse to start.
    (paths.data / "postmaster.pid").unlink(missing_ok=True)


def restored_server(paths: RestorePaths, record: BackupRecord) -> RestoredServer:
    """How to reach the recovered server."""
    names = [database.name for database in record.server.databases if database.name != "template0"]
    usual = [name for name in USUAL_DATABASES if name in names]
    database = [*usual, *names, *USUAL_DATABASES][0]
    return RestoredServer(paths.socket_folder, record.server.bootstrap_superuser or DEFAULT_SUPERUSER, database)


def recover(
    server: RecoveryServer,
    paths: RestorePaths,
    queue: WALQueue,
    context: AgentContext,
    timeout_seconds: float,
    *,
    arrived: Callable[[], bool] | None = None,
) -> None:
    """Waits until the server, which has been started, has recovered and accepts connections, or `arrived` says that it
    is where it is to wait; hands it WAL meanwhile.

    `timeout_seconds` is how long neither WAL may be taken nor a line be logged (the server logs every ten seconds of
    a long step). Raises TaskError: WALMissing, RecoveryFailed, RecoveryStuck, ServerContainerGone.
    """
    seen: tuple[str, int] = ("", 0)
    seen_at = time.monotonic()
    while not (arrived() if arrived is not None else is_ready(paths.data)):
        attend(server, queue, context)
        taken = queue.last_taken
        if (state := (taken, server.log_size)) != seen:
            seen, seen_at = state, time.monotonic()
            tell_progress(queue, context)
        if time.monotonic() - seen_at > timeout_seconds:
            raise TaskError(
                "RecoveryStuck",
                f"recovery has made no progress for {timeout_seconds:.0f} s; the last WAL taken was {taken or 'none'}",
                remedy="See the log of the container `postgres`.",
            )
        time.sleep(POLL_SECONDS)


def attend(server: RecoveryServer, queue: WALQueue, context: AgentContext) -> None:
    """Hands the server the WAL that it asks for. Raises TaskError: WALMissing, RecoveryFailed, ServerContainerGone."""
    context.check_stop()
    queue.answer_requests()
    if queue.failed is not None:
        raise wal_missing(queue.failed, queue.trouble)
    if server.exit_code is not None:
        raise recovery_failed(server)
    server.check_alive()


def is_ready(data: Path) -> bool:
    """Whether the server accepts connections: one that allows no queries during recovery has ended that.

    It says so in the eighth line of postmaster.pid (PostgreSQL, src/include/utils/pidfile.h, LOCK_FILE_LINE_PM_STATUS).
    Asking by connecting would fill its log with refusals.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= STATUS_LINE and lines[STATUS_LINE - 1].strip() == "ready"


def tell_progress(queue: WALQueue, context: AgentContext) -> None:
    needed, taken = queue.plan.expected(), queue.last_taken
    if taken in needed:
        context.progress("Recover", needed.index(taken) + 1, len(needed), unit="WAL segments", detail=taken)


def wal_missing(name: str, trouble: TaskError | None) -> TaskError:
    why = f": {trouble.message}" if trouble is not None else ""
    return TaskError(
        "WALMissing",
        f"recovery asked for the WAL segment {name}, which is needed and is missing or not whole{why}; "
        "the server was stopped rather than opened with rows missing",
        remedy=OTHER_BACKUP if trouble is None else f"{trouble.remedy} {OTHER_BACKUP}",
        retryable=trouble is not None and trouble.retryable,
    )


def recovery_failed(server: RecoveryServer) -> TaskError:
    """A server that ended by itself; one that was killed (exit code above 128) may do better next time."""
    code = server.exit_code or 0
    return TaskError(
        "RecoveryFailed",
        f"the recovering server ended with exit code {code}: {server.complaints()}",
        remedy="See the log of the container `postgres`. A missing library or locale means that the image is not the "
        "cluster's own; a missing folder of a tablespace that it was created while the backup ran: take a new one.",
        retryable=code > KILLED,
    )


def read_recovery_end(data: Path, timeline: int) -> RecoveryEnd:
    """Where the timeline `timeline` branched off: the end of recovery.

    Each line of a history file holds parent timeline, position and reason (PostgreSQL,
    src/backend/access/transam/timeline.c). Raises TaskError with reason NotRecovered.
    """
    file = data / "pg_wal" / f"{timeline:08X}.history"
    try:
        lines = [line.split("\t") for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
        return RecoveryEnd(lsn=lines[-1][1], parent_timeline=int(lines[-1][0]))
    except (OSError, IndexError, ValueError) as error:
        raise TaskError(
            "NotRecovered",
            f"the server runs on timeline {timeline} and its history file does not say where recovery ended",
            remedy="This is a defect of pgwarden: recovery must end on a new timeline. Report it with the pod's log.",
        ) from error


def check_recovery_end(end: RecoveryEnd, resolved: Resolved) -> None:
    """Raises TaskError with reason RecoveredTooLittle unless recovery came as far as was planned."""
    short = parse_lsn(end.lsn) < parse_lsn(resolved.end_lsn)
    if short or end.parent_timeline != resolved.timeline:
        raise TaskError(
            "RecoveredTooLittle",
            f"recovery ended at {end.lsn} on timeline {end.parent_timeline}; {resolved.target} lies at or after "
            f"{resolved.end_lsn} on timeline {resolved.timeline}",
            remedy=OTHER_BACKUP,
        )


def target_not_reached(resolved: Resolved) -> TaskError:
    """There was no more WAL, and nothing says that the target had been passed by then."""
    return TaskError(
        "TargetNotReached",
        f"{resolved.target} was not found in the WAL after backup {resolved.backup_id}, which is stored up to "
        f"{resolved.wal_until} on timeline {resolved.timeline}",
        remedy="Look whether it lies on another timeline (target.timeline) or before that backup (name an earlier "
        "one with backupRef), or choose a time.",
    )
