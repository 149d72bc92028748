"""One pg_dump, pg_dumpall or pg_restore under way: its output or input in chunks, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

PIPE_BYTES = 1 << 20
"""What the kernel holds between the tool and us: fewer changes between two processes than with its usual 64 KiB."""
TICK_SECONDS = 0.5
TERMINATE_SECONDS = 10
SAID_LINES = 12
TABLE = re.compile(r'(dumping contents of|processing data for) table "?(?P<table>.+?)"?$')
CHATTER = re.compile(r"^pg_(dump|dumpall|restore): (?!error|detail|hint|warning)")


class ToolFailed(Exception):
    """The tool ended with an error; `said` are the last lines of its standard error that were no chatter."""

    def __init__(self, said: Sequence[str]) -> None:
        super().__init__("; ".join(said))
        self.said = list(said)


class ToolRun:
    """Leaving the block ends the tool when it still runs.

    `tick` is called twice a second and after each chunk; what it raises ends the run.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        tick: Callable[[ToolRun], None],
        *,
        fed: bool = False,
    ) -> None:
        self.received = 0
        """Bytes of standard output so far."""
        self.sent = 0
        """Bytes of standard input so far."""
        self.tables = 0
        """Tables whose contents were begun."""
        self._tick = tick
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if fed else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            pipesize=PIPE_BYTES,
        )
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
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
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
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

    def feed(self, chunks: Iterable[bytes], *, to_the_end: bool = True) -> None:
        """Writes `chunks` to standard input and waits for the end of a tool that was made `fed`.

        A tool may have read enough before the last chunk; `to_the_end` the rest is still taken from `chunks`, which may
        tell only then that they were damaged. Raises ToolFailed, what `tick` raises and what `chunks` raise.
        """
        assert self._process.stdin is not None  # it was asked for  # noqa: S101
        listens = True
        for chunk in chunks:
            self._tick(self)
            if listens:
                listens = self._write(self._process.stdin.fileno(), chunk)
            if not listens and (self._process.poll() or not to_the_end):
                break
            self.sent += len(chunk)
        self._process.stdin.close()
        self._end()

    def _write(self, pipe: int, chunk: bytes) -> bool:
        """Whether the tool took it; False once it reads no more."""
        rest = memoryview(chunk)
        try:
            while rest:
                # A tool that waits for its server reads nothing meanwhile, and we may be told to stop.
                _, ready, _ = select.select([], [pipe], [], TICK_SECONDS)
                if ready:
                    rest = rest[os.write(pipe, rest) :]
                else:
                    self._tick(self)
        except BrokenPipeError:
            return False
        return True

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
