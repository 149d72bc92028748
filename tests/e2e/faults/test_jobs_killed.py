"""A backup loses its process, pod, Job or object in the middle: nothing half is listed, the next try succeeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.operator_process import OperatorProcess
from tests.support.pod_processes import kill
from tests.support.workplace import Body, Workplace

pytestmark = pytest.mark.timeout(900)

KIND = "DatabaseBackup"
# About eight seconds for the sample database.
SLOW_KIB = 4096


@pytest.fixture
def operator(workplace: Workplace) -> Iterator[OperatorProcess]:
    with workplace.operator() as running:
        running.wait_until_leading()
        yield running


def begin(workplace: Workplace, name: str) -> Body:
    """Starts a backup and returns its pod once data have arrived in the store."""
    uid = workplace.back_up(name, maxRateKiB=SLOW_KIB)
    workplace.wait(lambda: bool(written(workplace, name)), f"data of backup {name} in the store")
    assert not records(workplace, name)
    pod, *others = workplace.owned("Pod", uid)
    assert not others
    return pod


def identity(workplace: Workplace, name: str) -> str:
    return str(workplace.get(KIND, name).get("status", {}).get("backupID", ""))


def written(workplace: Workplace, name: str) -> list[str]:
    """Folders of attempts in the store; none before the backup has its name."""
    backup_id = identity(workplace, name)
    return workplace.folders(backup_id) if backup_id else []


def records(workplace: Workplace, name: str) -> list[str]:
    return workplace.records(identity(workplace, name))


def second_attempt_succeeds(workplace: Workplace, name: str, reason: str) -> None:
    """Asserts that the first attempt ended for that reason, and that exactly one backup came of the second."""
    body = workplace.wait_ready(KIND, name)
    first, second = body["status"]["attempts"]
    assert (first["number"], first["reason"]) == (1, reason)
    assert (second["number"], second["reason"]) == (2, "BackupCommitted")
    assert len(records(workplace, name)) == 1
    assert len(written(workplace, name)) == 2
    assert len(workplace.owned("Job", body["metadata"]["uid"])) <= 2


def kill_process(workplace: Workplace, pod: Body) -> None:
    if kill(pod["metadata"]["uid"], "agent") == 0:
        pytest.skip("the pod's processes cannot be seen from here: the cluster runs on another machine")


def delete_pod(workplace: Workplace, pod: Body) -> None:
    workplace.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")


def delete_job(workplace: Workplace, pod: Body) -> None:
    workplace.kubectl("delete", "job", pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])


@pytest.mark.parametrize(
    ("name", "take_away", "reason"),
    [
        ("process-killed", kill_process, "PodKilled"),
        ("pod-deleted", delete_pod, "PodDeleted"),
        ("job-deleted", delete_job, "JobDeleted"),
    ],
)
def test_a_backup_cut_off_is_never_listed_and_taken_again(
    workplace: Workplace,
    operator: OperatorProcess,
    name: str,
    take_away: Callable[[Workplace, Body], None],
    reason: str,
) -> None:
    take_away(workplace, begin(workplace, name))
    workplace.wait(
        lambda: bool(workplace.get(KIND, name)["status"]["attempts"][0].get("completionTime")), "the end of attempt 1"
    )
    assert not records(workplace, name)
    second_attempt_succeeds(workplace, name, reason)


def test_an_object_deleted_in_mid_work_ends_its_job_and_nothing_else(
    workplace: Workplace, operator: OperatorProcess
) -> None:
    begin(workplace, "deleted")
    backup_id, uid = identity(workplace, "deleted"), workplace.get(KIND, "deleted")["metadata"]["uid"]
    workplace.kubectl("delete", "databasebackup", "deleted")
    workplace.wait(lambda: not workplace.owned("Job", uid) and not workplace.owned("Pod", uid), "Job and pod to go")
    assert workplace.records(backup_id) == []
    assert operator.metric("pgwarden_operator_reconciles_total", outcome="error") == 0
    workplace.back_up("after-deleted")
    workplace.wait_ready(KIND, "after-deleted")
