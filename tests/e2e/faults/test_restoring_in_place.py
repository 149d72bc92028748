"""A restore in place at every one of its steps: the operator is killed, the server is started, its pod is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.api_proxy import ApiProxy
from tests.support.postgres import RESTORE_TOKEN
from tests.support.workplace import SMALL_JOBS, Body, Workplace, kill_after_each_write

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

KIND = "RestoreRequest"
RECORD = "pgwarden.dev/stopped-by-restore"
MARK = "pgwarden.dev/restoring"
SERVICE = "nightly"
CLAIM = "data-analytics-0"
SLOW = {"name": "slow", "database": "analytics", "query": "SELECT 1 FROM pg_sleep(8)", "expect": "1"}
"""A check that keeps the recovered server up for a while."""
SECONDS = 600.0


@dataclass(frozen=True)
class Premises:
    """A server with a service that uses it, and a backup that holds the table `kept` with 1,000 rows."""

    workplace: Workplace
    backup: str

    def token(self) -> str:
        """The restoreToken, once the DatabaseCluster tells what the server says; some operator must be at work."""
        said = self.workplace.psql(RESTORE_TOKEN)
        self.workplace.wait(
            lambda: self.workplace.get("DatabaseCluster", "analytics")["status"].get("restoreToken") == said,
            f"restoreToken {said}",
        )
        return said

    def lose(self) -> str:
        """Deletes most rows of `kept`; returns the token of what is there now."""
        self.workplace.psql("DELETE FROM kept WHERE id > 5")
        with self.workplace.operator():
            return self.token()

    def ask_for(self, name: str, token: str) -> str:
        """Asks for a restore over what the server has now; the object's UID."""
        target = {"replaces": token, "stop": [{"kind": "CronJob", "name": SERVICE}]}
        source = {"backupRef": {"name": self.backup}}
        return self.workplace.make(
            KIND, name, {"source": source, "target": {"inPlace": target}, "checks": [SLOW], **SMALL_JOBS}
        )

    def wait(self, name: str) -> Body:
        """The request once it is Ready."""
        return self.workplace.wait_ready(KIND, name, seconds=SECONDS)

    def restored_once(self, name: str, token: str) -> None:
        """Asserts that the rows are back, of the same system, and that everything is what it was before."""
        place = self.workplace
        place.kubectl("rollout", "status", "statefulset/analytics", "--timeout=180s")
        assert place.psql("SELECT count(*) FROM kept") == "1000"
        before, now = (each.split("-") for each in (token, place.psql(RESTORE_TOKEN)))
        assert (now[0], int(now[1])) == (before[0], int(before[1]) + 1), "one new timeline of the same system"
        assert place.get("StatefulSet", "analytics")["spec"]["replicas"] == 1
        assert place.get("CronJob", SERVICE)["spec"]["suspend"] is False
        marks = [
            place.get(*each)["metadata"].get("annotations") or {}
            for each in (("StatefulSet", "analytics"), ("CronJob", SERVICE), ("PersistentVolumeClaim", CLAIM))
        ]
        assert not any(RECORD in each or MARK in each for each in marks), marks
        self.old_data_are_whole(place.get(KIND, name)["status"]["inPlace"]["oldData"], token)

    def old_data_are_whole(self, folder: str, token: str) -> None:
        """Asserts that what was replaced is the old server's, shut down once and never started again."""
        inside = ["exec", "analytics-0", "-c", "postgres", "--"]
        told = self.workplace.kubectl(*inside, "pg_controldata", folder)
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in told.splitlines())}
        assert fields["Database system identifier"] == token.partition("-")[0]
        assert fields["Latest checkpoint's TimeLineID"] == token.partition("-")[2]
        assert fields["Database cluster state"] == "shut down"
        # server.sh makes new data there before it renames them.
        assert "pgdata.unfinished" not in self.workplace.kubectl(*inside, "ls", "/data").split()


@pytest.fixture(scope="module")
def premises(workplace: Workplace, backed_up: str) -> Iterator[Premises]:
    directory = '{"spec": {"workloadRef": {"dataDirectory": "/data/pgdata"}}}'
    workplace.kubectl("patch", "databasecluster", "analytics", "--type=merge", f"--patch={directory}")
    schedule = ["--image=localhost/postgres:17", "--schedule=0 0 1 1 *"]
    workplace.kubectl("create", "cronjob", SERVICE, *schedule, "--", "true")
    yield Premises(workplace, backed_up)
    workplace.kubectl("delete", "cronjob", SERVICE)


def finished(workplace: Workplace, name: str) -> bool:
    """Whether a request is done with, and its report is filed."""
    report = workplace.get(KIND, name).get("status", {}).get("report", {})
    return workplace.ready(KIND, name) and bool(report.get("complete"))


def test_the_data_are_replaced_once_whenever_the_operator_is_killed(premises: Premises, proxy: ApiProxy) -> None:
    token = premises.lose()
    uid = premises.ask_for("killed", token)
    workplace = premises.workplace
    killed = kill_after_each_write(workplace, proxy, lambda: finished(workplace, "killed"))
    # The server, the service and the mark are written twice, and there are four Jobs and their attempts.
    assert killed >= 15
    premises.restored_once("killed", token)
    status = workplace.get(KIND, "killed")["status"]
    place = status["inPlace"]
    stages = (status["attempts"], place["preflight"], place["connections"], place["handOver"])
    assert [[attempt["number"] for attempt in each] for each in stages] == [[1], [1], [1], [1]]
    assert {step["state"] for step in status["steps"]} == {"Done"}
    operations = sorted(job["metadata"]["labels"]["pgwarden.dev/operation"] for job in workplace.owned("Job", uid))
    assert operations == ["file-report", "in-place", "in-place", "restore", "see-connections"]


def test_a_server_that_is_started_at_every_step_works_on_no_data_until_it_may(premises: Premises) -> None:
    token = premises.lose()
    workplace, met = premises.workplace, [""]
    premises.ask_for("meddled", token)

    def start_the_server_at_each_step() -> bool:
        step = workplace.get(KIND, "meddled").get("status", {}).get("step", "")
        if step not in met:
            workplace.kubectl("scale", "statefulset/analytics", "--replicas=1")
            met.append(step)
        assert not workplace.ready(KIND, "meddled") or step == "Done"
        return step == "Done" or workplace.condition(KIND, "meddled", "Stalled").get("status") == "True"

    with workplace.operator():
        workplace.wait(start_the_server_at_each_step, "the end of the restore", seconds=SECONDS)
        premises.wait("meddled")
    assert {"StopServer", "Check", "HandOver"} < set(met), met
    premises.restored_once("meddled", token)


def runs(pod: Body, container: str) -> bool:
    """Whether a container of a pod is at work."""
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return any(each["name"] == container and "running" in each["state"] for each in containers)


@pytest.mark.parametrize("container", ["restore", "postgres"], ids=["while it fetches", "while it recovers"])
def test_a_pod_that_is_deleted_is_followed_by_one_that_replaces_the_data(premises: Premises, container: str) -> None:
    token = premises.lose()
    workplace, name = premises.workplace, f"without-{container}"
    with workplace.operator():
        uid = premises.ask_for(name, token)
        found: list[str] = []

        def at_work() -> bool:
            found[:] = [pod["metadata"]["name"] for pod in workplace.owned("Pod", uid) if runs(pod, container)]
            return bool(found)

        workplace.wait(at_work, f"container {container}", seconds=SECONDS)
        workplace.kubectl("delete", "pod", *found, "--force", "--grace-period=0")
        attempts = premises.wait(name)["status"]["attempts"]
    assert [(each["number"], each["reason"]) for each in attempts] == [(1, "PodDeleted"), (2, "Recovered")]
    premises.restored_once(name, token)
