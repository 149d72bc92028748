"""One pg_dump or pg_dumpall under way: its output in chunks, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

PIPE_BYTES = 1 << 20
"""What the kernel holds between the tool and us: fewer changes between two processes than with its usual 64 KiB."""
TICK_SECONDS = 0.5
TERMINATE_SECONDS = 10
SAID_LINES = 12
TABLE = re.compile(r'dumping contents of table "?(?P<table>.+?)"?$')
CHATTER = re.compile(r"^pg_dump(all)?: (?!error|detail|hint|warning)")


class ToolFailed(Exception):
    """The tool ended with an error; `said` are the last lines of its standard error that were no chatter."""

    def __init__(self, said: Sequence[str]) -> None:
        super().__init__("; ".join(said))
        self.said = list(said)


class ToolRun:
    """Leaving the block ends the tool when it still runs.

    `tick` is called twice a second and after each chunk; what it raises ends the run.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], tick: Callable[[ToolRun], None]) -> None:
        self.received = 0
        """Bytes of standard output so far."""
        self.tables = 0
        """Tables whose contents were begun."""
        self._tick = tick
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            pipesize=PIPE_BYTES,
        )
        self._listener = threading.Thread(target=self._listen, name="complaints", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(TERMINATE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def chunks(self) -> Iterator[bytes]:
        """Standard output to its end. Raises ToolFailed when the tool ends with an error, and what `tick` raises."""
        assert self._process.stdout is not None  # it was asked for  # noqa: S101
        pipe = self._process.stdout.fileno()
        while True:
            ready, _, _ = select.select([pipe], [], [], TICK_SECONDS)
            self._tick(self)
            if ready:
                chunk = os.read(pipe, PIPE_BYTES)
                if not chunk:
                    break
                self.received += len(chunk)
                yield chunk
        self._end()

    def finish(self) -> None:
        """Waits for the end of a tool that prints nothing. Raises as `chunks` does."""
        for _nothing in self.chunks():
            pass

    def _end(self) -> None:
        while True:
            try:
                status = self._process.wait(TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                self._tick(self)
        self._listener.join()
        if status:
            raise ToolFailed(self._said or [f"it ended with status {status}"])

    def _listen(self) -> None:
        assert self._process.stderr is not None  # it was asked for  # noqa: S101
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").strip()
            if TABLE.search(line):
                self.tables += 1
            elif line and not CHATTER.match(line):
                self._said.append(line[:300])
