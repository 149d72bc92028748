"""A recovered copy that waits at its target, open for reading, until somebody who looked at it says to go on.

It is reached through the socket in the scratch volume only, from a shell in the pod; whoever may open one there may do
everything with the copy anyway. The word to go on comes as a file: Kubernetes makes it of an annotation of the pod.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.api.quantities import human_seconds
from pgwarden.api.wal import parse_lsn
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres import restored as sql
from pgwarden.postgres.connection import Connection
from pgwarden.postgres.errors import Error
from pgwarden.postgres.restored import RestoredServer
from pgwarden.restores.contract import PSQL_SCRIPT, Resolved
from pgwarden.restores.durable import write_at_once
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.progress import INSPECT
from pgwarden.restores.recovery import attend, is_ready
from pgwarden.restores.server import RecoveryServer
from pgwarden.restores.wal_queue import WALQueue

ASK_SECONDS = 0.5
TELL_SECONDS = 20.0


class OpenCopy:
    """The server of one copy."""

    def __init__(
        self,
        server: RecoveryServer,
        paths: RestorePaths,
        restored: RestoredServer,
        resolved: Resolved,
        proceed_file: Path,
    ) -> None:
        self.server = server
        self.paths = paths
        self.restored = restored
        self.resolved = resolved
        self.proceed_file = proceed_file
        self._asked_at = float("-inf")

    def arrived(self) -> bool:
        """Whether recovery waits where the copy is to be looked at, or has ended. Where no queries are possible at the
        target PostgreSQL does not wait, and where an earlier pod was told to go on that is behind us."""
        return self.asked(self.waits)

    def promoted(self) -> bool:
        """Whether recovery has ended."""
        return self.asked(lambda connection: not sql.in_recovery(connection))

    def asked(self, question: Callable[[Connection], bool]) -> bool:
        """The answer to a question that is asked again and again; no as long as nobody can ask."""
        if time.monotonic() - self._asked_at < ASK_SECONDS or not is_ready(self.paths.data):
            return False
        self._asked_at = time.monotonic()
        try:
            with self.restored.connect() as connection:
                return question(connection)
        except (Error, TaskError):
            # It ends, or is promoted, just now.
            return False

    def waits(self, connection: Connection) -> bool:
        if not sql.in_recovery(connection):
            return True
        replay = sql.replay_of(connection)
        if replay.paused and not self.server.waits_at_its_target:
            # Settings do not suffice. It ends now, and is started again with what its original had last.
            sql.resume(connection)
            return False
        # A standby, which has no target, never pauses: it waits for more WAL.
        standby = (self.paths.data / "standby.signal").exists()
        return replay.paused or (standby and parse_lsn(replay.lsn) >= parse_lsn(self.resolved.end_lsn))

    def hold(self, queue: WALQueue, context: AgentContext, major: int, until: datetime) -> str:
        """Returns once somebody has said to go on; says how long that took.

        Raises TaskError with reason InspectionTimedOut after `until`, and what `attend` raises.
        """
        write_at_once(self.paths.shared / PSQL_SCRIPT, psql_script(self.restored, major))
        began, told_at = time.monotonic(), float("-inf")
        while not self.told_to_go_on():
            if datetime.now(UTC) >= until:
                raise timed_out(until)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                context.progress(INSPECT, detail=f"open until {until:%Y-%m-%d %H:%M} UTC")
            attend(self.server, queue, context)
            time.sleep(ASK_SECONDS)
        return f"told to go on after {human_seconds(time.monotonic() - began)}"

    def told_to_go_on(self) -> bool:
        """An annotation that is not there makes an empty file."""
        try:
            return bool(self.proceed_file.read_text().strip())
        except FileNotFoundError:
            return False

    def go_on(self) -> None:
        """Has the copy promoted, unless it is. Raises TaskError with reason DatabaseNotConnectable."""
        with self.restored.connect() as connection:
            if sql.in_recovery(connection):
                sql.promote(connection)


def psql_script(restored: RestoredServer, major: int) -> str:
    """What opens psql on the copy, in the server's own image. Pure."""
    return f"""\
PATH=/usr/lib/postgresql/{major}/bin:/usr/pgsql-{major}/bin:$PATH
export PGHOST={shlex.quote(str(restored.socket_folder))} PGUSER={shlex.quote(restored.superuser)}
export PGDATABASE={shlex.quote(restored.database)}
exec psql "$@"
"""


def timed_out(until: datetime) -> TaskError:
    return TaskError(
        "InspectionTimedOut",
        f"nobody said until {until:%Y-%m-%d %H:%M} UTC that the restore shall go on (spec.proceed)",
        remedy="Nothing was handed over. Make a new RestoreRequest; inspect.timeLimitSeconds may be longer.",
    )
