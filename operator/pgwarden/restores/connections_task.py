"""Operation `see-connections`: waits until nobody uses a server that is about to be stopped, and names who does.

A server that cannot be asked is no obstacle: one restores what is broken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.connected import Client, clients
from pgwarden.postgres.connection import connect
from pgwarden.postgres.errors import Error
from pgwarden.postgres.failure import diagnose
from pgwarden.restores.in_place_contract import ConnectionsReport, ConnectionsTask

__all__ = ["ConnectionsTask", "run"]

STEP = "Connections"
POLL_SECONDS = 1.0
MOST_NAMED = 4
SETTINGS = {"statement_timeout": "5s", "lock_timeout": "1s", "default_transaction_read_only": "on"}
REMEDY = (
    "Stop what holds them: name that workload in dependentServices of the DatabaseCluster, or in target.inPlace.stop of"
    " a new RestoreRequest; or let them end with the server (target.inPlace.disconnect: true)."
)


def run(task: ConnectionsTask, context: AgentContext) -> Done:
    """Returns once nobody but pgwarden is connected, or the server cannot be asked.

    Raises TaskError with reason ConnectionsRemain when somebody is after `timeout_seconds`, and Stopped.
    """
    deadline = time.monotonic() + task.timeout_seconds
    while True:
        try:
            found = ask(task)
        except TaskError as error:
            said = f"the server cannot be asked who is connected, and is stopped all the same: {error.message}"
            return Done("ServerSilent", said, ConnectionsReport(asked=False))
        if not found:
            return Done("NobodyConnected", "nobody is connected any more", ConnectionsReport())
        context.progress(STEP, detail=f"still connected: {in_words(found)}")
        if time.monotonic() >= deadline:
            raise remaining(found, task.timeout_seconds)
        context.stop.wait(POLL_SECONDS)
        context.check_stop()


def ask(task: ConnectionsTask) -> list[Client]:
    """Who is connected now, over a connection of its own, as the server may go at any time. Raises TaskError."""
    try:
        with connect(task.server, "connections", settings=SETTINGS) as connection:
            return clients(connection)
    except Error as error:
        raise diagnose(task.server, error) from error


def remaining(found: Sequence[Client], waited_seconds: int) -> TaskError:
    count = sum(each.count for each in found)
    what = f"{count} connections are" if count > 1 else "a connection is"
    return TaskError(
        "ConnectionsRemain",
        f"{what} still there {waited_seconds} s after the services stopped: {in_words(found)}",
        remedy=REMEDY,
    )


def in_words(found: Sequence[Client]) -> str:
    """The first of them, and how many there are beside. Pure."""
    named = "; ".join(str(each) for each in found[:MOST_NAMED])
    left = sum(each.count for each in found[MOST_NAMED:])
    return f"{named}; and {left} more" if left else named
