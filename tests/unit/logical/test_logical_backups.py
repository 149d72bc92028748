"""A DatabaseBackup of type Logical: its Job, its id, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

from pgwarden.backups.plan import ObservedBackup, backup_id, operation, plan
from pgwarden.jobs.exclusion import blocking
from pgwarden.jobs.files import PRIVATE, SCRATCH
from pgwarden.jobs.task import Operation, Task
from pgwarden.logical.contract import LogicalBackupTask
from pgwarden.logical.render import logical_backup
from tests.support.manifests import launch
from tests.support.objects import (
    IN_FORCE,
    NOW,
    attempt,
    backup,
    claim_store,
    ended_job,
    kstatus,
    observed_cluster,
    said,
    success,
    written,
)

REPORT: dict[str, Any] = {
    "backupId": "b",
    "location": "shop/operational/1/logical/b",
    "startTime": "2026-11-23T11:00:00Z",
    "stopTime": "2026-11-23T11:01:00Z",
    "postgresVersion": "17.10",
    "databases": 2,
    "globals": True,
    "plainBytes": 1 << 30,
    "storedBytes": 1 << 28,
    "objects": 3,
}


def rendered(**spec: Any) -> dict[str, Any]:
    return logical_backup(
        backup(type="Logical", **spec),
        observed_cluster(),
        claim_store(),
        launch("job"),
        backup_id="b",
        policy="nightly",
    )


def task_of(job: dict[str, Any]) -> LogicalBackupTask:
    text = job["spec"]["template"]["metadata"]["annotations"]["pgwarden.dev/task"]
    return LogicalBackupTask.model_validate(Task.model_validate(json.loads(text)).payload)


def test_its_job_asks_for_what_the_spec_says() -> None:
    chosen = {
        "databases": {"exclude": ["scratch"]},
        "tables": {"include": ["public.orders"]},
        "format": "Directory",
        "parallel": 4,
        "scratch": {"size": "5Gi", "storageClassName": "fast"},
    }
    job = rendered(logical=chosen)
    task = task_of(job)
    assert (task.databases.exclude, task.tables.include) == (["scratch"], ["public.orders"])
    assert (task.directory_format, task.parallel, task.globals, task.password_hashes) == (True, 4, True, False)
    assert (task.policy, task.store.catalogue_key is not None) == ("nightly", True)
    pod = job["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["private"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    claim = volumes["scratch"]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]) == ("fast", {"requests": {"storage": "5Gi"}})
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert (mounted["private"], mounted["scratch"]) == (PRIVATE, SCRATCH)


def test_without_a_word_every_database_is_streamed() -> None:
    job = rendered()
    task = task_of(job)
    assert (task.databases.include, task.directory_format, task.globals) == ([], False, True)
    assert "scratch" not in {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}


def test_what_stands_in_the_store_is_told() -> None:
    before = backup(type="Logical", status={"attempts": [attempt()]})
    result = plan(before, ObservedBackup(ended_job(success("BackupCommitted", **REPORT))), NOW)
    assert kstatus(result.judgments) == IN_FORCE
    assert said(result.judgments, "Restorable")[0] == "True"
    message = next(judgment.message for judgment in result.judgments if judgment.type == "Restorable")
    told = "2 databases, each at its own moment, and the roles dumped: 1Gi stored as 256Mi in 1m"
    assert message == told
    status = written(result, before)
    assert (status["databases"], status["location"]) == (2, "shop/operational/1/logical/b")


def test_it_has_an_id_of_its_type_and_waits_for_others_of_its_sort_only() -> None:
    assert "-logical-" in backup_id(backup(type="Logical"))
    assert operation(backup(type="Logical")) == Operation.LOGICAL_BACKUP
    assert blocking(Operation.LOGICAL_BACKUP, [Operation.BACKUP, Operation.MIGRATE]) is None
    assert blocking(Operation.LOGICAL_BACKUP, [Operation.LOGICAL_BACKUP]) == Operation.LOGICAL_BACKUP
