"""The agent's side of run-server.sh: files in the scratch volume through which it starts, watches and stops the server.

Neither container sees the other's processes, so each keeps a counter going that the other one reads.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.durable import write_at_once

BEAT_SECONDS = 1.0
SILENCE_SECONDS = 60
"""How long either side may be silent before the other one takes it for dead."""
STOP_SECONDS = 600
POLL_SECONDS = 0.05
LOG_BYTES = 16384
HANDSHAKE_FILES = (
    "agent.heartbeat",
    "start",
    "stop",
    "again",
    "server.heartbeat",
    "server.version",
    "server.log",
    "server.pid",
    "server.exit",
)
TOO_FEW_SLOTS = "recovery aborted because of insufficient parameter settings"
AT_TARGET = "pausing at the end of recovery"
BEFORE_TARGET = "recovery ended before configured recovery target was reached"
COMPLAINT = re.compile(r"\b(FATAL|PANIC|ERROR|DETAIL|cp): +(.*)")
"""What PostgreSQL calls an error, and what restore_command says when it cannot put a file into pg_wal."""
VERSION = re.compile(r"postgres \(PostgreSQL\) (\d+)")


class RecoveryServer:
    """The server in the neighbouring container."""

    def __init__(self, shared: Path, context: AgentContext) -> None:
        self.shared = shared
        self.context = context
        self._heard = ""
        self._heard_at = time.monotonic()

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Keeps the agent's heartbeat going inside the block, and has the server stopped whatever ends it."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(done,), name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            try:
                self.tell_stop()
                if (self.shared / "start").exists():
                    with suppress(TaskError):
                        self.wait_for_exit()
            finally:
                done.set()
                thread.join()

    def wait_for_version(self, major: int, timeout_seconds: float) -> None:
        """Waits for the neighbour to begin (its image may have to be pulled) and for its word which PostgreSQL it has.

        Raises TaskError: ServerContainerMissing, ServerImageMismatch.
        """
        file = self.shared / "server.version"
        deadline = time.monotonic() + timeout_seconds
        while not file.exists():
            self.context.check_stop()
            if time.monotonic() > deadline:
                raise TaskError(
                    "ServerContainerMissing",
                    f"the container with the PostgreSQL server did not start within {timeout_seconds:.0f} s",
                    remedy="See the pod's events: its image may be missing, or it may lack a POSIX shell.",
                    retryable=True,
                )
            time.sleep(POLL_SECONDS)
        said = file.read_text(errors="replace").strip()
        version = VERSION.match(said)
        if version is None or int(version[1]) != major:
            raise TaskError(
                "ServerImageMismatch",
                f"the backup is of PostgreSQL {major}, but the server's image has: {said[:200]}",
                remedy=f"Set the image of the target (spec.target) to the cluster's own one of PostgreSQL {major}.",
            )

    def start(self) -> None:
        """Has the server started. What it is to run with must be in place."""
        self._heard_at = time.monotonic()
        write_at_once(self.shared / "start", "")

    def start_again(self) -> None:
        """Has a server that ended by itself started once more, with the configuration that is in place now.

        Raises TaskError with reason ServerContainerGone.
        """
        again = self.shared / "again"
        write_at_once(again, "")
        while again.exists():
            self.context.check_stop()
            self.check_alive()
            time.sleep(POLL_SECONDS)

    def tell_stop(self) -> None:
        """Asks for a fast shutdown; without effect on a server that has ended."""
        write_at_once(self.shared / "stop", "")

    @property
    def exit_code(self) -> int | None:
        """The server's exit code, None while it runs or has not been started."""
        try:
            return int((self.shared / "server.exit").read_text())
        except FileNotFoundError:
            return None

    def check_alive(self) -> None:
        """Raises TaskError with reason ServerContainerGone when the neighbour has fallen silent."""
        said = ""
        with suppress(FileNotFoundError):
            said = (self.shared / "server.heartbeat").read_text()
        now = time.monotonic()
        if said != self._heard:
            self._heard, self._heard_at = said, now
        if now - self._heard_at > SILENCE_SECONDS:
            raise TaskError(
                "ServerContainerGone",
                f"the container with the PostgreSQL server has given no sign of life for {SILENCE_SECONDS} s",
                remedy="It may have been killed for using too much memory: see the pod's status, and raise its limit.",
                retryable=True,
            )

    def wait_for_exit(self) -> int:
        """Waits for the server to end after `tell_stop` and returns its exit code.

        Raises TaskError: ServerDidNotStop, ServerContainerGone.
        """
        deadline = time.monotonic() + STOP_SECONDS
        while (code := self.exit_code) is None:
            self.check_alive()
            if time.monotonic() > deadline:
                raise TaskError(
                    "ServerDidNotStop",
                    f"the recovered server did not shut down within {STOP_SECONDS} s",
                    remedy="The log of the container `postgres` tells what it waits for.",
                    retryable=True,
                )
            time.sleep(POLL_SECONDS)
        return code

    @property
    def log_size(self) -> int:
        """Bytes of log the server has written."""
        try:
            return (self.shared / "server.log").stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def ended_before_its_target(self) -> bool:
        """Whether the server ended because there was no more WAL before the recovery target (PostgreSQL,
        src/backend/access/transam/xlogrecovery.c, FinishWalRecovery)."""
        return self.exit_code is not None and BEFORE_TARGET in self.complaints()

    @property
    def ended_for_settings(self) -> bool:
        """Whether a server that allows queries ended because the original was given more connections, workers or locks
        than it has (PostgreSQL, src/backend/access/transam/xlogrecovery.c, RecoveryRequiresIntParameter)."""
        return self.exit_code is not None and TOO_FEW_SLOTS in self.complaints()

    @property
    def waits_at_its_target(self) -> bool:
        """Whether recovery has paused because it has come to its target, and not because settings do not suffice
        (likewise, recoveryPausesHere)."""
        return AT_TARGET in self.log_tail()

    def complaints(self) -> str:
        """The last errors in the server's log, on one line, for a message."""
        text = self.log_tail()
        if not text:
            return "it wrote no log"
        found = [f"{kind}: {what}" for kind, what in COMPLAINT.findall(text)]
        return "; ".join(found[-4:]) or "its log names no error"

    def log_tail(self) -> str:
        """The end of the server's log; empty while there is none."""
        try:
            with (self.shared / "server.log").open("rb") as file:
                file.seek(max(0, self.log_size - LOG_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _beat(self, done: threading.Event) -> None:
        count = 0
        while True:
            count += 1
            with suppress(OSError):
                write_at_once(self.shared / "agent.heartbeat", f"{count}\n")
            if done.wait(BEAT_SECONDS):
                return
