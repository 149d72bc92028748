"""Which backups a restore can never begin with, and what is said of them."""

from __future__ import annotations

import pytest

from pgwarden.backups.resource import BackupType
from pgwarden.restores.refusals import backup_refusal
from tests.support.objects import condition, restorable_backup


def test_a_logical_backup_is_refused_with_the_command_that_tells_how_to_load_it() -> None:
    dump = restorable_backup("dump")
    dump.spec = dump.spec.model_copy(update={"type": BackupType.LOGICAL})
    refused = backup_refusal(dump)
    assert refused is not None
    assert refused.reason == "BackupIsLogical"
    where = f"--store {dump.spec.store_ref.name} --cluster {dump.spec.cluster_ref.name}"
    assert f"kubectl pgwarden backup show {dump.status.backup_id} {where} --namespace" in refused.message
    assert "pg_restore" in refused.message


@pytest.mark.parametrize("reason", ["Damaged", "Untrusted", "NothingNew"])
def test_a_backup_that_does_not_count_is_refused_with_its_reason(reason: str) -> None:
    refused = backup_refusal(restorable_backup(conditions=[condition("Restorable", "False", reason)]))
    assert refused is not None
    assert (refused.reason, f"({reason})" in refused.message) == ("BackupNotRestorable", True)


def test_a_restorable_one_and_one_that_is_not_there_yet_are_not_refused() -> None:
    assert backup_refusal(restorable_backup()) is None
    assert backup_refusal(None) is None
