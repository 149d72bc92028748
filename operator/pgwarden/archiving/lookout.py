"""Looks at the primary every second, beside the stream: a thread of its own, so that a slow query delays no WAL."""

from __future__ import annotations

import threading

from pgwarden.archiving.primary import Look, Primary, refuse_to_be_synchronous
from pgwarden.jobs.errors import TaskError

LOOK_SECONDS = 1.0


class Lookout(threading.Thread):
    """Looks until told to stop; what it finds wrong ends it."""

    def __init__(self, primary: Primary, sender_pid: int, application_name: str) -> None:
        super().__init__(name="lookout", daemon=True)
        self._primary = primary
        self._sender_pid = sender_pid
        self._application_name = application_name
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._looks: list[Look] = []
        self.problem: TaskError | None = None

    def run(self) -> None:
        misses = 0
        try:
            while not self._ended.is_set():
                look = self._primary.look(self._sender_pid)
                refuse_to_be_synchronous(look.synchronous_standby_names, self._application_name, look.sync_state)
                misses = 0 if look.sender_seen else misses + 1
                if misses == 3:
                    raise another_server(self._primary)
                with self._lock:
                    self._looks.append(look)
                self._ended.wait(LOOK_SECONDS)
        except TaskError as error:
            self.problem = error
        finally:
            self._primary.close()

    def looks(self) -> list[Look]:
        """What was seen since this was last asked."""
        with self._lock:
            seen, self._looks = self._looks, []
        return seen

    def end(self) -> None:
        """Lets the thread end; it is not waited for, as a query may hang."""
        self._ended.set()


def another_server(primary: Primary) -> TaskError:
    return TaskError(
        "AnotherServer",
        f"two connections to {primary.name} reached different servers",
        remedy="Give the address of one server, or of a Service that leads to the primary alone.",
        retryable=True,
    )
