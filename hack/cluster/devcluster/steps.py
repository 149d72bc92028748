"""Steps that say their name, how long they took, and why they failed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .config import LOGS

_printing = threading.Lock()
_HEARTBEAT_SECONDS = 20.0
_TAIL_LINES = 25


class ClusterError(Exception):
    """Something a person has to know; shown without a traceback."""


class CommandError(ClusterError):
    """A command that ended badly, with the last lines it wrote."""

    def __init__(self, argv: Sequence[str], status: int, log: Path | None, tail: str) -> None:
        where = f"\n  the whole log: {log}" if log else ""
        shown = "\n".join(f"    | {line}" for line in tail.splitlines())
        super().__init__(f"{' '.join(argv[:6])} ... ended with status {status}{where}\n{shown}")


def say(text: str) -> None:
    """Prints one line at once, whole, whatever other threads print."""
    with _printing:
        print(text, file=sys.stderr, flush=True)


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log, reading no more than its end."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


@contextmanager
def step(name: str, log: Path | None = None) -> Iterator[None]:
    """Times a step; a long one reports every 20 seconds, with its log's last line."""
    started = time.monotonic()
    over = threading.Event()

    def heartbeat() -> None:
        while not over.wait(_HEARTBEAT_SECONDS):
            latest = tail(log, 1).strip()[:100] if log else ""
            say(f"   ... {name}, {time.monotonic() - started:.0f} s {latest}")

    threading.Thread(target=heartbeat, daemon=True).start()
    try:
        yield
    except BaseException:
        say(f"{time.monotonic() - started:7.1f} s  FAILED  {name}")
        raise
    finally:
        over.set()
    say(f"{time.monotonic() - started:7.1f} s  {name}")


def run(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> None:
    """Runs a command, its output going to a log; raises with the log's end if it fails."""
    environment = {**os.environ, **(env or {})}
    if log is None:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, input=stdin, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode != 0:
            raise CommandError(argv, done.returncode, None, "\n".join(done.stdout.splitlines()[-_TAIL_LINES:]))
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        done_bytes = subprocess.run(
            argv, cwd=cwd, env=environment, check=False, stdout=sink, stderr=subprocess.STDOUT,
            input=stdin.encode() if stdin is not None else b"",
        )  # fmt: skip
    if done_bytes.returncode != 0:
        raise CommandError(argv, done_bytes.returncode, log, tail(log))


def output(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command prints; raises with what it said if it fails."""
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, None, done.stderr.strip()[-2000:])
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a command can be run and ends with status 0."""
    try:
        return subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float, log: Path | None = None) -> None:
    """Waits for a condition, at most so long; says what it waited for if in vain."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            shown = "\n".join(f"    | {line}" for line in tail(log).splitlines()) if log else ""
            where = f"\n  the whole log: {log}\n{shown}" if log else ""
            raise ClusterError(f"waited {seconds:.0f} s in vain for: {what}{where}")
        time.sleep(0.2)


def fresh_log(name: str) -> Path:
    """The log of a step, emptied."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    path.write_bytes(b"")
    return path
