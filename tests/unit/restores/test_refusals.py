"""Which backups a restore can never begin with, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from pgwarden.backups.resource import BackupType
from pgwarden.restores.refusals import backup_refusal
from tests.support.objects import condition, parts_request, restorable_backup, restore_request


def test_a_logical_backup_is_refused_with_the_command_that_tells_how_to_load_it() -> None:
    dump = restorable_backup("dump")
    dump.spec = dump.spec.model_copy(update={"type": BackupType.LOGICAL})
    refused = backup_refusal(restore_request(), dump)
    assert refused is not None
    assert refused.reason == "BackupIsLogical"
    where = f"--store {dump.spec.store_ref.name} --cluster {dump.spec.cluster_ref.name}"
    assert f"kubectl pgwarden backup show {dump.status.backup_id} {where} --namespace" in refused.message
    assert "pg_restore" in refused.message and "target.into" in refused.message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"source": {"backupRef": {"name": "dump"}}}, None),
        ({"source": {"backupRef": {"name": "dump"}, "target": {"latest": True}}}, "LogicalBackupHasNoMoments"),
        (
            {
                "source": {"backupRef": {"name": "dump"}},
                "checks": [{"name": "a", "database": "b", "query": "SELECT 1"}],
            },
            "ChecksNotPossible",
        ),
    ],
)
def test_a_logical_backup_goes_into_a_server_that_runs_as_it_is(spec: dict[str, Any], reason: str | None) -> None:
    dump = restorable_backup("dump")
    dump.spec = dump.spec.model_copy(update={"type": BackupType.LOGICAL})
    refused = backup_refusal(parts_request(**spec), dump)
    assert (refused.reason if refused is not None else None) == reason


@pytest.mark.parametrize("reason", ["Damaged", "Untrusted", "NothingNew"])
def test_a_backup_that_does_not_count_is_refused_with_its_reason(reason: str) -> None:
    refused = backup_refusal(
        restore_request(), restorable_backup(conditions=[condition("Restorable", "False", reason)])
    )
    assert refused is not None
    assert (refused.reason, f"({reason})" in refused.message) == ("BackupNotRestorable", True)


def test_a_restorable_one_and_one_that_is_not_there_yet_are_not_refused() -> None:
    assert backup_refusal(restore_request(), restorable_backup()) is None
    assert backup_refusal(restore_request(), None) is None
