"""Runs migrations: each file whole, in one transaction together with its row in the history.

The advisory lock is polled in autocommit: a session that waits inside pg_advisory_lock holds a snapshot, and CREATE
INDEX CONCURRENTLY in the session that has the lock waits for that snapshot, so both would wait for ever. The lock
belongs to the very session that runs the files: it is free no sooner than their transactions are over, also after
kill -9.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations import history
from pgwarden.migrations.failures import Failure, describe, role_refused, stopped, transaction_lost
from pgwarden.migrations.files import Direction, Migration, Script
from pgwarden.migrations.refusals import REMEDIES, refusals
from pgwarden.migrations.steps import Record, Step, Steps, after, applied_records, count, decide
from pgwarden.postgres.script import Cancelled, DatabaseError
from pgwarden.postgres.session import ScriptSettings, Session

# Two integers, as pg_locks shows them: classid spells "pgwd", objid numbers what is locked. One lock in each database.
LOCK_CLASS = 0x70677764
LOCK_MIGRATIONS = 1
LOCK_POLL_SECONDS = 0.25
SHOWN_REFUSALS = 5


@dataclass(frozen=True)
class Request:
    """What is wanted."""

    migrations: Sequence[Migration]
    target: int | None = None
    """None: the latest of the files, and never down."""
    allow_down: bool = False
    settings: ScriptSettings = field(default_factory=ScriptSettings)
    advisory_lock_wait_seconds: float = 300
    applied_by: str = ""
    stop: Event = field(default_factory=Event)
    """Set by SIGTERM: the file that runs gets `stop_grace_seconds` to finish, then it is rolled back."""
    stop_grace_seconds: float = 10
    progress: Callable[[int, int, Step], None] = lambda done, total, step: None


@dataclass
class Standing:
    """Where the database stands; kept up to date while running, and true also after a failure."""

    migrations: Sequence[Migration]
    records: Sequence[Record] = ()
    target: int | None = None
    direction: Direction = Direction.UP
    ran: list[int] = field(default_factory=list)
    failed_step: Step | None = None
    failure: Failure | None = None
    server_version: str = ""

    @property
    def current(self) -> int | None:
        """The highest version that is applied; None when nothing is."""
        return max(applied_records(self.records), default=None)

    @property
    def latest(self) -> int:
        """The highest version of the files."""
        return max((migration.version for migration in self.migrations), default=0)

    @property
    def applied(self) -> int:
        """How many of the files are applied."""
        done = applied_records(self.records)
        return sum(migration.version in done for migration in self.migrations)

    @property
    def pending(self) -> int:
        """How many of the files up to the target are not applied."""
        done = applied_records(self.records)
        limit = self.latest if self.target is None else self.target
        return sum(each.version <= limit and each.version not in done for each in self.migrations)


def migrate(session: Session, request: Request, standing: Standing) -> Steps:
    """Brings the database to the version wanted and returns the steps that were needed; none: nothing was written.

    Raises TaskError: NotPrimary, those of `steps.decide`, `refusals` and `history`, MigrationLocked when another
    runner does not finish in time, Stopped, and those of `failures` when a file fails: that one is rolled back, the
    ones before it stay.
    """
    standing.server_version, standing.target = session.server.version, request.target
    refuse_standby(session)
    steps = look_and_decide(session, request, standing)
    if not steps.steps:
        return steps
    refuse_unrunnable(steps)
    history.refuse_stranger(session, history.look_up(session))
    take_lock(session, request)
    try:
        steps = look_and_decide(session, request, standing)
        if steps.steps:
            history.create(session, history.look_up(session))
            run_all(session, request, standing, steps)
    finally:
        release_lock(session)
    return steps


def preview(session: Session, request: Request, standing: Standing) -> Steps:
    """What `migrate` would run; refuses what it would refuse for the files' and the history's sake; writes nothing."""
    steps = look_and_decide(session, request, standing)
    refuse_unrunnable(steps)
    return steps


def look_and_decide(session: Session, request: Request, standing: Standing) -> Steps:
    """What there is to do, after what the history says at this moment."""
    standing.records = history.read(session, history.look_up(session))
    steps = decide(request.migrations, standing.records, target=request.target, allow_down=request.allow_down)
    standing.direction = steps.direction
    return steps


def refuse_standby(session: Session) -> None:
    if session.server.in_recovery:
        raise TaskError(
            "NotPrimary",
            f"the server of {session.server} is a standby (in recovery), which cannot be written to",
            remedy="Point the address at the primary.",
            retryable=True,
        )


def refuse_unrunnable(steps: Steps) -> None:
    """Looks through every script before the first one runs, so that none is left half way for a reason known before."""
    scripts: list[Script] = [step.script for step in steps.steps if step.script is not None]
    found = refusals(scripts)
    if found:
        shown = "; ".join(str(refusal) for refusal in found[:SHOWN_REFUSALS])
        more = f"; and {len(found) - SHOWN_REFUSALS} more" if len(found) > SHOWN_REFUSALS else ""
        raise TaskError(
            found[0].reason.value,
            f"nothing was run, because a file is run in one transaction, and this cannot be: {shown}{more}",
            remedy=REMEDIES[found[0].reason],
        )


def take_lock(session: Session, request: Request) -> None:
    """Polls for the lock. Raises TaskError: MigrationLocked (retryable), Stopped."""
    deadline = time.monotonic() + request.advisory_lock_wait_seconds
    while not session.rows("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_MIGRATIONS))[0][0]:
        if time.monotonic() >= deadline:
            raise TaskError(
                "MigrationLocked",
                f"{holder(session)} is migrating {session.server} and did not finish within "
                f"{request.advisory_lock_wait_seconds:g} s",
                remedy="Wait for it; the lock is free as soon as its session ends.",
                retryable=True,
            )
        if request.stop.wait(LOCK_POLL_SECONDS):
            raise stopped("while waiting for another runner; nothing was written")


def holder(session: Session) -> str:
    """Who has the lock, for a message."""
    rows = session.rows(
        "SELECT format('process %%s (user %%s, %%s)', activity.pid, activity.usename, activity.application_name)"
        " FROM pg_locks AS lock JOIN pg_stat_activity AS activity ON activity.pid = lock.pid"
        " WHERE lock.locktype = 'advisory' AND lock.classid = %s AND lock.objid = %s AND lock.granted"
        " AND activity.datname = current_database()",
        (LOCK_CLASS, LOCK_MIGRATIONS),
    )
    return rows[0][0] if rows else "another runner"


def release_lock(session: Session) -> None:
    """Frees the lock; where the session cannot, its end will."""
    with suppress(DatabaseError):
        session.rows("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, LOCK_MIGRATIONS))


def run_all(session: Session, request: Request, standing: Standing, steps: Steps) -> None:
    for number, step in enumerate(steps.steps):
        if request.stop.is_set():
            left = count(len(steps.steps) - number, "migration")
            raise stopped(f"between two files; {left} left, the next one {step.migration}")
        request.progress(number, len(steps.steps), step)
        run_step(session, request, standing, step)
        standing.ran.append(step.migration.version)
        standing.records = after(standing.records, step)
    request.progress(len(steps.steps), len(steps.steps), steps.steps[-1])


def run_step(session: Session, request: Request, standing: Standing, step: Step) -> None:
    """One file and its history row in one transaction; on failure rolled back, and why is written down."""
    began = time.monotonic()
    text = step.script.text if step.script else ""

    def so_far() -> history.Run:
        milliseconds = round((time.monotonic() - began) * 1000, 1)
        return history.Run(milliseconds, session.locks.wait_ms, request.applied_by or session.server.user)

    try:
        transaction = opened(session, request.settings)
        session.script(text, patience(request))
        if not session.end_script(transaction):
            raise transaction_lost(step)
        if not history.write_done(session, step, so_far()):
            raise TaskError(
                "HistoryChanged",
                f"another runner has run {step.migration} at the same time; this one was rolled back",
                remedy="Nothing: the operator looks again by itself.",
                retryable=True,
            )
        session.commit()
    except Cancelled as error:
        session.rollback()
        raise stopped(f"while {step.migration} ran; that file was rolled back") from error
    except DatabaseError as error:
        run = so_far()
        session.rollback()
        described, failure = describe(step, error, session.locks.blockers)
        standing.failed_step, standing.failure = step, failure
        keep_failure(session, step, run, failure)
        raise described from error
    except TaskError:
        session.rollback()
        raise


def opened(session: Session, settings: ScriptSettings) -> str:
    """The id of the file's transaction. Raises TaskError RoleRefused, and DatabaseError."""
    try:
        return session.begin(settings)
    except DatabaseError as error:
        # PostgreSQL documentation, SET ROLE: 22023 no such role, 42501 not a member of it.
        if settings.role is None or error.sqlstate not in ("22023", "42501"):
            raise
        raise role_refused(settings.role, error) from error


def patience(request: Request) -> Callable[[], bool]:
    """Whether a running file is to be cancelled: the grace it gets begins when SIGTERM comes."""
    deadline: list[float] = []

    def exhausted() -> bool:
        if not request.stop.is_set():
            return False
        if not deadline:
            deadline.append(time.monotonic() + request.stop_grace_seconds)
        return time.monotonic() >= deadline[0]

    return exhausted


def keep_failure(session: Session, step: Step, run: history.Run, failure: Failure) -> None:
    """Writes the failure down where that is possible; the error that is being told says the same."""
    if not session.lost:
        with suppress(DatabaseError):
            history.write_failed(session, step, run, failure)
