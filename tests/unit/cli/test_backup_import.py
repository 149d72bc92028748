"""Which backups of a store get objects: those whose status may say that they can be restored."""

from __future__ import annotations

import pytest

from pgwarden.catalogue.contract import BackupLine
from pgwarden.cli.backup_cluster import importable
from pgwarden.jobs.errors import TaskError
from tests.support.objects import NOW


def line(backup_id: str, state: str = "Restorable", type_: str = "full") -> BackupLine:
    return BackupLine(
        backup_id=backup_id, type=type_, location=f"a/{backup_id}", start_time=NOW, stop_time=NOW, state=state
    )


LISTED = [
    line("good"),
    line("rotten", "CheckFailed"),
    line("orphan", "ChainBroken", "incremental"),
    line("dump", "Complete", "logical"),
]


def test_what_cannot_be_restored_gets_no_object_that_says_it_can() -> None:
    assert importable(LISTED, []) == ["good"]
    assert importable(LISTED, ["good"]) == ["good"]


@pytest.mark.parametrize(
    ("wanted", "reason", "told"),
    [
        (["good", "rotten"], "BackupNotRestorable", "rotten (CheckFailed)"),
        (["dump"], "BackupNotFound", "dump"),
        (["nothing"], "BackupNotFound", "nothing"),
    ],
)
def test_one_that_is_named_and_cannot_be_had_is_refused(wanted: list[str], reason: str, told: str) -> None:
    with pytest.raises(TaskError) as raised:
        importable(LISTED, wanted)
    assert raised.value.reason == reason
    assert told in raised.value.message
