"""A copy is held open at its target to be looked at, read-only, until somebody says to go on, or nobody does."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pgwarden.restores.contract import TargetPoint
from tests.support.postgres import new_folder, owned_folder, postgres_server, wait_until
from tests.support.restore_pod import Container, RestorePod
from tests.support.stored_backup import claim, store_backup

from .test_point_in_time import History, Settings, events_after, start_history, write_event

NewPod = Callable[..., RestorePod]
EVENTS = "SELECT string_agg(number::text, ' ' ORDER BY number) FROM events"


@pytest.fixture(scope="module")
def lived(major: int) -> Iterator[History]:
    """Events 1 to 4; max_connections raised after 2; a restore point and a second backup after 3; idle after 4."""
    folder = new_folder()
    with postgres_server(major, settings=Settings) as server:
        history, archive = start_history(server, claim(owned_folder(folder / "store")))
        write_event(history, archive, 1, filler=30_000)
        write_event(history, archive, 2)
        server.configure({"max_connections": "90"})
        server.restart()
        write_event(history, archive, 3)
        server.execute("SELECT pg_create_restore_point('before the fourth')")
        history.late = store_backup(server, history.store)
        write_event(history, archive, 4)
        server.execute("CHECKPOINT")
        archive.note_moment()
        yield history
    shutil.rmtree(folder)


@pytest.fixture
def pod_for(volume: Path) -> Iterator[NewPod]:
    """`pod_for(history, time=...)`: a pod that restores to that target from the first backup, and waits there."""
    with ExitStack() as pods:

        def make(history: History, *, seconds: int = 600, location: str = "", **point: Any) -> RestorePod:
            location = location or history.early
            target = TargetPoint(**point) if point else None
            pod = RestorePod(history.major, volume, history.store, location, target=target, inspect_seconds=seconds)
            pods.callback(pod.destroy)
            return pod

        yield make


def opened(pod: RestorePod) -> tuple[Container, Container]:
    """The pod once its copy is open: the server's container and the agent's."""
    assert pod.restore().outcome == "Succeeded"
    server, agent = pod.start_server(), pod.start_recover()
    wait_until(lambda: "open until 20" in agent.log or not agent.running, "the copy was not opened")
    assert agent.running, agent.log + pod.server_log
    return server, agent


def ended(pod: RestorePod, server: Container, agent: Container) -> list[int]:
    """What the instance holds after somebody has said to go on."""
    pod.say_proceed()
    result = agent.result()
    assert (result.reason, server.wait()) == ("Recovered", 0), (result, pod.server_log)
    assert "Inspect" in [step["name"] for step in result.report["steps"]]
    with pod.instance() as instance, instance.connect() as copy:
        return [int(str(number)) for (number,) in copy.execute("SELECT number FROM events ORDER BY number").fetchall()]


TARGETS: dict[str, tuple[Callable[[History], dict[str, Any]], list[int]]] = {
    "time": (lambda lived: {"time": lived.times[1]}, [1]),
    "position-after-raised-settings": (lambda lived: {"lsn": lived.positions[3]}, [1, 2, 3]),
    "name": (lambda lived: {"name": "before the fourth"}, [1, 2, 3]),
    "transaction": (lambda lived: {"xid": lived.xids[2]}, [1, 2]),
    "time-on-an-idle-database": (lambda lived: {"time": lived.times[4]}, [1, 2, 3, 4]),
    "latest": (lambda lived: {"latest": True}, [1, 2, 3, 4]),
    "end-of-the-backup": (lambda lived: {"location": lived.late}, [1, 2, 3]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_copy_is_looked_at_where_it_is_then_goes_on(lived: History, pod_for: NewPod, name: str) -> None:
    point, events = TARGETS[name]
    pod = pod_for(lived, **point(lived))
    server, agent = opened(pod)
    seen = pod.psql(EVENTS)
    assert seen.stdout.split() == [str(number) for number in events], pod.server_log + agent.log
    written = pod.psql("INSERT INTO events VALUES (99)")
    assert "read-only transaction" in written.stderr
    assert not pod.paths.pgdata.exists()
    assert ended(pod, server, agent) == events


def test_a_pod_that_is_killed_comes_back_to_the_same_look(lived: History, pod_for: NewPod) -> None:
    first = pod_for(lived, time=lived.times[1])
    for container in opened(first):
        container.kill()
    until = json.loads(first.paths.marker.read_text())["openUntil"]
    second = pod_for(lived, time=lived.times[1])
    server, agent = opened(second)
    assert second.psql(EVENTS).stdout.strip() == "1"
    assert json.loads(second.paths.marker.read_text())["openUntil"] == until
    assert ended(second, server, agent) == [1]


def test_a_pod_that_is_killed_once_it_was_told_to_go_on_waits_for_that_word_again(
    lived: History, pod_for: NewPod
) -> None:
    first = pod_for(lived, time=lived.times[1], seconds=600)
    server, agent = opened(first)
    first.say_proceed()
    first.wait_for_step(agent, "Check")
    agent.kill()
    server.kill()
    second = pod_for(lived, time=lived.times[1])
    server, agent = opened(second)
    assert second.psql(EVENTS).stdout.strip() == "1"
    assert "read-only transaction" in second.psql("INSERT INTO events VALUES (99)").stderr
    assert ended(second, server, agent) == [1]


def test_what_nobody_says_anything_about_is_dropped_in_the_end(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, time=lived.times[1], seconds=1)
    server, agent = opened(pod)
    result = agent.result()
    assert (result.reason, result.retryable) == ("InspectionTimedOut", False), result
    assert "spec.proceed" in result.message
    assert server.wait() == 0
    assert not pod.paths.pgdata.exists()


def test_a_copy_that_is_dropped_while_somebody_looks_at_it_is_stopped(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, latest=True)
    server, agent = opened(pod)
    agent.process.send_signal(signal.SIGTERM)
    assert (agent.result().reason, server.wait()) == ("Stopped", 0)


def test_who_said_so_beforehand_does_not_wait(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, time=lived.times[1])
    pod.say_proceed()
    assert events_after(pod) == [1]
