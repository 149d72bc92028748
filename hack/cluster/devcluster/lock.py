"""One command at a time: two starting the same cluster would trip over each other."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from . import config
from .steps import say


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Holds a lock of this name; says so when it has to wait for another command."""
    config.CACHE.mkdir(parents=True, exist_ok=True)
    with (config.CACHE / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another command is at work on the {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
