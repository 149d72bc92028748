"""Which operations wait for which."""

from __future__ import annotations

import pytest

from pgwarden.jobs.exclusion import blocking
from pgwarden.jobs.task import Operation

REPLACING = [Operation.RESTORE, Operation.IN_PLACE, Operation.SEE_CONNECTIONS]


def test_a_backup_waits_for_another_backup_and_for_what_replaces_the_data() -> None:
    assert blocking(Operation.BACKUP, [Operation.MIGRATE, Operation.BACKUP]) == Operation.BACKUP
    assert blocking(Operation.BACKUP, [Operation.MIGRATE, Operation.RECOVER]) is None
    assert blocking(Operation.BACKUP, [Operation.IN_PLACE]) == Operation.IN_PLACE


def test_migrations_wait_for_what_replaces_the_data_only_and_restores_for_nothing() -> None:
    assert blocking(Operation.MIGRATE, set(Operation) - set(REPLACING)) is None
    assert blocking(Operation.MIGRATE, [Operation.RESTORE]) == Operation.RESTORE
    assert blocking(Operation.RESTORE, list(Operation)) is None


def test_a_drill_waits_for_another_drill_only() -> None:
    assert blocking(Operation.DRILL, [Operation.BACKUP, Operation.RESTORE, Operation.CATALOGUE]) is None
    assert blocking(Operation.DRILL, [Operation.DRILL]) == Operation.DRILL
    assert blocking(Operation.BACKUP, [Operation.DRILL]) is None


@pytest.mark.parametrize("work", [Operation.MIGRATE, Operation.BACKUP, Operation.LOGICAL_BACKUP])
def test_data_are_not_replaced_while_something_works_on_them(work: Operation) -> None:
    assert blocking(Operation.IN_PLACE, [work]) == work
