"""Which operations wait for which."""

from __future__ import annotations

from pgwarden.jobs.exclusion import blocking
from pgwarden.jobs.task import Operation


def test_a_backup_waits_for_another_backup_only() -> None:
    assert blocking(Operation.BACKUP, [Operation.MIGRATE, Operation.BACKUP]) == Operation.BACKUP
    assert blocking(Operation.BACKUP, [Operation.MIGRATE, Operation.RESTORE]) is None


def test_migrations_and_restores_wait_for_nothing() -> None:
    assert blocking(Operation.MIGRATE, list(Operation)) is None
    assert blocking(Operation.RESTORE, list(Operation)) is None


def test_a_drill_waits_for_another_drill_only() -> None:
    assert blocking(Operation.DRILL, [Operation.BACKUP, Operation.RESTORE, Operation.CATALOGUE]) is None
    assert blocking(Operation.DRILL, [Operation.DRILL]) == Operation.DRILL
    assert blocking(Operation.BACKUP, [Operation.DRILL]) is None
