"""Whatever is killed and whenever: the next pod of the same request ends with the same data, or says why not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from pgwarden.restores.contract import SQLCheck
from tests.support.postgres import wait_until
from tests.support.restore_pod import Container, RestorePod

from .conftest import CONTENTS, NewPod, StoredBackup


def same_data_come_back(pod: RestorePod, stored: StoredBackup) -> None:
    """Runs the next pod to its end and looks at what it hands over."""
    _, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), recovered
    with pod.instance() as instance:
        assert instance.query(CONTENTS) == stored.contents
        with instance.connect() as copy:
            stored.load.check(copy, str(recovered.report["endLsn"]))


def test_a_fetch_that_is_killed_midway_begins_again(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored, parallel=1)
    restore = first.start_restore()
    wait_until(lambda: (first.paths.data / "base").exists() or not restore.running, "nothing was unpacked")
    restore.kill()
    assert first.state == "Unpacking"
    half = first.paths.data / "base" / "left-by-the-killed-attempt"
    half.touch()
    same_data_come_back(new_pod(stored), stored)
    assert not (first.paths.pgdata / "base" / half.name).exists()


def test_a_fetch_that_is_told_to_stop_says_so(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored, parallel=1)
    restore = first.start_restore()
    first.wait_for_step(restore, "Fetch")
    restore.process.send_signal(signal.SIGTERM)
    result = restore.result()
    assert (result.reason, result.retryable) == ("Stopped", True)
    same_data_come_back(new_pod(stored), stored)


def replaying(pod: RestorePod) -> bool:
    return "redo starts at" in pod.server_log


def recovered_to_the_end(pod: RestorePod) -> bool:
    return "archive recovery complete" in pod.server_log


@pytest.mark.parametrize("moment", [replaying, recovered_to_the_end])
def test_a_pod_that_is_killed_in_recovery_is_taken_up_by_the_next(
    stored: StoredBackup, new_pod: NewPod, moment: Callable[[RestorePod], bool]
) -> None:
    first = new_pod(stored, checks=[SQLCheck(name="slow", database="postgres", query="SELECT pg_sleep(60)")])
    first.restore()
    server, agent = first.start_server(), first.start_recover()
    wait_until(lambda: moment(first) or not agent.running, "the moment did not come")
    kill_pod(server, agent)
    assert first.state == "Recovering"
    assert (first.paths.data / "postmaster.pid").exists()
    second = new_pod(stored)
    assert second.restore().report["repeated"]
    same_data_come_back(second, stored)


def kill_pod(*containers: Container) -> None:
    for container in containers:
        container.kill()


def test_when_the_agent_is_killed_the_server_ends_by_itself(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored, checks=[SQLCheck(name="slow", database="postgres", query="SELECT pg_sleep(60)")])
    first.restore()
    first.set_agent_patience(1)
    server, agent = first.start_server(), first.start_recover()
    first.wait_for_step(agent, "Check")
    agent.kill()
    assert server.wait() != 0
    assert "the agent has been silent" in server.log
    assert "database system is shut down" in first.server_log
    same_data_come_back(new_pod(stored), stored)


def test_when_the_postmaster_is_killed_the_agent_says_so(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored, checks=[SQLCheck(name="slow", database="postgres", query="SELECT pg_sleep(60)")])
    first.restore()
    server, agent = first.start_server(), first.start_recover()
    wait_until(lambda: replaying(first) or not agent.running, "recovery did not begin")
    os.kill(int((first.shared / "server.pid").read_text()), signal.SIGKILL)
    result = agent.result()
    assert result.outcome == "Failed"
    assert result.reason in ("RecoveryFailed", "CheckFailed")
    assert server.wait() != 0
    same_data_come_back(new_pod(stored), stored)


def test_when_the_servers_container_is_killed_the_agent_notices(stored: StoredBackup, new_pod: NewPod) -> None:
    """As when it takes more memory than it may: nobody is left to write an exit code."""
    first = new_pod(stored, silence_seconds=2)
    first.restore()
    server, agent = first.start_server(), first.start_recover()
    wait_until(lambda: replaying(first) or not agent.running, "recovery did not begin")
    server.kill()
    result = agent.result()
    assert (result.reason, result.retryable) == ("ServerContainerGone", True), result
    same_data_come_back(new_pod(stored), stored)


def test_an_agent_that_is_told_to_stop_stops_the_server_too(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored)
    first.restore()
    server, agent = first.start_server(), first.start_recover()
    wait_until(lambda: (first.shared / "start").exists() or not agent.running, "the server was not started")
    agent.process.send_signal(signal.SIGTERM)
    server_code, result = server.wait(), agent.result()
    assert server_code == 0
    assert (result.reason, result.retryable) == ("Stopped", True), result
    same_data_come_back(new_pod(stored), stored)


def test_a_directory_that_was_checked_but_not_renamed_is_handed_over(stored: StoredBackup, new_pod: NewPod) -> None:
    """As if the agent had been killed between its last two steps."""
    first = new_pod(stored)
    _, recovered, _ = first.run()
    first.paths.pgdata.rename(first.paths.data)
    first.paths.marker.write_text(first.paths.marker.read_text().replace('"Done"', '"Checked"'))
    second = new_pod(stored)
    _, again, code = second.run()
    assert (again.report["repeated"], code) == (True, 0)
    assert again.report["endLsn"] == recovered.report["endLsn"]
    assert second.state == "Done"
    with second.instance() as instance:
        assert instance.query(CONTENTS) == stored.contents


def test_an_agent_that_never_comes_leaves_no_container_behind(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    pod.restore()
    pod.set_agent_patience(1)
    assert pod.start_server().wait() == 1
    assert not (pod.shared / "server.pid").exists()


def test_an_agent_without_a_neighbour_gives_up(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored, timeout_seconds=1)
    pod.restore()
    result = pod.recover()
    assert (result.reason, result.retryable) == ("ServerContainerMissing", True)


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"], ["busybox", "sh"]], ids=lambda words: words[0])
def test_any_posix_shell_runs_the_server_and_ends_it_when_told_to(
    stored: StoredBackup, new_pod: NewPod, shell: list[str]
) -> None:
    pod = new_pod(stored)
    pod.restore()
    server = pod.start_server(shell=shell)
    assert pod.recover().reason == "Recovered"
    assert server.wait() == 0
    assert "fast shutdown, because the agent said so" in server.log
    assert "database system is shut down" in server.log


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"], ["busybox", "sh"]], ids=lambda words: words[0])
def test_a_container_that_is_told_to_end_shuts_the_server_down(
    stored: StoredBackup, new_pod: NewPod, shell: list[str]
) -> None:
    pod = new_pod(stored, checks=[SQLCheck(name="slow", database="postgres", query="SELECT pg_sleep(60)")])
    pod.restore()
    server, agent = pod.start_server(shell=shell), pod.start_recover()
    pod.wait_for_step(agent, "Check")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 1
    assert "this container is told to end" in server.log
    assert "database system is shut down" in pod.server_log
    assert agent.result().outcome == "Failed"
