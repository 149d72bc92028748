"""The operator is killed after every single write: whatever it had done by then, the next one goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_proxy import ApiProxy
from tests.support.workplace import Workplace, kill_after_each_write

pytestmark = pytest.mark.timeout(900)


def buried(workplace: Workplace, uid: str) -> bool:
    """Whether every Job made for the object has been given its time to live: the operator's last step."""
    jobs = workplace.owned("Job", uid)
    return bool(jobs) and all("ttlSecondsAfterFinished" in job["spec"] for job in jobs)


def done(workplace: Workplace, kind: str, name: str, uid: str) -> Callable[[], bool]:
    return lambda: workplace.ready(kind, name) and buried(workplace, uid)


def reported(workplace: Workplace, name: str) -> bool:
    """Whether the incident report of a restore is where it belongs."""
    return bool(workplace.get("RestoreRequest", name)["status"].get("report", {}).get("complete"))


def one_job_one_pod_one_attempt(workplace: Workplace, kind: str, name: str, uid: str) -> dict[str, Any]:
    """Asserts that nothing ran twice; returns the object."""
    body = workplace.get(kind, name)
    jobs, pods = workplace.owned("Job", uid), workplace.owned("Pod", uid)
    assert [attempt["job"] for attempt in body["status"]["attempts"]] == [job["metadata"]["name"] for job in jobs]
    assert len(jobs) == len(pods) == 1
    attempt = body["status"]["attempts"][0]
    assert attempt["number"] == 1
    assert attempt["startTime"] <= attempt["completionTime"]
    return body


def test_a_migration_is_applied_once_whenever_the_operator_is_killed(workplace: Workplace, proxy: ApiProxy) -> None:
    # Each fails when it is applied twice.
    uid = workplace.migrate("killed", *(f"CREATE TABLE table_{number} (id int)" for number in (1, 2, 3)))
    killed = kill_after_each_write(workplace, proxy, done(workplace, "DatabaseMigration", "killed", uid))
    assert killed >= 3
    body = one_job_one_pod_one_attempt(workplace, "DatabaseMigration", "killed", uid)
    assert body["status"]["currentVersion"] == "3"
    history = "SELECT version, state, attempts FROM pgwarden.migrations ORDER BY version"
    assert workplace.psql(history, database="killed").split() == ["1|applied|1", "2|applied|1", "3|applied|1"]


def test_a_backup_is_taken_once_whenever_the_operator_is_killed(workplace: Workplace, proxy: ApiProxy) -> None:
    uid = workplace.back_up("killed")
    killed = kill_after_each_write(workplace, proxy, done(workplace, "DatabaseBackup", "killed", uid))
    assert killed >= 3
    body = one_job_one_pod_one_attempt(workplace, "DatabaseBackup", "killed", uid)
    backup_id = body["status"]["backupID"]
    assert len(workplace.records(backup_id)) == len(workplace.folders(backup_id)) == 1
    assert workplace.condition("DatabaseBackup", "killed", "Restorable")["status"] == "True"


def test_a_restore_makes_one_instance_whenever_the_operator_is_killed(
    workplace: Workplace, proxy: ApiProxy, backed_up: str
) -> None:
    uid = workplace.restore("restored", backed_up)
    finished = done(workplace, "RestoreRequest", "restored", uid)
    killed = kill_after_each_write(workplace, proxy, lambda: finished() and reported(workplace, "restored"))
    assert killed >= 9
    body = workplace.get("RestoreRequest", "restored")
    assert [attempt["number"] for attempt in body["status"]["attempts"]] == [1]
    for kind in ("StatefulSet", "Secret", "Service", "ConfigMap"):
        assert len(workplace.owned(kind, uid)) == 1, kind
    operations = sorted(job["metadata"]["labels"]["pgwarden.dev/operation"] for job in workplace.owned("Job", uid))
    assert operations == ["file-report", "restore"]
    # Asked with the password in the Secret: the one that was made first, whoever came later.
    assert workplace.restored_psql("SELECT count(*) FROM kept", "restored") == "1000"
