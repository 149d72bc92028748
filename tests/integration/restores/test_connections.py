"""Before a server is stopped, whoever is still connected to it is waited for, and named."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable

import pytest
from psycopg import sql

from pgwarden.jobs.agent import AgentContext, Done, Stopped
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.jobs.task import ObjectRef, Task
from pgwarden.postgres.connection import connect
from pgwarden.restores.connections_task import ConnectionsTask, run
from tests.support.postgres import PostgresServer, free_port
from tests.support.silence import silent_server

PASSWORD = "of the monitor"


@pytest.fixture
def monitor(postgres: PostgresServer) -> DatabaseAddress:
    """The address as a role that is a member of pg_monitor and nothing else."""
    name = postgres.create_role(password=PASSWORD)
    with postgres.connect() as connection:
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(name)))
    return postgres.address(user=name, password=PASSWORD)


def asked(server: DatabaseAddress, *, timeout_seconds: int = 0) -> tuple[ConnectionsTask, AgentContext]:
    task = ConnectionsTask(server=server, timeout_seconds=timeout_seconds)
    ref = ObjectRef(kind="RestoreRequest", namespace="test", name="rescue", uid="uid")
    told = Task(operation=task.OPERATION, nonce="n" * 16, object=ref, payload={})
    return task, AgentContext(told, output=io.StringIO())


def who_is_left(server: DatabaseAddress) -> str:
    with pytest.raises(TaskError) as refused:
        run(*asked(server))
    assert refused.value.reason == "ConnectionsRemain"
    assert not refused.value.retryable
    assert "dependentServices" in refused.value.remedy and "target.inPlace.disconnect: true" in refused.value.remedy
    return refused.value.message


def test_whoever_is_connected_is_named_with_all_that_finds_them(
    postgres: PostgresServer, monitor: DatabaseAddress
) -> None:
    role = postgres.create_role(password="secret")
    theirs = postgres.address(user=role, password="secret")
    with connect(theirs, "x") as one, connect(theirs, "x") as other:
        for connection in (one, other):
            connection.execute("SET application_name = 'reports of the night'")
        said = who_is_left(monitor)
    assert said.startswith("2 connections are still there 0 s after the services stopped: 2 of user ")
    assert f"user {role}, database postgres, application reports of the night, from 127.0.0.1, since 20" in said
    assert "secret" not in said


def test_our_own_connections_keep_nobody_waiting(monitor: DatabaseAddress) -> None:
    with connect(monitor, "monitor"), connect(monitor, "archive-wal"):
        assert run(*asked(monitor)).reason == "NobodyConnected"


def test_connections_that_end_in_time_are_waited_for(postgres: PostgresServer, monitor: DatabaseAddress) -> None:
    connection = connect(postgres.address(), "x")
    connection.execute("SET application_name = 'late'")
    task, context = asked(monitor, timeout_seconds=60)
    found: list[Done] = []
    waiting = threading.Thread(target=lambda: found.append(run(task, context)))
    waiting.start()
    output = context.output
    assert isinstance(output, io.StringIO)
    deadline = time.monotonic() + 30
    while "application late" not in output.getvalue():
        assert time.monotonic() < deadline, output.getvalue()
        time.sleep(0.05)
    connection.close()
    waiting.join(30)
    assert [done.reason for done in found] == ["NobodyConnected"]


def test_a_restore_that_is_ended_meanwhile_waits_no_longer(postgres: PostgresServer, monitor: DatabaseAddress) -> None:
    task, context = asked(monitor, timeout_seconds=600)
    context.stop.set()
    with connect(postgres.address(), "x") as connection:
        connection.execute("SET application_name = 'psql'")
        with pytest.raises(Stopped):
            run(task, context)


BROKEN: list[Callable[[DatabaseAddress], DatabaseAddress]] = [
    lambda monitor: monitor.model_copy(update={"port": free_port()}),
    lambda monitor: monitor.model_copy(update={"password_file": "/nonexistent/password"}),
    lambda monitor: monitor.model_copy(update={"database": "gone"}),
]


@pytest.mark.parametrize("broken", BROKEN, ids=["stopped", "no-secret", "no-database"])
def test_a_server_that_cannot_be_asked_is_no_obstacle(
    monitor: DatabaseAddress, broken: Callable[[DatabaseAddress], DatabaseAddress]
) -> None:
    done = run(*asked(broken(monitor)))
    assert done.reason == "ServerSilent"
    assert "stopped all the same: " in done.message
    assert done.report.model_dump() == {"asked": False}


def test_a_server_that_hangs_is_no_obstacle(monitor: DatabaseAddress) -> None:
    with silent_server() as port:
        done = run(*asked(monitor.model_copy(update={"port": port})))
    assert done.reason == "ServerSilent"
